"""Pruning, export to ONNX, and the INT8 graphs."""
