"""Rows of sparse embeddings while they wait for their request: what is not zero of a whole vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False, slots=True)
class SparseRow:
    """`indices` [N], rising, of `width` values, and their `weights` [N]; all others are zero."""

    indices: np.ndarray
    weights: np.ndarray
    width: int

    @classmethod
    def of(cls, row: np.ndarray) -> SparseRow:
        """What is not zero of `row` [V]."""
        indices = np.flatnonzero(row)
        return cls(indices, row[indices], len(row))

    def dense(self) -> np.ndarray:
        """[V], zeros included."""
        row = np.zeros(self.width, self.weights.dtype)
        row[self.indices] = self.weights
        return row
