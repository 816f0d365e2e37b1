"""HTTP for artifacts: `bert-onnx serve`. The heart, `batching/`, knows nothing of HTTP. Needs the extra `server`."""
