"""Reads an .onnx file without its weights: they stay where they are, and the message says where that is.

The checker of onnx takes a message apart several times, weights included: seconds for what is a few hundred nodes. In
the message that is read here, a large weight is external data that lies in the .onnx file itself.
"""

from __future__ import annotations

import mmap
from pathlib import Path

import onnx

from bert_onnx.onnx_wire import GRAPH_INITIALIZER, MODEL_GRAPH, TENSOR_RAW_DATA, Field, read_fields

#: Bytes from which on a weight is left in the file.
_LARGE = 1024


def read_skeleton(path: Path) -> onnx.ModelProto:
    """The message in `path`, with large weights as external data in that very file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no message of this kind.
    """
    with open(path, "rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise ValueError("it is empty") from None
        with data:
            return _model(data, path.name)


def _model(data: mmap.mmap, location: str) -> onnx.ModelProto:
    fields = list(read_fields(data, 0, len(data)))
    model = onnx.ModelProto()
    try:
        model.ParseFromString(b"".join(data[f.begin : f.stop] for f in fields if f.number != MODEL_GRAPH))
        for field in fields:
            if field.number == MODEL_GRAPH:
                _merge_graph(model.graph, data, field, location)
    except Exception as error:  # protobuf's error has another class in each of its implementations
        raise ValueError(f"it is no ONNX model ({error})") from None
    return model


def _merge_graph(graph: onnx.GraphProto, data: mmap.mmap, field: Field, location: str) -> None:
    small = []
    weights = []
    for part in read_fields(data, field.start, field.stop):
        weight = None
        if part.number == GRAPH_INITIALIZER and part.stop - part.start >= _LARGE:
            weight = _weight(data, part, location)
        if weight is None:
            small.append(data[part.begin : part.stop])
        else:
            weights.append(weight)
    graph.MergeFromString(b"".join(small))
    graph.initializer.extend(weights)


def _weight(data: mmap.mmap, field: Field, location: str) -> onnx.TensorProto | None:
    """The tensor without its raw data; None where it has none."""
    parts = list(read_fields(data, field.start, field.stop))
    raw = [part for part in parts if part.number == TENSOR_RAW_DATA]
    if len(raw) != 1:
        return None
    tensor = onnx.TensorProto()
    tensor.ParseFromString(b"".join(data[part.begin : part.stop] for part in parts if part is not raw[0]))
    tensor.data_location = onnx.TensorProto.EXTERNAL
    place = {"location": location, "offset": raw[0].start, "length": raw[0].stop - raw[0].start}
    for key, value in place.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor
