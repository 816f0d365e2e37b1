"""Reads an .onnx file without its weights: they stay where they are, and the message says where that is.

The checker of onnx takes a message apart several times, weights included: seconds for what is a few hundred nodes. In
the message that is read here, a large weight is external data that lies in the .onnx file itself. The encoding is that
of https://protobuf.dev/programming-guides/encoding; field numbers are those of onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_TENSOR_RAW_DATA = 9

_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED = {1: 8, 5: 4}

#: Bytes from which on a weight is left in the file.
_LARGE = 1024


@dataclass(frozen=True)
class _Field:
    """A field of a message: bytes [begin, stop) of the file, of which [start, stop) are its value."""

    number: int
    begin: int
    start: int
    stop: int


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
    fields = list(_fields(data, 0, len(data)))
    model = onnx.ModelProto()
    try:
        model.ParseFromString(b"".join(data[f.begin : f.stop] for f in fields if f.number != _MODEL_GRAPH))
        for field in fields:
            if field.number == _MODEL_GRAPH:
                _merge_graph(model.graph, data, field, location)
    except Exception as error:  # protobuf's error has another class in each of its implementations
        raise ValueError(f"it is no ONNX model ({error})") from None
    return model


def _merge_graph(graph: onnx.GraphProto, data: mmap.mmap, field: _Field, location: str) -> None:
    small = []
    weights = []
    for part in _fields(data, field.start, field.stop):
        weight = None
        if part.number == _GRAPH_INITIALIZER and part.stop - part.start >= _LARGE:
            weight = _weight(data, part, location)
        if weight is None:
            small.append(data[part.begin : part.stop])
        else:
            weights.append(weight)
    graph.MergeFromString(b"".join(small))
    graph.initializer.extend(weights)


def _weight(data: mmap.mmap, field: _Field, location: str) -> onnx.TensorProto | None:
    """The tensor without its raw data; None where it has none."""
    parts = list(_fields(data, field.start, field.stop))
    raw = [part for part in parts if part.number == _TENSOR_RAW_DATA]
    if len(raw) != 1:
        return None
    tensor = onnx.TensorProto()
    tensor.ParseFromString(b"".join(data[part.begin : part.stop] for part in parts if part is not raw[0]))
    tensor.data_location = onnx.TensorProto.EXTERNAL
    place = {"location": location, "offset": raw[0].start, "length": raw[0].stop - raw[0].start}
    for key, value in place.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _fields(data: mmap.mmap, start: int, stop: int) -> Iterator[_Field]:
    """The fields of the message in bytes [start, stop).

    Raises:
        ValueError: the bytes are no message.
    """
    at = start
    while at < stop:
        begin = at
        tag, at = _varint(data, at, stop)
        kind = tag & 7
        if kind == _VARINT:
            value = at
            _, at = _varint(data, at, stop)
        elif kind == _LENGTH_DELIMITED:
            length, value = _varint(data, at, stop)
            at = value + length
        elif kind in _FIXED:
            value, at = at, at + _FIXED[kind]
        else:
            raise ValueError(f"it is no ONNX model (a field of kind {kind} at byte {begin})")
        if at > stop:
            raise ValueError(f"it ends in the middle of a field (at byte {begin})")
        yield _Field(tag >> 3, begin, value, at)


def _varint(data: mmap.mmap, at: int, stop: int) -> tuple[int, int]:
    """A number, and where what follows it begins."""
    number = shift = 0
    while at < stop and shift < 70:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise ValueError("it ends in the middle of a number")
