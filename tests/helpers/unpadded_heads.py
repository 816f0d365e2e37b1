"""Every head of a tiny canonical BERT, and what its outputs must be where the padding is skipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from canonical_bert import eager_outputs
from token_masks import CHOICES

from bert_onnx.sentence_modules import pooled
from bert_onnx.tasks import CHOICES as CHOICES_AXIS
from bert_onnx.tasks import SEQUENCE, Port, TaskOptions
from export.reference.module import GraphModule

Head = tuple[str, TaskOptions | None, dict[str, Any]]
HEADS: dict[str, Head] = {
    "feature-extraction": ("feature-extraction", TaskOptions(), {}),
    "pooler": ("feature-extraction", None, {}),
    "mean": ("sentence-similarity", TaskOptions(pooled("mean")), {}),
    "mean, not normalised": ("sentence-similarity", TaskOptions(pooled("mean", normalize=False)), {}),
    "max": ("sentence-similarity", TaskOptions(pooled("max")), {}),
    "cls": ("sentence-similarity", TaskOptions(pooled("cls")), {}),
    "cls, not normalised": ("sentence-similarity", TaskOptions(pooled("cls", normalize=False)), {}),
    "fill-mask": ("fill-mask", None, {}),
    "pretraining": ("pretraining", None, {}),
    "next-sentence-prediction": ("next-sentence-prediction", None, {}),
    "text-classification": ("text-classification", None, {}),
    "token-classification": ("token-classification", None, {}),
    "question-answering": ("question-answering", None, {}),
    "multiple-choice": ("multiple-choice", None, {}),
    "hidden states": ("text-classification", TaskOptions(output_hidden_states=True), {}),
    "probabilities": ("pretraining", TaskOptions(output_attentions=True, output_hidden_states=True), {}),
    "relative_key": ("feature-extraction", None, {"position_embedding_type": "relative_key"}),
    "relative_key_query": ("pretraining", None, {"position_embedding_type": "relative_key_query"}),
}


def kept(port: Port, mask: np.ndarray, rank: int) -> np.ndarray:
    """True where output `port` must be what eager says; it must be zero elsewhere. Broadcasts to the output."""
    real, some = mask > 0, mask.any(1)
    if port.name.startswith("attentions"):
        return real[:, None, :, None]
    if SEQUENCE in port.axes:
        return real.reshape(*real.shape, *(1,) * (rank - 2))
    return some.reshape(-1, CHOICES) if CHOICES_AXIS in port.axes else some[:, None]


def compare(
    module: GraphModule,
    actual: Mapping[str, np.ndarray],
    feeds: Mapping[str, np.ndarray],
    mask: np.ndarray,
    what: str,
    tolerance: float = 1e-5,
) -> None:
    """Real tokens as in eager, relative to the largest value; everything else is zero."""
    expected = eager_outputs(module, feeds)
    for port in module.outputs:
        name, got, wanted = port.name, actual[port.name], expected[port.name]
        keep = kept(port, mask, wanted.ndim)
        assert got.shape == wanted.shape, (what, name)
        assert np.isfinite(got).all(), (what, name)
        assert not np.where(keep, 0, got).any(), f"{what}: {name} is not zero at padding"
        allowed = tolerance * max(1.0, float(np.abs(wanted).max()))
        assert np.abs(np.where(keep, got - wanted, 0)).max() <= allowed, (what, name)
