"""What an .onnx file says of itself, read without the onnx package: inputs, outputs, operators, metadata.

For runtimes that say too little about a graph, or that should not meet just any. Weights are stepped over.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bert_onnx.errors import ArtifactError
from bert_onnx.onnx_wire import (
    GRAPH_INITIALIZER,
    GRAPH_INPUT,
    GRAPH_NODE,
    GRAPH_OUTPUT,
    MODEL_GRAPH,
    MODEL_METADATA,
    MODEL_OPSETS,
    NODE_DOMAIN,
    NODE_OPERATOR,
    TENSOR_NAME,
    Field,
    read_fields,
)

#: Field numbers: the name of a value; domain and version of an opset; key and value of metadata.
_FIRST, _SECOND = 1, 2


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
    graph: Field | None = None
    metadata: dict[str, str] = {}
    opset = 0
    for field in read_fields(data, 0, len(data)):
        if field.integer is not None:
            continue
        if field.number == MODEL_GRAPH:
            graph = field
        elif field.number == MODEL_METADATA:
            pair = _texts(data, field, _FIRST, _SECOND)
            metadata[pair.get(_FIRST, "")] = pair.get(_SECOND, "")
        elif field.number == MODEL_OPSETS and _texts(data, field, _FIRST).get(_FIRST, "") in ("", "ai.onnx"):
            versions = [part.integer for part in _parts(data, field) if part.number == _SECOND]
            opset = next((version for version in reversed(versions) if version is not None), opset)
    if graph is None:
        raise ValueError("it holds no graph")
    inputs: list[str] = []
    outputs: list[str] = []
    weights: set[str] = set()
    operators: set[str] = set()
    for field in _parts(data, graph):
        if field.integer is not None:
            continue
        if field.number == GRAPH_NODE:
            operators.add(_operator(data, field))
        elif field.number == GRAPH_INITIALIZER:
            weights.add(_texts(data, field, TENSOR_NAME).get(TENSOR_NAME, ""))
        elif field.number in (GRAPH_INPUT, GRAPH_OUTPUT):
            names = inputs if field.number == GRAPH_INPUT else outputs
            names.append(_texts(data, field, _FIRST).get(_FIRST, ""))
    takes = tuple(name for name in inputs if name not in weights)
    return GraphSummary(takes, tuple(outputs), frozenset(operators), opset, metadata)


def _operator(data: mmap.mmap, node: Field) -> str:
    found = _texts(data, node, NODE_OPERATOR, NODE_DOMAIN)
    name, domain = found.get(NODE_OPERATOR, ""), found.get(NODE_DOMAIN, "")
    return name if domain in ("", "ai.onnx") else f"{domain}.{name}"


def _texts(data: mmap.mmap, message: Field, *wanted: int) -> dict[int, str]:
    """Those of the fields `wanted` of a message that are texts, by number."""
    return {
        part.number: data[part.start : part.stop].decode("utf-8")
        for part in _parts(data, message)
        if part.integer is None and part.number in wanted
    }


def _parts(data: mmap.mmap, message: Field) -> Iterator[Field]:
    return read_fields(data, message.start, message.stop)
