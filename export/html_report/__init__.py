"""`bert-onnx report`: one HTML page that shows what an artifact is, which file to ship, and what was measured."""
