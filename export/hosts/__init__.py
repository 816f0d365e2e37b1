"""Packages for hosts that fix inputs, outputs, pooling and files themselves: `bert-onnx package`."""
