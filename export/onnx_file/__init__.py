"""Writing, reading and checking .onnx files; weights pass through in pieces."""
