"""Weight-only int8 and int4: activations stay float, weights are integers with scales.

    standard operators   int8: Cast(W') * scales, a scale a column, computed once while a runtime loads the file
                         int4: DequantizeLinear(W', scales) of opset 21, a scale for each 32 rows of a column
    ONNX Runtime's       MatMulNBits(x, W', scales), 32 rows a scale: the weights stay small in memory, too

With calibration texts, what one weight loses by rounding is made up by those to come, so that the output keeps best;
without, each goes to the nearest level.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from bert_onnx.errors import UsageError
from bert_onnx.tasks import Port
from bert_onnx.tokenization import BertTokenizerFast
from export.passes.base import PassContext
from export.passes.cleanup.finish import finish
from export.passes.graph.writer import use_microsoft
from export.quantization.feeds import check_texts, make_feeds
from export.quantization.int8.calibration import calibrate
from export.quantization.int8.dynamic import measure_closeness
from export.quantization.int8.embedding_tables import quantize_tables
from export.quantization.int8.sites import Site, find_sites, weights_of
from export.quantization.integer_weights import IntegerWeight, relative_error, round_by_output, round_nearest
from export.quantization.plan import QuantizationPlan, QuantizationResult, SiteRecord
from export.quantization.weight_only.insert import BLOCK, insert_weights
from export.report import Progress, no_progress

#: Largest magnitude of a weight, and the opset that has the operator for it.
LIMITS = {"int8": 127, "int4": 7}
INT4_OPSET = 21

#: One text in so many judges what was made, as with static int8.
_HELD_OUT = 4


def quantize_weights(
    model: ir.Model,
    plan: QuantizationPlan,
    texts: Sequence[str],
    ports: Sequence[Port],
    tokenizer: BertTokenizerFast,
    progress: Progress = no_progress,
) -> QuantizationResult:
    """A graph with small weights made from `model`, which is left as it is.

    Args:
        model: a float graph of any target.
        plan: what is wanted.
        texts: to round by; empty for rounding to the nearest.
        ports: the inputs of `model`.
        tokenizer: of the model.
        progress: called as steps begin.

    Raises:
        UsageError: the graph is quantised already, has nothing to quantise, or an opset without int4.
        InputError: texts that are too short.
        CheckpointError: weights that are not finite.
    """
    _check_opset(model, plan)
    sites = find_sites(model)
    kept = check_texts(texts, "the calibration text") if texts else ()
    grams = _grams(model, sites, [t for n, t in enumerate(kept) if n % _HELD_OUT], ports, tokenizer, plan, progress)
    quantized = model.clone()
    records: list[SiteRecord] = []
    for site in sites:
        progress(f"rounding {site.name}", 0.3 + 0.5 * len(records) / len(sites))
        exact = weights_of(model, site)
        rounded = [_round(weight, grams.get(site), plan) for weight in exact]
        insert_weights(quantized, site, rounded, plan)
        error = relative_error(exact, rounded)
        records.append(SiteRecord(site.nodes, f"float, weights {plan.precision}", 0.0, error, None))
    quantized.graph.sort()
    tables = quantize_tables(quantized) if plan.embeddings else ()
    use_microsoft(quantized)
    finish(quantized, PassContext(quantized.opset_imports[""]))
    progress("measuring the quantised graph", 0.9)
    closeness = measure_closeness(model, quantized, plan, kept[::_HELD_OUT], ports, tokenizer)
    return QuantizationResult(quantized, (), tuple(records), tables, closeness, invariant=True)


def _check_opset(model: ir.Model, plan: QuantizationPlan) -> None:
    opset = model.graph.opset_imports[""]
    if plan.precision == "int4" and not plan.microsoft and opset < INT4_OPSET:
        raise UsageError(
            f"int4 in standard operators needs opset {INT4_OPSET}, and this graph has {opset}; "
            f"export it with --opset {INT4_OPSET}."
        )


def _grams(
    model: ir.Model,
    sites: Sequence[Site],
    texts: Sequence[str],
    ports: Sequence[Port],
    tokenizer: BertTokenizerFast,
    plan: QuantizationPlan,
    progress: Progress,
) -> dict[Site, np.ndarray]:
    """X^T X [I, I] of what each site reads; nothing without texts."""
    if not texts:
        return {}
    progress("running the calibration texts", 0.05)
    feeds = make_feeds(texts, ports, tokenizer, plan.max_length)
    return {site: (s.rows.T @ s.rows).astype(np.float64) for site, s in calibrate(model, sites, feeds)}


def _round(weight: np.ndarray, gram: np.ndarray | None, plan: QuantizationPlan) -> IntegerWeight:
    """int8 without MatMulNBits has a scale a column; everything else one for each block of rows."""
    block = BLOCK if plan.microsoft or plan.precision == "int4" else None
    limit = LIMITS[plan.precision]
    return round_nearest(weight, limit, block) if gram is None else round_by_output(weight, gram, limit, block)
