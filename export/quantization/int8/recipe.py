"""How one quantization group is computed: the scheme, and the numbers that go into the graph."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from export.quantization.int8.groups import QuantGroup
from export.quantization.int8.ranges import Range, TokenRange
from export.quantization.int8.smoothing import Smoothing
from export.quantization.integer_weights import IntegerWeight


class Scheme(Enum):
    """How a group is computed, from the fastest to the most exact; the value is what manifests call it."""

    PLAIN = "int8"
    SMOOTHED = "int8, smoothed"
    SHIFTED = "int8, smoothed and shifted"
    PER_TOKEN = "int8, per-token scale"
    FLOAT = "float, weights int8"

    @property
    def smoothed(self) -> bool:
        """Channels of x are scaled before it is quantized."""
        return self in (Scheme.SMOOTHED, Scheme.SHIFTED)


@dataclass(frozen=True)
class Recipe:
    """One group, decided.

    Args:
        group: which.
        scheme: how.
        weights: the integer weights of its MatMuls, in their order.
        activation: the range of x, after smoothing; None where x stays float.
        smoothing: what is done to the channels of x; None for nothing.
        error: squared error of the group's output relative to its square, on texts that the ranges had not seen.
        sensitivity: how far the mean cosine falls where this group alone is quantized; None before it is measured.
    """

    group: QuantGroup
    scheme: Scheme
    weights: tuple[IntegerWeight, ...]
    activation: Range | TokenRange | None = None
    smoothing: Smoothing | None = None
    error: float = 0.0
    sensitivity: float | None = None
