"""What is done at a site: the structure, and the numbers that go into the graph."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from export.quantization.int8.ranges import Range, TokenRange
from export.quantization.int8.sites import Site
from export.quantization.int8.smoothing import Smoothing
from export.quantization.integer_weights import IntegerWeight


class Structure(Enum):
    """How a site is computed, from the fastest to the most exact; the value is what records call it."""

    PLAIN = "int8"
    SMOOTHED = "int8, smoothed"
    SHIFTED = "int8, smoothed and shifted"
    TOKEN = "int8, a scale a token"
    FLOAT = "float, weights int8"

    @property
    def smoothed(self) -> bool:
        """Channels of x are scaled before it is quantised."""
        return self in (Structure.SMOOTHED, Structure.SHIFTED)


@dataclass(frozen=True)
class Recipe:
    """One site, decided.

    Args:
        site: where.
        structure: how.
        weights: the integer weights of its MatMuls, in their order.
        activation: the range of x, after smoothing; None where x stays float.
        smoothing: what is done to the channels of x; None for nothing.
        strength: exponent a of the smoothing.
        error: squared error of the output as a share of its square, on texts that the ranges had not seen.
    """

    site: Site
    structure: Structure
    weights: tuple[IntegerWeight, ...]
    activation: Range | TokenRange | None = None
    smoothing: Smoothing | None = None
    strength: float = 0.0
    error: float = 0.0
