"""Writes an .onnx file weight by weight, so that a model is not held two more times in memory while it is saved.

Protobuf's own way makes a message with a copy of every weight, then the bytes of that message. Here the message is
made without the large weights, and each of them goes from where it is into the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
import onnx_ir as ir

from bert_onnx.onnx_wire import GRAPH_INITIALIZER, MODEL_GRAPH, TENSOR_RAW_DATA, field_header

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
        file.write(message.SerializeToString() + field_header(MODEL_GRAPH, size) + graph)
        for opening, data in parts:
            file.write(opening)
            if data is not None:
                _write_data(data, file)


def message_with_weights_apart(model: ir.Model) -> tuple[onnx.ModelProto, dict[str, ir.TensorProtocol]]:
    """A message that names its large weights as external, for ONNX Runtime's `add_external_initializers`, and them.

    Weights that nothing reads are in neither: ONNX Runtime drops them before it looks for what was added.
    """
    with _without_large_weights(model) as every:
        message = ir.to_proto(model)
    weights = {name: tensor for name, tensor in every.items() if model.graph.initializers[name].uses()}
    kept = [head for head in message.graph.initializer if head.name in weights or head.name not in every]
    del message.graph.initializer[:]
    message.graph.initializer.extend(kept)
    for head in message.graph.initializer:
        if head.name in weights:
            head.ClearField("raw_data")
            head.data_location = onnx.TensorProto.EXTERNAL
            head.external_data.add(key="location", value=head.name)
    return message, weights


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
        return field_header(GRAPH_INITIALIZER, len(own)) + own, None
    head.ClearField("raw_data")
    own = head.SerializeToString() + field_header(TENSOR_RAW_DATA, data.nbytes)
    return field_header(GRAPH_INITIALIZER, len(own) + data.nbytes) + own, data


def _write_data(tensor: ir.TensorProtocol, file: BinaryIO) -> None:
    begun = file.tell()
    if hasattr(tensor, "tofile"):
        tensor.tofile(file)
    else:
        file.write(tensor.tobytes())
    if file.tell() - begun != tensor.nbytes:
        raise OSError(f"{tensor.name} gave {file.tell() - begun} bytes and has {tensor.nbytes}")
