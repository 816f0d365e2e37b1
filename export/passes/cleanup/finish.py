"""Leaves the graph in the one form that is written: sorted, without dead parts, with names that follow its order.

Equal graphs give equal bytes after this pass, whatever names the tracer had chosen.
"""

from __future__ import annotations

import re
from collections import Counter

import onnx_ir as ir
from onnx_ir.passes import common

from bert_onnx.version import __version__
from export.passes.base import PassContext, PassOutcome

_NUMBER = re.compile(r"_\d+$")
_PARAMETER = re.compile(r"\.\w+$")

#: Elements of the largest constant that is compared with others.
_LARGEST_SHARED = 64


def finish(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the values that were renamed."""
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedFunctionsPass()(model)
    common.TopologicalSortPass()(model)
    _share_constants(model.graph)
    renamed = _number_nodes(model.graph) + _name_values(model.graph) + _name_constants(model.graph)
    model.producer_name = "bert-onnx"
    model.producer_version = __version__
    return PassOutcome(renamed)


def _name_values(graph: ir.Graph) -> int:
    """Name each value after its node: `<node>_output_<index>`; inputs and outputs of the graph keep their names."""
    renamed = 0
    for node in graph:
        for index, value in enumerate(node.outputs):
            name = f"{node.name}_output_{index}"
            if not value.is_graph_output() and value.name != name:
                value.name = name
                renamed += 1
    return renamed


def _share_constants(graph: ir.Graph) -> None:
    """Keep one of each constant that several nodes hold alike."""
    kept: dict[tuple[object, ...], ir.Value] = {}
    for name, value in list(graph.initializers.items()):
        constant = value.const_value
        if not is_anonymous(name) or constant is None or value.is_graph_output() or constant.size > _LARGEST_SHARED:
            continue
        first = kept.setdefault((constant.dtype, tuple(constant.shape), constant.tobytes()), value)
        if first is not value:
            value.replace_all_uses_with(first)
            del graph.initializers[name]


def _number_nodes(graph: ir.Graph) -> int:
    """Number the nodes that share a name in the order of the graph, without gaps."""
    used: Counter[str] = Counter()
    renamed = 0
    for node in graph:
        stem = _NUMBER.sub("", node.name or node.op_type)
        name = f"{stem}_{used[stem]}" if used[stem] else stem
        used[stem] += 1
        renamed += node.name != name
        node.name = name
    return renamed


def _name_constants(graph: ir.Graph) -> int:
    """Number the constants that have no name of their own in the order in which nodes read them."""
    values: dict[str, ir.Value] = {}
    for node in graph:
        for value in node.inputs:
            if value is not None and value.is_initializer() and is_anonymous(value.name or ""):
                values.setdefault(value.name or "", value)
    for stage in ("being_renamed", "constant"):  # two rounds, so that a new name never meets an old one
        for number, value in enumerate(values.values()):
            value.name = f"{stage}_{number}"
            if value.const_value is not None:
                value.const_value.name = value.name
    return len(values)


def is_anonymous(name: str) -> bool:
    """Whether an initializer was made up on the way; parameters are named `module.attribute`."""
    return _PARAMETER.search(name) is None
