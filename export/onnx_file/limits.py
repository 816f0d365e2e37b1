"""Sizes of .onnx files. Apart from the code that writes them: requests are checked without that."""

#: Bytes of weights beyond which they go into a file of their own. Protobuf refuses messages of 2 GiB; the rest is
#: room for the graph.
EXTERNAL_DATA_THRESHOLD = 2**31 - 2**26
