"""Weight-only int8 and int4: activations stay float, weights are integers with scales.

    standard operators   int8: Cast(W') * scales, per output channel, computed once while a runtime loads the file
                         int4: DequantizeLinear(W', scales) of opset 21, a scale for each 32 rows of a channel
    ONNX Runtime's       MatMulNBits(x, W', scales), 32 rows a scale: the weights stay small in memory, too

With calibration texts, what one weight loses by rounding is made up by those to come, so that the output keeps best;
without, each goes to the nearest level.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from bert_onnx.errors import UsageError
from export.passes.base import PassContext
from export.passes.cleanup.finish import finish
from export.passes.graph.writer import use_microsoft
from export.quantization.feeds import Feed
from export.quantization.int8.calibration import Calibration
from export.quantization.int8.embedding_tables import quantize_tables
from export.quantization.int8.groups import QuantGroup, find_groups, weights_of
from export.quantization.integer_weights import IntegerWeight, relative_error, round_by_output, round_nearest
from export.quantization.result import GroupRecord, QuantizationResult
from export.quantization.weight_only.insert import BLOCK, insert_weights
from export.report import Progress, no_progress

#: Largest magnitude of a weight, and the opset that has the operator for it.
LIMITS = {"int8": 127, "int4": 7}
INT4_OPSET = 21


def quantize_weights(
    model: ir.Model,
    precision: str,
    nbits: bool = False,
    feeds: Sequence[Feed] = (),
    progress: Progress = no_progress,
) -> QuantizationResult:
    """A graph with small weights made from `model`, a float graph of any target, which is left as it is.

    Args:
        precision: of the weights, int8 or int4.
        nbits: weights go into ONNX Runtime's MatMulNBits, not into standard operators.
        feeds: calibration texts to round by; empty for rounding to the nearest.
        progress: called as steps begin.

    Raises:
        UsageError: the graph is quantized already, has nothing to quantize, or an opset without int4.
        InputError: an activation is not finite.
        CheckpointError: weights that are not finite.
    """
    opset = model.graph.opset_imports[""]
    if precision == "int4" and not nbits and opset < INT4_OPSET:
        raise UsageError(
            f"int4 in standard operators needs opset {INT4_OPSET}, and this graph has {opset}; "
            f"export it with --opset {INT4_OPSET}."
        )
    groups = find_groups(model)
    progress("running the calibration texts", 0.05)
    grams = _grams(model, groups, feeds) if feeds else {}
    quantized = model.clone()
    records: list[GroupRecord] = []
    for group in groups:
        progress(f"rounding {group.name}", 0.3 + 0.5 * len(records) / len(groups))
        exact = weights_of(model, group)
        block = BLOCK if nbits or precision == "int4" else None
        rounded = [_round(weight, grams.get(group), LIMITS[precision], block) for weight in exact]
        insert_weights(quantized, group, rounded, precision, nbits)
        records.append(GroupRecord(group.nodes, f"float, weights {precision}", relative_error(exact, rounded)))
    quantized.graph.sort()
    tables = quantize_tables(quantized)
    use_microsoft(quantized)
    finish(quantized, PassContext(opset))
    return QuantizationResult(quantized, tuple(records), tables)


def _grams(model: ir.Model, groups: Sequence[QuantGroup], feeds: Sequence[Feed]) -> dict[QuantGroup, np.ndarray]:
    """X^T X [I, I] of what each group reads."""
    return {group: (s.rows.T @ s.rows).astype(np.float64) for group, s in Calibration(model, groups, feeds).every()}


def _round(weight: np.ndarray, gram: np.ndarray | None, limit: int, block: int | None) -> IntegerWeight:
    return round_nearest(weight, limit, block) if gram is None else round_by_output(weight, gram, limit, block)
