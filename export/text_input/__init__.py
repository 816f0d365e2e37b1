"""Graphs that take text: a tokenizer of ONNX operators in front of a verified graph."""
