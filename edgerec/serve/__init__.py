"""A local HTTP service over the runtime, for apps in other languages: FastAPI, loopback by default.

Others use `edgerec.serve.app` (the service) and `edgerec.serve.elastic` (the service on Ray); importing this loads
neither, since both need extras.
"""

__all__: list[str] = []
