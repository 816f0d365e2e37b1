"""A target's clients open only what its row lists: every other operator is an error, named with its node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import onnx_ir as ir

from bert_onnx.errors import ExportError
from export.targets import Target


def operator_name(node: ir.Node) -> str:
    """`Add` for ai.onnx, `com.microsoft.BiasGelu` for others."""
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def all_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Every node, those of subgraphs and functions included."""
    yield from model.graph.all_nodes()
    for function in model.functions.values():
        yield from function.all_nodes()


def count_operators(model: ir.Model) -> Counter[str]:
    """How many nodes there are of each operator."""
    return Counter(operator_name(node) for node in all_nodes(model))


def changed_operators(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """How many nodes more, or fewer, there are of each operator whose number changed."""
    names = sorted(before.keys() | after.keys())
    return {name: change for name in names if (change := after.get(name, 0) - before.get(name, 0))}


def check_operators(model: ir.Model, target: Target, added: frozenset[str] = frozenset()) -> None:
    """Compare every node with the row of `target`.

    Args:
        added: further operators that the precision of `model` brings.

    Raises:
        ExportError: naming the first operator that the target does not allow, and its node.
    """
    for node in all_nodes(model):
        name = operator_name(node)
        if name not in added and (node.domain not in target.domains or name not in target.operators):
            raise ExportError(
                f"{name} ({node.name}) is not an operator of the target {target.name}; choose another target."
            )
