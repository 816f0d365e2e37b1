"""The table of passes, and running them in the order that a target's row of `export.targets` gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import onnx_ir as ir

from export.onnx_file.operators import changed_operators, count_operators
from export.passes.algebra.drop_key_bias import drop_key_bias
from export.passes.algebra.first_row import first_row
from export.passes.algebra.fold_scale import fold_scale
from export.passes.algebra.fold_token_type import fold_token_type
from export.passes.algebra.fold_value_bias import fold_value_bias
from export.passes.algebra.merge_qkv import merge_qkv
from export.passes.base import Pass, PassContext, PassOutcome
from export.passes.cleanup.convert_opset import downgrade_opset, upgrade_opset
from export.passes.cleanup.drop_guards import drop_guards
from export.passes.cleanup.finish import finish
from export.passes.cleanup.fold_constants import fold_constants
from export.passes.cleanup.name_by_scope import name_by_scope
from export.passes.cleanup.set_opset import set_opset
from export.passes.cleanup.simplify import simplify
from export.passes.cleanup.simplify_expands import simplify_expands
from export.passes.cleanup.simplify_shapes import simplify_shapes
from export.passes.cleanup.simplify_transposes import simplify_transposes
from export.passes.cleanup.transpose_weights import transpose_weights
from export.passes.lowering.attention_ort import lower_attention_microsoft
from export.passes.lowering.attention_ort_cuda import lower_attention_lengths
from export.passes.lowering.fuse_bias_gelu import fuse_bias_gelu
from export.passes.lowering.fuse_embeddings import fuse_embeddings
from export.passes.lowering.fuse_integer_products import fuse_integer_products
from export.passes.lowering.fuse_skip_layer_norm import fuse_skip_layer_norm
from export.passes.lowering.gelu import lower_gelu
from export.passes.lowering.multi_head_attention import lower_mha, lower_mha_biases_apart
from export.passes.lowering.packed_attention import lower_packed_attention
from export.passes.lowering.plain import lower_plain
from export.passes.raising.attention import raise_attention
from export.passes.raising.attention_operator import raise_attention_operator
from export.passes.raising.gelu import raise_gelu
from export.passes.raising.layer_norm import raise_layer_norm
from export.passes.raising.linear import raise_linear
from export.passes.raising.masked_scores import raise_masked_scores
from export.passes.raising.masks import raise_masks
from export.passes.raising.positions import raise_positions
from export.passes.raising.rotary import raise_rotary
from export.passes.shapes.infer_shapes import infer_shapes
from export.passes.unpadding.remove_padding import remove_padding
from export.passes.unpadding.share_rows import share_rows
from export.passes.unpadding.unpad import unpad

#: Every pass by name.
PASSES: dict[str, Pass] = {
    "name_by_scope": name_by_scope,
    "transpose_weights": transpose_weights,
    "fold_constants": fold_constants,
    "simplify_shapes": simplify_shapes,
    "simplify": simplify,
    "drop_key_bias": drop_key_bias,
    "fold_scale": fold_scale,
    "fold_token_type": fold_token_type,
    "fold_value_bias": fold_value_bias,
    "fuse_embeddings": fuse_embeddings,
    "fuse_bias_gelu": fuse_bias_gelu,
    "fuse_integer_products": fuse_integer_products,
    "fuse_skip_layer_norm": fuse_skip_layer_norm,
    "lower_attention_lengths": lower_attention_lengths,
    "lower_attention_microsoft": lower_attention_microsoft,
    "lower_mha": lower_mha,
    "lower_mha_biases_apart": lower_mha_biases_apart,
    "lower_packed_attention": lower_packed_attention,
    "merge_qkv": merge_qkv,
    "lower_gelu": lower_gelu,
    "lower_plain": lower_plain,
    "drop_guards": drop_guards,
    "infer_shapes": infer_shapes,
    "raise_layer_norm": raise_layer_norm,
    "raise_linear": raise_linear,
    "simplify_transposes": simplify_transposes,
    "raise_attention_operator": raise_attention_operator,
    "upgrade_opset": upgrade_opset,
    "downgrade_opset": downgrade_opset,
    "raise_positions": raise_positions,
    "simplify_expands": simplify_expands,
    "raise_masked_scores": raise_masked_scores,
    "raise_gelu": raise_gelu,
    "raise_masks": raise_masks,
    "raise_rotary": raise_rotary,
    "raise_attention": raise_attention,
    "first_row": first_row,
    "unpad": unpad,
    "share_rows": share_rows,
    "remove_padding": remove_padding,
    "set_opset": set_opset,
    "finish": finish,
}

#: The ledger: what each pass of a run did, in order.
Ledger = tuple[tuple[str, PassOutcome], ...]


def run_passes(
    model: ir.Model,
    names: Sequence[str],
    context: PassContext,
    after_each: Callable[[str, ir.Model], None] | None = None,
) -> Ledger:
    """Apply the passes `names` to `model`, in place and in order.

    Args:
        after_each: called with a pass's name and the model after it, to find a pass that breaks a graph.

    Returns:
        The ledger.
    """
    ledger = []
    before = count_operators(model)
    for name in names:
        outcome = PASSES[name](model, context)
        after = count_operators(model)
        ledger.append((name, replace(outcome, operators=changed_operators(before, after))))
        before = after
        if after_each is not None:
            after_each(name, model)
    return tuple(ledger)
