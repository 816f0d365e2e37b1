"""Ranges of activations: what 256 levels cover, with one scale for all tokens or one scale per token.

One scale for all tokens, known beforehand (per tensor):

    q = clip(round(x / scale) + zero_point, 0, 255)        x' = (q - zero_point) * scale
    scale = (high - low) / 255        zero_point = round(-low / scale)

as ONNX defines QuantizeLinear (https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html); round is half to even.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVELS = 255
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

    def round_trip(self, x: np.ndarray) -> np.ndarray:
        """`x` as it is after quantizing and dequantizing."""
        q = np.clip(np.rint(x * np.float32(1 / self.scale)) + self.zero_point, 0, LEVELS)
        return ((q - self.zero_point) * np.float32(self.scale)).astype(np.float32)


@dataclass(frozen=True)
class TokenRange:
    """A scale per token, so that no token is clipped and none sets the levels of another.

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
        """`x` [..., I] as it is after quantizing and dequantizing."""
        sizes = np.abs(x) if self.symmetric else x
        s = np.maximum(sizes.max(axis=-1, keepdims=True), np.float32(self.least))
        q = np.clip(np.rint(x / s * np.float32(self.top)) + self.zero_point, 0, LEVELS)
        return ((q - self.zero_point) * np.float32(1 / self.top) * s).astype(np.float32)


def make_token_range(zero_point: int, low: float) -> TokenRange:
    """The levels for values that are no lower than `low`."""
    if zero_point == SYMMETRIC:
        return TokenRange()
    return TokenRange(zero_point, max(-float(low) / zero_point * (LEVELS - zero_point), _SMALLEST))


def make_symmetric_range(low: float, high: float) -> Range:
    """The range of both signs that holds `low` and `high`, with zero in its middle."""
    return Range(float(np.float32(max(-float(low), float(high), _SMALLEST) / (LEVELS - SYMMETRIC))), SYMMETRIC)


def make_range(low: float, high: float) -> Range:
    """The range from `low` to `high`, widened to hold zero."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = float(np.float32(max((high - low) / LEVELS, _SMALLEST)))
    return Range(scale, int(np.clip(np.rint(-low / scale), 0, LEVELS)))
