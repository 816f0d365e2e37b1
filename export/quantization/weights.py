"""Weights as small integers with a scale a column, rounded to the nearest or so that the layer's output keeps best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Added to the diagonal of X^T X, as a share of its mean: what calibration did not see must not blow up.
_DAMPING = 0.05
_BLOCK = 128
_SMALLEST = 1e-12


@dataclass(frozen=True)
class IntegerWeight:
    """W [I, O] as values * scales.

    Args:
        values: int8 [I, O], symmetric around zero.
        scales: float32 [O].
    """

    values: np.ndarray
    scales: np.ndarray

    def dequantize(self) -> np.ndarray:
        """W' [I, O], float32."""
        return self.values * self.scales


def column_scales(weight: np.ndarray, limit: int) -> np.ndarray:
    """Scales [O] with which the largest weight of each column becomes `limit`."""
    largest = np.abs(weight).max(axis=0, initial=0.0)
    return np.maximum(largest / limit, _SMALLEST).astype(np.float32)


def round_nearest(weight: np.ndarray, limit: int) -> IntegerWeight:
    """Each weight to the nearest integer."""
    scales = column_scales(weight, limit)
    values = np.clip(np.rint(weight / scales), -limit, limit).astype(np.int8)
    return IntegerWeight(values, scales)


def round_by_output(weight: np.ndarray, gram: np.ndarray, limit: int) -> IntegerWeight:
    """Rounds row after row, and lets the rows to come make up for the error of those that are done.

    Minimises ||X (W - W')||; the method is that of Frantar et al. 2022, "GPTQ" (arXiv 2210.17323), algorithm 1, with
    rows in the order of falling activation.

    Args:
        weight: W [I, O].
        gram: X^T X [I, I] of the inputs X.
        limit: largest magnitude of an integer.
    """
    scales = column_scales(weight, limit)
    size = len(weight)
    order = np.argsort(-np.diag(gram), kind="stable")
    hessian = gram[np.ix_(order, order)].astype(np.float64)
    diagonal = hessian.diagonal().copy()
    hessian[np.arange(size), np.arange(size)] += _DAMPING * max(float(diagonal.mean()), _SMALLEST)
    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T
    left = weight[order].astype(np.float64)
    values = np.zeros(weight.shape, np.int8)
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        errors = np.zeros((stop - start, weight.shape[1]))
        for row in range(start, stop):
            integers = np.clip(np.rint(left[row] / scales), -limit, limit)
            values[order[row]] = integers
            errors[row - start] = (left[row] - integers * scales) / upper[row, row]
            left[row + 1 : stop] -= np.outer(upper[row, row + 1 : stop], errors[row - start])
        left[stop:] -= upper[start:stop, stop:].T @ errors
    return IntegerWeight(values, scales)
