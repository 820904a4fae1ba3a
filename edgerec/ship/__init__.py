"""Folders to drop into an app: a bundle with a runtime and an example."""
