"""How alike vectors are, each of one set with each of another: the measures of sentence-transformers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bert_onnx.errors import InputError

#: Vectors shorter than this are divided by it, as torch does.
_SHORTEST = 1e-12
#: Numbers of a block of differences.
_BLOCK = 1 << 22


def similarity(first: np.ndarray, second: np.ndarray, measure: str) -> np.ndarray:
    """[N, E] and [M, E], or one vector [E], to float32 [N, M]; distances are negative, so that larger is more alike.

    Args:
        measure: one of `bert_onnx.sentence_settings.SIMILARITIES`.

    Raises:
        InputError: they are not vectors of one size.
    """
    rows, columns = (np.atleast_2d(np.asarray(vectors, np.float32)) for vectors in (first, second))
    if rows.ndim != 2 or columns.ndim != 2 or rows.shape[1] != columns.shape[1]:
        raise InputError(f"vectors of the shapes {list(rows.shape)} and {list(columns.shape)} cannot be compared.")
    return _MEASURES[measure](rows, columns).astype(np.float32)


def _cosine(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return _dot(_unit(rows), _unit(columns))


def _dot(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    product: np.ndarray = rows @ columns.T
    return product


def _euclidean(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return -_distances(rows, columns, lambda difference: np.sqrt(np.square(difference).sum(-1)))


def _manhattan(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return -_distances(rows, columns, lambda difference: np.abs(difference).sum(-1))


def _distances(rows: np.ndarray, columns: np.ndarray, length: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`length` of every difference, block by block, so that memory does not grow with N * M * E."""
    step = max(1, _BLOCK // max(1, columns.size))
    blocks = [length(rows[start : start + step, None] - columns) for start in range(0, len(rows), step)]
    return np.concatenate(blocks) if blocks else np.empty((0, len(columns)))


def _unit(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _SHORTEST)
    return unit


_MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cosine": _cosine,
    "dot": _dot,
    "euclidean": _euclidean,
    "manhattan": _manhattan,
}
