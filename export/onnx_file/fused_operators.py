"""How many fused operators a graph has, whichever exporter or pass fused them."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from export.passes.graph.canonical import ATTENTION, DOMAIN, GELU

#: Kinds of fused operators, and what they are called in each domain.
FUSED_OPERATORS: dict[str, frozenset[tuple[str, str]]] = {
    "attention": frozenset(
        {
            (DOMAIN, ATTENTION),
            ("", "Attention"),
            ("com.microsoft", "Attention"),
            ("com.microsoft", "MultiHeadAttention"),
            ("com.microsoft", "PackedMultiHeadAttention"),
        }
    ),
    "layer_norm": frozenset(
        {
            ("", "LayerNormalization"),
            ("com.microsoft", "SkipLayerNormalization"),
            ("com.microsoft", "EmbedLayerNormalization"),
        }
    ),
    "gelu": frozenset(
        {
            (DOMAIN, GELU),
            ("", "Gelu"),
            ("com.microsoft", "Gelu"),
            ("com.microsoft", "BiasGelu"),
            ("com.microsoft", "FastGelu"),
        }
    ),
}


def count_fused(model: ir.Model) -> dict[str, int]:
    """How many operators of each kind of `FUSED_OPERATORS` the graph has."""
    operators = Counter((node.domain, node.op_type) for node in model.graph.all_nodes())
    return {kind: sum(operators[name] for name in names) for kind, names in FUSED_OPERATORS.items()}
