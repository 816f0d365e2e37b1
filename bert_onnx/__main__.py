"""`python -m bert_onnx`: the command `bert-onnx`."""

from bert_onnx.cli.main import console

console()
