"""What is in an .onnx file: operators, ports, opsets, sizes. Weights are not read."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bert_onnx.errors import ArtifactError
from bert_onnx.tasks import Port
from export.check import check_graph_file
from export.onnx_file.operators import operator_name


@dataclass(frozen=True)
class FileSummary:
    """One graph.

    Args:
        path: the file.
        producer: what wrote it.
        ir_version: version of the ONNX format.
        opsets: version of each operator domain; ai.onnx is "".
        inputs, outputs: its ports; an axis without a name is `?`.
        nodes: how many, subgraphs included.
        operators: how many of each.
        weights: how many initializers, and their bytes by element type.
        size_bytes: the file; external data not included.
    """

    path: str
    producer: str
    ir_version: int
    opsets: dict[str, int]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: int
    operators: dict[str, int]
    weights: dict[str, int]
    size_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """JSON form for programs."""
        return asdict(self)


def inspect_graph(path: Path) -> FileSummary:
    """Read the graph in `path`.

    Raises:
        ArtifactError: the file is missing or not a graph.
    """
    check_graph_file(path)
    try:
        model = ir.load(path)
        graph = model.graph
        operators = Counter(operator_name(node) for node in graph.all_nodes())
    except Exception as error:  # the protobuf library and onnx_ir raise many kinds
        raise ArtifactError(f"{path} cannot be read as an ONNX graph: {type(error).__name__}.") from error
    weights: Counter[str] = Counter()
    for value in graph.initializers.values():
        if value.const_value is not None:
            weights[value.const_value.dtype.name.lower()] += value.const_value.nbytes
    return FileSummary(
        path=str(path),
        producer=f"{model.producer_name or 'unknown'} {model.producer_version or ''}".strip(),
        ir_version=model.ir_version,
        opsets=dict(sorted(graph.opset_imports.items())),
        inputs=tuple(_port(value) for value in graph.inputs),
        outputs=tuple(_port(value) for value in graph.outputs),
        nodes=sum(operators.values()),
        operators=dict(sorted(operators.items())),
        weights=dict(sorted(weights.items())),
        size_bytes=path.stat().st_size,
    )


def _port(value: ir.Value) -> Port:
    dtype = "unknown" if value.dtype is None else _NUMPY_NAMES.get(value.dtype.name, value.dtype.name.lower())
    axes = tuple(axis if isinstance(axis, int) else str(axis.value or "?") for axis in value.shape or ())
    return Port(value.name or "", dtype, axes)


#: ONNX names of element types whose numpy name differs by more than case.
_NUMPY_NAMES = {"FLOAT": "float32", "DOUBLE": "float64"}
