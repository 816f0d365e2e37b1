"""`python -m bert_onnx`: the command `bert-onnx`."""

from bert_onnx.cli.main import console

if __name__ == "__main__":
    console()
