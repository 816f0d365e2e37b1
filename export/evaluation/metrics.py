"""Figures that compare two sets of predictions, in numpy alone and in float64."""

from __future__ import annotations

import numpy as np

#: Rows of the similarity matrix that are in memory at once.
_BLOCK = 1024


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of each row of `a` [N, D] with the same row of `b` [N, D]; of zero vectors 1 if both are, else 0."""
    first, second = _unit(a), _unit(b)
    both_zero = ~(first.any(axis=1) | second.any(axis=1))
    return np.asarray(np.where(both_zero, 1.0, (first * second).sum(axis=1)))


def nearest_neighbours(vectors: np.ndarray) -> np.ndarray:
    """Index of the most similar other row for each row of `vectors` [N, D], by cosine; int64 [N], N >= 2.

    Raises:
        ValueError: a single row has no neighbour.
    """
    if len(vectors) < 2:
        raise ValueError("a nearest neighbour needs two vectors or more")
    unit = _unit(vectors)
    nearest = []
    for start in range(0, len(unit), _BLOCK):
        similarities = unit[start : start + _BLOCK] @ unit.T
        rows = np.arange(len(similarities))
        similarities[rows, rows + start] = -np.inf
        nearest.append(similarities.argmax(axis=1))
    return np.concatenate(nearest)


def neighbour_agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Share of rows whose nearest neighbour in `a` [N, D] is their nearest neighbour in `b` [N, D] too."""
    return agreement(nearest_neighbours(a), nearest_neighbours(b))


def pair_similarities(vectors: np.ndarray) -> np.ndarray:
    """Cosines of all pairs of rows of `vectors` [N, D], each pair once: [N (N - 1) / 2]."""
    unit = _unit(vectors)
    return np.asarray((unit @ unit.T)[np.triu_indices(len(unit), k=1)])


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of `values` [N] from 1; equal values share the mean of their ranks."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[where])


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of `a` [N] and `b` [N]: Pearson's correlation of their ranks.

    Where one of them is constant there is no correlation; 1 is returned if both are, else 0.
    """
    first, second = (ranks(np.asarray(values, np.float64)) for values in (a, b))
    first, second = first - first.mean(), second - second.mean()
    size = float(np.sqrt((first @ first) * (second @ second)))
    if size == 0:
        return float(not first.any() and not second.any())
    return float(np.clip(first @ second / size, -1.0, 1.0))


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Share of equal elements.

    Raises:
        ValueError: there are none, or not the same number of both.
    """
    if a.shape != b.shape or a.size == 0:
        raise ValueError(f"arrays of the shapes {a.shape} and {b.shape} cannot agree")
    return float((a == b).mean())


def kl_divergence(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """KL(expected || found) in nats, of the softmax distributions behind two arrays of logits [..., C]: [...]."""
    log_p, log_q = _log_softmax(expected), _log_softmax(found)
    return np.asarray(np.maximum((np.exp(log_p) * (log_p - log_q)).sum(axis=-1), 0.0))


def binary_kl_divergence(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The same for labels that are independent of each other, one logit each: logits [...] to [...]."""
    return kl_divergence(*(np.stack([values, np.zeros_like(values)], axis=-1) for values in (expected, found)))


def top_overlap(expected: np.ndarray, found: np.ndarray) -> float:
    """Mean share of the ids in each row of `expected` [N, K] that the same row of `found` [N, K] has."""
    shared = (expected[:, :, None] == found[:, None, :]).any(axis=2)
    return float(shared.mean())


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; zero rows stay zero."""
    wide = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(wide, axis=-1, keepdims=True)
    return np.asarray(wide / np.where(lengths == 0, 1.0, lengths))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    wide = np.asarray(logits, np.float64)
    shifted = wide - wide.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
