"""Faults of every class, injected into the runtime; `tools/benchmark faults` counts what does not hold."""
