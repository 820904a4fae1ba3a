"""Pruning, export to ONNX, and graphs with an INT8 item table."""
