"""The entry: a float graph and a plan in, a quantised graph and its records out."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bert_onnx.tasks import Port
from bert_onnx.tokenization import BertTokenizerFast
from export.quantization.plan import QuantizationPlan, QuantizationResult
from export.quantization.static import quantize_static
from export.request import Progress, no_progress


def quantize_model(
    model: ir.Model,
    plan: QuantizationPlan,
    texts: Sequence[str],
    ports: Sequence[Port],
    tokenizer: BertTokenizerFast,
    progress: Progress = no_progress,
) -> QuantizationResult:
    """`model` quantised as `plan` says; see `quantize_static` for arguments and errors. `model` is left as it is."""
    return quantize_static(model, plan, texts, ports, tokenizer, progress)
