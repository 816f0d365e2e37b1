"""Ranges of activations: what an integer scale covers, chosen by one of several rules, and the arithmetic of it.

One scale for all tokens, known beforehand:

    q = clip(round(x / scale) + zero_point, 0, 255)        x' = (q - zero_point) * scale
    scale = (high - low) / 255        zero_point = round(-low / scale)

as ONNX defines QuantizeLinear (https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html); round is half to even.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bert_onnx.errors import UsageError

LEVELS = 255
METHODS = ("output", "minmax", "percentile", "entropy", "mse")

#: Share of the values that "percentile" covers on each side.
_COVERED = 0.9999
_BINS = 2048
#: Factors by which "mse" and "entropy" try to shrink a range.
SHRINKS = tuple(float(f) for f in np.linspace(1.0, 0.3, 29))
_SMALLEST = 1e-12

#: Zero point of levels that both signs share evenly.
SYMMETRIC = 128


@dataclass(frozen=True)
class Range:
    """What 256 levels cover. Zero is always in it, so that it has a level of its own.

    Args:
        scale: width of a level.
        zero_point: level of zero, 0 to 255.
    """

    scale: float
    zero_point: int

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """Levels of `x`, as float32 whole numbers from 0 to 255."""
        return np.clip(np.rint(x * np.float32(1 / self.scale)) + self.zero_point, 0, LEVELS)

    def round_trip(self, x: np.ndarray) -> np.ndarray:
        """`x` as it is after quantising and dequantising."""
        return ((self.quantize(x) - self.zero_point) * np.float32(self.scale)).astype(np.float32)


@dataclass(frozen=True)
class TokenRange:
    """256 levels for each token, so that no token is clipped and none sets the levels of another.

        s = max(largest, least)        q = clip(round(x / s * top) + zero_point, 0, 255)        top = 255 - zero_point

    With a zero point of SYMMETRIC, `largest` is the largest magnitude of the token, and s alone decides. With a lower
    one, for values that lie on one side of zero but for a little (what GELU gives: never below -0.17), it is the
    largest value, and `least` keeps the little within the levels below zero.

    Args:
        zero_point: level of zero, 1 to SYMMETRIC.
        least: smallest s.
    """

    zero_point: int = SYMMETRIC
    least: float = _SMALLEST

    @property
    def symmetric(self) -> bool:
        """Both sides of zero have as many levels."""
        return self.zero_point == SYMMETRIC

    @property
    def top(self) -> int:
        """Levels above zero."""
        return LEVELS - self.zero_point

    def round_trip(self, x: np.ndarray) -> np.ndarray:
        """`x` [..., I] as it is after quantising and dequantising."""
        sizes = np.abs(x) if self.symmetric else x
        s = np.maximum(sizes.max(axis=-1, keepdims=True), np.float32(self.least))
        q = np.clip(np.rint(x / s * np.float32(self.top)) + self.zero_point, 0, LEVELS)
        return ((q - self.zero_point) * np.float32(1 / self.top) * s).astype(np.float32)


def make_token_range(zero_point: int, low: float) -> TokenRange:
    """The levels for values that are no lower than `low`."""
    if zero_point == SYMMETRIC:
        return TokenRange()
    return TokenRange(zero_point, max(-float(low) / zero_point * (LEVELS - zero_point), _SMALLEST))


def make_range(low: float, high: float) -> Range:
    """The range from `low` to `high`, widened to hold zero."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = float(np.float32(max((high - low) / LEVELS, _SMALLEST)))
    return Range(scale, int(np.clip(np.rint(-low / scale), 0, LEVELS)))


def choose_range(method: str, values: np.ndarray, low: float, high: float) -> Range:
    """A range by one of METHODS but "output", which needs the weights; see `export.quantization.int8.search`.

    Args:
        method: `minmax` covers everything that was seen; `percentile` leaves out 1 value in 10,000 on each side;
            `entropy` keeps the distribution's shape (the Kullback-Leibler divergence of Migacz, "8-bit inference
            with TensorRT", GTC 2017); `mse` has the smallest mean squared error.
        values: a sample of the activation, any shape.
        low, high: smallest and largest value of everything that was seen.

    Raises:
        UsageError: there is no such method.
    """
    if method == "minmax":
        return make_range(low, high)
    if method == "percentile":
        return make_range(*np.quantile(values, (1 - _COVERED, _COVERED)))
    if method == "mse":
        return min(_shrunk(low, high), key=lambda one: float(np.mean((one.round_trip(values) - values) ** 2)))
    if method == "entropy":
        counts, edges = np.histogram(values, bins=_BINS, range=(low, high if high > low else low + 1.0))
        centres = ((edges[:-1] + edges[1:]) / 2).astype(np.float32)
        return min(_shrunk(low, high), key=lambda one: _divergence(counts, centres, one))
    raise UsageError(f"the range method {method!r} is unknown; choose one of {', '.join(METHODS)}.")


def _shrunk(low: float, high: float) -> list[Range]:
    return [make_range(low * factor, high * factor) for factor in SHRINKS]


def _divergence(counts: np.ndarray, centres: np.ndarray, one: Range) -> float:
    """KL(p || q): p has what lies outside the range on its ends, q is even within each level."""
    levels = one.quantize(centres).astype(np.int64)
    low, high = (0 - one.zero_point) * one.scale, (LEVELS - one.zero_point) * one.scale
    inside = (centres >= low) & (centres <= high)
    if not inside.any():
        return float("inf")
    first, last = int(np.argmax(inside)), len(inside) - 1 - int(np.argmax(inside[::-1]))
    p = np.where(inside, counts, 0).astype(np.float64)
    p[first] += counts[:first].sum()
    p[last] += counts[last + 1 :].sum()
    used = inside & (counts > 0)
    mass = np.bincount(levels[inside], weights=counts[inside], minlength=LEVELS + 1)
    bins = np.bincount(levels[used], minlength=LEVELS + 1)
    q = np.where(used, mass[levels] / np.maximum(bins[levels], 1), 0.0)
    p /= p.sum()
    q = (q + _SMALLEST) / (q + _SMALLEST).sum()
    known = p > 0
    return float(np.sum(p[known] * np.log(p[known] / q[known])))
