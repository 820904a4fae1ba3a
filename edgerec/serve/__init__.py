"""A local HTTP service over the runtime, for apps in other languages: FastAPI, loopback by default."""
