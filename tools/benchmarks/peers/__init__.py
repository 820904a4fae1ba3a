"""Reference implementations of other systems, as scripts for a Python environment that has no edgerec."""
