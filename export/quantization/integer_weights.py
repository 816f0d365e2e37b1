"""Weights as small integers with scales, rounded to the nearest or so that the layer's output keeps best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

#: Added to the diagonal of X^T X, as a share of its mean: what calibration did not see must not blow up.
_DAMPING = 0.05
_STRIDE = 128
_SMALLEST = 1e-12


@dataclass(frozen=True)
class IntegerWeight:
    """W [I, O] as values * scales.

    Args:
        values: int8 [I, O], symmetric around zero.
        scales: float32, per output channel [O], or [blocks, O] with one for each `block` rows of a channel.
        block: rows that share a scale; None for all of them.
    """

    values: np.ndarray
    scales: np.ndarray
    block: int | None = None

    def dequantize(self) -> np.ndarray:
        """W' [I, O], float32."""
        return self.values * _of_rows(self.scales, self.block, len(self.values))

    def split(self, widths: Sequence[int]) -> tuple[IntegerWeight, ...]:
        """Its columns, `widths` of them at a time."""
        stops = np.cumsum(widths)[:-1]
        values, scales = (np.split(array, stops, axis=-1) for array in (self.values, self.scales))
        return tuple(IntegerWeight(v, s, self.block) for v, s in zip(values, scales, strict=True))


def channel_scales(weight: np.ndarray, limit: int, pair: int | None = None) -> np.ndarray:
    """Scales [O]: the largest weight of each output channel becomes `limit`, and none of its pairs exceeds `pair`."""
    needed = np.abs(weight).max(axis=0, initial=0.0) / limit
    if pair is not None:
        even, odd = weight[: len(weight) // 2 * 2 : 2], weight[1::2]
        needed = np.maximum(needed, np.abs(even + odd).max(axis=0, initial=0.0, where=even * odd > 0) / pair)
    return np.maximum(needed, _SMALLEST).astype(np.float32)


def block_scales(weight: np.ndarray, limit: int, block: int | None, pair: int | None = None) -> np.ndarray:
    """Scales [O], or with `block` those of each block of rows, [blocks, O]."""
    if block is None:
        return channel_scales(weight, limit, pair)
    starts = range(0, len(weight), block)
    return np.stack([channel_scales(weight[start : start + block], limit, pair) for start in starts])


def round_nearest(weight: np.ndarray, limit: int, block: int | None = None, pair: int | None = None) -> IntegerWeight:
    """Each weight to the nearest integer; `pair` as in `round_by_output`."""
    scales = block_scales(weight, limit, block, pair)
    values = np.clip(np.rint(weight / _of_rows(scales, block, len(weight))), -limit, limit)
    if pair is not None:
        even, odd = values[: len(values) // 2 * 2 : 2], values[1::2]
        even[:] = _beside(even, odd, pair, share=0.5)
        odd[:] = _beside(odd, even, pair)
    return IntegerWeight(values.astype(np.int8), scales, block)


def round_by_output(
    weight: np.ndarray, gram: np.ndarray, limit: int, block: int | None = None, pair: int | None = None
) -> IntegerWeight:
    """Rounds row after row, and lets the rows to come make up for the error of those that are done.

    Minimises ||X (W - W')||; the method is that of Frantar et al. 2022, "GPTQ" (arXiv 2210.17323), algorithm 1, with
    rows in the order of falling activation. With X^T X = R R^T, R upper triangular, the error of a column e = w - w'
    costs sum_i (R_ii e_i + sum_(j < i) R_ji e_j)^2, so that row i rounds w_i + sum_(j < i) R_ji / R_ii e_j.

    Args:
        weight: W [I, O].
        gram: X^T X [I, I] of the inputs X.
        limit: largest magnitude of an integer.
        block: rows that share a scale, in the order of W; None for per-channel scales.
        pair: most that the integers of rows 2k and 2k+1 may come to where they have the same sign; None for any.
    """
    scales = block_scales(weight, limit, block, pair)
    size = len(weight)
    order = np.argsort(-np.diag(gram), kind="stable")
    place = np.argsort(order)
    widths = np.broadcast_to(_of_rows(scales, block, size), weight.shape)[order]
    passed_on = _passed_on(gram[np.ix_(order, order)])
    exact = weight[order].astype(np.float64)
    left = exact.copy()
    values = np.zeros(weight.shape, np.int8)
    for start in range(0, size, _STRIDE):
        stop = min(start + _STRIDE, size)
        errors = np.zeros((stop - start, weight.shape[1]))
        for row in range(start, stop):
            integers = np.clip(np.rint(left[row] / widths[row]), -limit, limit)
            partner = order[row] ^ 1  # of row 2k it is 2k+1, and the other way about
            if pair is not None and partner < size:
                later = place[partner] > row
                beside = np.rint(left[place[partner]] / widths[place[partner]]) if later else values[partner]
                integers = _beside(integers, np.clip(beside, -limit, limit), pair, share=0.5 if later else 1.0)
            values[order[row]] = integers
            errors[row - start] = exact[row] - integers * widths[row]
            left[row + 1 : stop] += np.outer(passed_on[row + 1 : stop, row], errors[row - start])
        left[stop:] += passed_on[stop:, start:stop] @ errors
    return IntegerWeight(values, scales, block)


def _passed_on(gram: np.ndarray) -> np.ndarray:
    """R_ji / R_ii [i, j], what row i takes of the error of row j < i; R R^T is `gram` [I, I] with a larger diagonal.

    By torch: where other programs keep the cores busy, numpy's OpenBLAS was measured to take 0.2 to 2.2 s for 1,536
    rows, which torch did in 0.1 to 0.2 s.
    """
    damping = _DAMPING * max(float(np.diag(gram).mean()), _SMALLEST)
    hessian = torch.from_numpy(gram + damping * np.eye(len(gram)))
    reverse = torch.linalg.cholesky(hessian.flip(0, 1))
    upper = reverse.flip(0, 1).numpy()
    return np.asarray(upper.T / np.diag(upper)[:, None])


def _beside(integers: np.ndarray, others: np.ndarray, pair: int, share: float = 1.0) -> np.ndarray:
    """`integers`, nearer to zero where their sum with `others` of the same sign exceeds `pair`, by a share of that."""
    excess = np.abs(integers) + np.abs(others.astype(np.float64)) - pair
    cut = np.where((integers * others > 0) & (excess > 0), np.ceil(excess * share), 0)
    return integers - np.sign(integers) * cut


def relative_error(exact: Sequence[np.ndarray], rounded: Sequence[IntegerWeight]) -> float:
    """Squared error of some weights relative to their square."""
    lost = sum(float(np.sum((w - r.dequantize()) ** 2)) for w, r in zip(exact, rounded, strict=True))
    return lost / max(sum(float(np.sum(w**2)) for w in exact), _SMALLEST)


def _of_rows(scales: np.ndarray, block: int | None, rows: int) -> np.ndarray:
    """The scales of every weight, [O] or [I, O]."""
    return scales if block is None else np.repeat(scales, block, axis=0)[:rows]
