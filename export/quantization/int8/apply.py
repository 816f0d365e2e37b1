"""A float graph and recipes to an int8 graph: products, residual sums, embedding tables."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from export.passes.base import PassContext
from export.passes.cleanup.finish import finish
from export.quantization.int8.embedding_tables import quantize_tables
from export.quantization.int8.insert_qdq import insert_recipes
from export.quantization.int8.recipe import Recipe, Scheme
from export.quantization.int8.residuals import sum_residuals
from export.quantization.isa import Isa
from export.quantization.result import GroupRecord, QuantizationResult


def apply_recipes(model: ir.Model, recipes: Sequence[Recipe], isa: Isa) -> QuantizationResult:
    """The graph that `recipes` make of `model`, which is left as it is."""
    quantized = model.clone()
    insert_recipes(quantized, recipes, isa)
    tables: tuple[str, ...] = ()
    if not isa.symmetric:
        sum_residuals(quantized)
        tables = quantize_tables(quantized)
    finish(quantized, PassContext(quantized.opset_imports[""]))
    return QuantizationResult(
        model=quantized,
        records=tuple(GroupRecord(r.group.nodes, _scheme_name(r, isa), r.error, r.sensitivity) for r in recipes),
        tables=tables,
        excluded_nodes=tuple(name for r in recipes if r.scheme is Scheme.FLOAT for name in r.group.nodes),
    )


def _scheme_name(recipe: Recipe, isa: Isa) -> str:
    """What the manifest calls it."""
    return "float" if isa.symmetric and recipe.scheme is Scheme.FLOAT else recipe.scheme.value
