"""The entry: a float graph and a plan in, a quantised graph and its records out."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bert_onnx.tasks import Port
from bert_onnx.tokenization import BertTokenizerFast
from export.quantization.int8.dynamic import quantize_dynamic
from export.quantization.int8.static import quantize_static
from export.quantization.plan import QuantizationPlan, QuantizationResult
from export.quantization.weight_only.quantize import quantize_weights
from export.report import Progress, no_progress

_BY_METHOD = {"static": quantize_static, "dynamic": quantize_dynamic, "weights": quantize_weights}


def quantize_model(
    model: ir.Model,
    plan: QuantizationPlan,
    texts: Sequence[str],
    ports: Sequence[Port],
    tokenizer: BertTokenizerFast,
    progress: Progress = no_progress,
) -> QuantizationResult:
    """`model` quantised as `plan` says; it is left as it is.

    Args:
        model: a float graph of any target.
        plan: what is wanted.
        texts: calibration texts. Static int8 needs them; weights are rounded better with them; dynamic int8 is only
            measured with them.
        ports: the inputs of `model`.
        tokenizer: of the model.
        progress: called as steps begin.

    Raises:
        UsageError: the graph is quantised already, has nothing to quantise, or takes inputs that cannot be made from
            text.
        InputError: too little text.
        CheckpointError: weights that are not finite.
    """
    return _BY_METHOD[plan.method](model, plan, texts, ports, tokenizer, progress)
