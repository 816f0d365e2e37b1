"""What an .onnx file says of itself, read without the onnx package: inputs, outputs, operators, metadata.

For runtimes that tell too little about a graph, or that should not meet just any. The encoding is that of
https://protobuf.dev/programming-guides/encoding; field numbers are those of onnx.proto. Weights are stepped over.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bert_onnx.errors import ArtifactError

_MODEL_GRAPH, _MODEL_OPSETS, _MODEL_METADATA = 7, 8, 14
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 5, 11, 12
_NODE_OPERATOR, _NODE_DOMAIN = 4, 7
_TENSOR_NAME = 8
_FIRST, _SECOND = 1, 2  # the name of a value; domain and version of an opset; key and value of metadata

_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED = {1: 8, 5: 4}
_LONGEST_VARINT = 10


@dataclass(frozen=True)
class GraphSummary:
    """What a graph is made of.

    Args:
        inputs, outputs: their names, in the order of the graph; initializers are no inputs.
        operators: every operator once, `Name` of ai.onnx or `domain.Name`.
        opset: version of ai.onnx that it is written for; 0 where it says none.
        metadata: the model's own keys and values.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators: frozenset[str]
    opset: int
    metadata: dict[str, str]


def summarize_graph(path: Path) -> GraphSummary:
    """What the graph in `path` is made of.

    Raises:
        ArtifactError: the file is missing, or is no ONNX graph.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _model(data)
    except FileNotFoundError:
        raise ArtifactError(f"the model file {path} is missing; export the model again.") from None
    except OSError as error:
        raise ArtifactError(f"the model file {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is not an ONNX graph: {error}. Export it again.") from error


def _model(data: mmap.mmap) -> GraphSummary:
    graph: tuple[int, int] | None = None
    metadata: dict[str, str] = {}
    opset = 0
    for number, value in _fields(data, 0, len(data)):
        if number == _MODEL_GRAPH and isinstance(value, tuple):
            graph = value
        elif number == _MODEL_METADATA and isinstance(value, tuple):
            pair = _texts(data, value)
            metadata[pair.get(_FIRST, "")] = pair.get(_SECOND, "")
        elif number == _MODEL_OPSETS and isinstance(value, tuple):
            entry = dict(_fields(data, *value))
            version, domain = entry.get(_SECOND), _texts(data, value).get(_FIRST, "")
            opset = version if domain in ("", "ai.onnx") and isinstance(version, int) else opset
    if graph is None:
        raise ValueError("it holds no graph")
    inputs: list[str] = []
    outputs: list[str] = []
    weights: set[str] = set()
    operators: set[str] = set()
    for number, value in _fields(data, *graph):
        if not isinstance(value, tuple):
            continue
        if number == _GRAPH_NODE:
            operators.add(_operator(data, value))
        elif number == _GRAPH_INITIALIZER:
            weights.add(_texts(data, value, _TENSOR_NAME).get(_TENSOR_NAME, ""))
        elif number in (_GRAPH_INPUT, _GRAPH_OUTPUT):
            (inputs if number == _GRAPH_INPUT else outputs).append(_texts(data, value, _FIRST).get(_FIRST, ""))
    takes = tuple(name for name in inputs if name not in weights)
    return GraphSummary(takes, tuple(outputs), frozenset(operators), opset, metadata)


def _operator(data: mmap.mmap, node: tuple[int, int]) -> str:
    found = _texts(data, node, _NODE_OPERATOR, _NODE_DOMAIN)
    domain = found.get(_NODE_DOMAIN, "")
    return found.get(_NODE_OPERATOR, "") if domain in ("", "ai.onnx") else f"{domain}.{found.get(_NODE_OPERATOR, '')}"


def _texts(data: mmap.mmap, message: tuple[int, int], *wanted: int) -> dict[int, str]:
    """Fields of a message that are texts, by number: those of `wanted`, or the first two."""
    found = {}
    for number, value in _fields(data, *message):
        if isinstance(value, tuple) and number in (wanted or (_FIRST, _SECOND)):
            found[number] = data[value[0] : value[1]].decode("utf-8")
    return found


def _fields(data: mmap.mmap, start: int, stop: int) -> Iterator[tuple[int, int | tuple[int, int]]]:
    """Number and value of each field in [start, stop): an integer, or where a value with a length lies.

    Raises:
        ValueError: it is no message.
    """
    while start < stop:
        tag, start = _varint(data, start, stop)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("a field has no number")
        if kind == _VARINT:
            value, start = _varint(data, start, stop)
            yield number, value
            continue
        if kind == _LENGTH_DELIMITED:
            length, start = _varint(data, start, stop)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise ValueError(f"a field is of the unknown kind {kind}")
        if start + length > stop:
            raise ValueError("it ends in the middle")
        yield number, (start, start + length)
        start += length


def _varint(data: mmap.mmap, start: int, stop: int) -> tuple[int, int]:
    """The integer at `start`, and where it ends."""
    value = 0
    for place in range(start, min(stop, start + _LONGEST_VARINT)):
        byte = data[place]
        value |= (byte & 0x7F) << (7 * (place - start))
        if byte < 0x80:
            return value, place + 1
    raise ValueError("it ends in the middle of a number")
