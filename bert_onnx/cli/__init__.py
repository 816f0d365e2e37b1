"""The command `bert-onnx`, one module a command: `add` declares its options, its handler does the work.

Heavy imports stand inside handlers, so that `--help` is quick. The one folder of bert_onnx that may import `export` and
`runtimes`.
"""
