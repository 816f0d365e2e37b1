"""torch.onnx.export, one layer of it repeated for the others."""
