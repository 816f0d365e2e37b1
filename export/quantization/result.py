"""What quantization returns: the graph, and what was done in it, group by group."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir


@dataclass(frozen=True)
class GroupRecord:
    """What was done to one quantization group.

    Args:
        nodes: names of its MatMuls.
        scheme: in words, such as those of `export.quantization.int8.recipe.Scheme`.
        error: squared error of the group's output (of its weights, where no text was run) relative to its square.
        sensitivity: how far the mean cosine falls where this group alone is quantized; None where it was not measured.
    """

    nodes: tuple[str, ...]
    scheme: str
    error: float
    sensitivity: float | None = None


@dataclass(frozen=True)
class QuantizationResult:
    """A quantized graph.

    Args:
        model: the graph.
        records: what was done, in the order of the graph.
        tables: names of the embedding tables that became int8.
        excluded_nodes: names of MatMuls that stayed in float.
    """

    model: ir.Model
    records: tuple[GroupRecord, ...]
    tables: tuple[str, ...]
    excluded_nodes: tuple[str, ...] = ()
