"""Cosines between a quantized graph's vectors and the float graph's, for the search alone; the gate measures by itself.

One vector a text: the sentence embedding where there is one, else the mean over real tokens of the first output that
has a row a token, else the row of the first output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from bert_onnx.sentence_modules import SENTENCE, SPARSE, TOKENS
from export.quantization.feeds import Feed
from export.quantization.sessions import GraphSession

_PREFERRED = (SENTENCE, SPARSE, TOKENS, "last_hidden_state", "logits", "start_logits", "prediction_logits")
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Closeness:
    """Cosines between the vectors of two graphs, over all texts."""

    mean: float
    minimum: float

    def reaches(self, goal: Closeness) -> bool:
        """Whether neither figure is below that of `goal`."""
        return self.mean >= goal.mean and self.minimum >= goal.minimum


def text_vectors(model: ir.Model, feeds: Sequence[Feed]) -> np.ndarray:
    """One vector of length 1 a text, [N, D], in the order of `feeds`."""
    name = _chosen_output(model)
    with GraphSession(model) as session:
        vectors = [_pool(session.run([name], feed)[0], feed.mask) for feed in feeds]
    # A score a token, as for the start of an answer: rows of batches of other lengths end in zeros, as padding does.
    width = max(one.shape[1] for one in vectors)
    joined = np.concatenate([np.pad(one, ((0, 0), (0, width - one.shape[1]))) for one in vectors])
    return joined / np.maximum(np.linalg.norm(joined, axis=1, keepdims=True), _SMALLEST)


def compare_vectors(expected: np.ndarray, actual: np.ndarray) -> Closeness:
    """Closeness of two results of `text_vectors`."""
    cosines = np.einsum("nd,nd->n", expected, actual)
    return Closeness(float(cosines.mean()), float(cosines.min()))


def _chosen_output(model: ir.Model) -> str:
    names = [output.name or "" for output in model.graph.outputs]
    return next((name for name in _PREFERRED if name in names), names[0])


def _pool(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[B, N] from [B, S, N] by the mean over real tokens, from anything else by laying out each row."""
    if array.ndim == 3 and array.shape[:2] == mask.shape:
        weights = mask[..., None].astype(np.float32)
        return (array * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)
    if array.shape == mask.shape:
        return array * mask
    return array.reshape(len(array), -1)
