"""ONNX Runtime: CPU, CUDA, TensorRT, OpenVINO, and graphs that take text."""
