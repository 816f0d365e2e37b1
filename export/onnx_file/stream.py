"""Writes an .onnx file weight by weight, so that a model is not held two more times in memory while it is saved.

Protobuf's own way makes a message with a copy of every weight, then the bytes of that message. Here the message is
made without the large weights, and each of them goes from where it is into the file. The encoding is that of
https://protobuf.dev/programming-guides/encoding; field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
import onnx_ir as ir

_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_TENSOR_RAW_DATA = 9
_LENGTH_DELIMITED = 2

#: Bytes from which on a weight is not put into the message.
_LARGE = 1024


def write_model(model: ir.Model, path: Path) -> None:
    """Write `model` to `path` with its weights inside; the model is left as it is.

    Raises:
        OSError: the disk refuses.
    """
    with _without_large_weights(model) as weights:
        message = ir.to_proto(model)
    parts = [_initializer(head, weights.get(head.name)) for head in message.graph.initializer]
    message.graph.ClearField("initializer")
    graph = message.graph.SerializeToString()
    message.ClearField("graph")
    size = len(graph) + sum(len(opening) + (0 if data is None else data.nbytes) for opening, data in parts)
    with open(path, "wb") as file:
        file.write(message.SerializeToString() + _opening(_MODEL_GRAPH, size) + graph)
        for opening, data in parts:
            file.write(opening)
            if data is not None:
                _write_data(data, file)


@contextmanager
def _without_large_weights(model: ir.Model) -> Iterator[dict[str, ir.TensorProtocol]]:
    """Yields the large weights by name; while this is entered, empty tensors stand in their place."""
    found = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or isinstance(tensor, (ir.ExternalTensor, ir.StringTensor)) or tensor.nbytes < _LARGE:
            continue
        found[name] = tensor
        empty = np.empty(0, tensor.dtype.numpy())
        value.const_value = ir.Tensor(
            empty, tensor.dtype, shape=ir.Shape(tensor.shape.numpy()), name=name, doc_string=tensor.doc_string
        )
    try:
        yield found
    finally:
        for name, tensor in found.items():
            model.graph.initializers[name].const_value = tensor


def _initializer(head: onnx.TensorProto, data: ir.TensorProtocol | None) -> tuple[bytes, ir.TensorProtocol | None]:
    """The bytes of an initializer up to its data, and the data; where it has none but its own, all of its bytes."""
    if data is None:
        own = head.SerializeToString()
        return _opening(_GRAPH_INITIALIZER, len(own)) + own, None
    head.ClearField("raw_data")
    own = head.SerializeToString() + _opening(_TENSOR_RAW_DATA, data.nbytes)
    return _opening(_GRAPH_INITIALIZER, len(own) + data.nbytes) + own, data


def _write_data(tensor: ir.TensorProtocol, file: BinaryIO) -> None:
    begun = file.tell()
    if hasattr(tensor, "tofile"):
        tensor.tofile(file)
    else:
        file.write(tensor.tobytes())
    if file.tell() - begun != tensor.nbytes:
        raise OSError(f"{tensor.name} gave {file.tell() - begun} bytes and has {tensor.nbytes}")


def _opening(field: int, length: int) -> bytes:
    """Tag and length of a field that is a message or bytes."""
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(length)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
