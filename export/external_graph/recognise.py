"""What makes a graph from elsewhere look like one of ours, and then like a target wants it."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import common

from bert_onnx.errors import UsageError
from export.onnx_file.fused_operators import count_fused
from export.onnx_file.operators import check_operators
from export.passes.base import PassContext, Refusal
from export.passes.raising.head_layout import UNKNOWN_HEADS, assume_heads
from export.passes.shapes.symbolic_dims import is_private
from export.passes.table import Ledger, run_passes
from export.targets import Target

#: Clean-up that other exporters' graphs need before anything in them can be recognised, in order.
RECOGNISE = (
    "upgrade_opset",
    "simplify",
    "drop_guards",
    "transpose_weights",
    "infer_shapes",
    "simplify_shapes",
    "fold_constants",
    "simplify",
    "simplify_transposes",
    "simplify_expands",
)

#: From what exporters spell out to the canonical form; a target's own passes follow.
RAISE = (
    "raise_attention_operator",
    "raise_positions",
    "raise_linear",
    "raise_layer_norm",
    "raise_gelu",
    "raise_masked_scores",
    "raise_masks",
    "raise_attention",
    "simplify",
    "downgrade_opset",
)

#: Names nodes by the modules of our own tracer, which a graph from elsewhere does not have.
_OWN_GRAPHS_ONLY = ("name_by_scope",)
_PLAIN_LOWERING = "lower_plain"

#: What a target is chosen for: a user wants to know if it did not happen.
_DECISIVE = ("unpad", "remove_padding")


@dataclass(frozen=True)
class Recognised:
    """What was found in a graph.

    Args:
        ledger: each pass and what it did.
        counts: how many operators there are of each fused kind (attention, layer_norm, gelu).
        refusals: what looked like one of them and could not be matched, and why.
    """

    ledger: Ledger
    counts: dict[str, int]
    refusals: tuple[Refusal, ...]


def recognise(model: ir.Model, context: PassContext, heads: int | None, hidden: int | None) -> Recognised:
    """Bring `model` to the canonical form, as far as it is understood.

    Args:
        heads, hidden: H and D, for a graph that does not say how its states are split; both or neither.

    Raises:
        UsageError: the graph does not tell its heads, or tells others.
        ExportError: the graph cannot be brought to the opset.
    """
    common.ClearMetadataAndDocStringPass()(model)  # stack traces with the paths of another machine
    ledger = run_passes(model, RECOGNISE, context)
    if heads is not None and hidden is not None:
        assume_heads(model.graph, heads, hidden)
    ledger += run_passes(model, RAISE, context)
    refusals = _refusals(ledger, RAISE)
    _check_heads(refusals, heads)
    return Recognised(ledger, count_fused(model), refusals)


def lower_recognised(model: ir.Model, context: PassContext, target: Target) -> tuple[Ledger, tuple[Refusal, ...]]:
    """Bring a recognised graph to the operators of `target`; what the target is chosen for and refused is returned.

    Raises:
        ExportError: the graph has an operator that the target does not allow.
    """
    ledger = run_passes(model, lowering_passes(target), context)
    check_operators(model, target)
    _forget_private_names(model.graph)
    return ledger, _refusals(ledger, _DECISIVE)


def lowering_passes(target: Target) -> tuple[str, ...]:
    """The passes of `target` that a recognised graph still needs.

    A target that does not raise anything itself does not lower it either: it gets the plain lowering.
    """
    names = tuple(name for name in target.passes if name not in _OWN_GRAPHS_ONLY)
    if any(name.startswith("lower_") for name in names):
        return names
    return (_PLAIN_LOWERING, *names)


def _refusals(ledger: Ledger, names: tuple[str, ...]) -> tuple[Refusal, ...]:
    """What the passes `names` refused; that another pass had to leave a Reshape computed is no loss of its own."""
    return tuple(refusal for name, outcome in ledger if name in names for refusal in outcome.refusals)


def _check_heads(refusals: tuple[Refusal, ...], heads: int | None) -> None:
    """Raises UsageError where the number of heads is what is missing."""
    for refusal in refusals:
        if UNKNOWN_HEADS in refusal.reason:
            advice = "give --heads and --hidden" if heads is None else "other --heads and --hidden may fit"
            raise UsageError(f"{refusal.node}: {refusal.reason}; {advice}.")


def _forget_private_names(graph: ir.Graph) -> None:
    """Leave no axis name in the file that means nothing to its reader."""
    for node in graph:
        for value in node.outputs:
            if value.shape is not None and any(is_private(_name(axis)) for axis in value.shape):
                value.shape = ir.Shape([None if is_private(_name(axis)) else axis for axis in value.shape])


def _name(axis: int | ir.SymbolicDim) -> int | str | None:
    return axis if isinstance(axis, int) else axis.value
