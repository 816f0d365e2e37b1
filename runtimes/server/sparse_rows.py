"""Rows of outputs over a vocabulary while they wait for their request: only what is wanted of them."""

from __future__ import annotations

from collections.abc import Sequence
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


@dataclass(frozen=True, eq=False, slots=True)
class KeptTokens:
    """`values` [N, V] of the tokens at `places` [N] of a row."""

    places: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, row: np.ndarray, ids: Sequence[int], kept: int) -> KeptTokens:
        """Those of `row` [S, V] whose id is `kept`, as a copy: the others are not held for them."""
        places = np.flatnonzero(np.asarray(ids) == kept)
        return cls(places, row[places])
