"""Logits to scores, in float32 as the models compute."""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis; the largest logit is subtracted first, so that none overflows."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), element by element, by the tanh form: it does not overflow at either end."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), dtype=logits.dtype)


def best(scores: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` highest of `scores` [N], highest first; equals stay in the order of their indices."""
    count = min(count, len(scores))
    if count * 8 < len(scores):  # sorting a vocabulary to find five is 50 times the work
        chosen = np.sort(np.argpartition(-scores, count - 1)[:count])
        return np.asarray(chosen[np.argsort(-scores[chosen], kind="stable")])
    return np.argsort(-scores, kind="stable")[:count]
