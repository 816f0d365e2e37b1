"""What is done at a site: the structure, and the numbers that go into the graph."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from export.quantization.ranges import Range
from export.quantization.sites import Site
from export.quantization.weights import IntegerWeight


class Structure(Enum):
    """How a site is computed, from the fastest to the most exact; the value is what records call it."""

    PLAIN = "int8"
    SMOOTHED = "int8, smoothed"
    OUTLIERS = "int8, outlier channels in float"
    BOTH = "int8, smoothed, outlier channels in float"
    FLOAT = "float, weights int8"

    @property
    def smoothed(self) -> bool:
        """x is multiplied by a number a channel before it is quantised."""
        return self in (Structure.SMOOTHED, Structure.BOTH)

    @property
    def splits(self) -> bool:
        """A few channels of x take a MatMul of their own, in float."""
        return self in (Structure.OUTLIERS, Structure.BOTH)


@dataclass(frozen=True)
class Recipe:
    """One site, decided.

    Args:
        site: where.
        structure: how.
        weights: the integer weights of its MatMuls, in their order; rows of outlier channels are zero.
        activation: the range of x, after smoothing; None where x stays float.
        smoothing: m [I]; x is divided by it and the weights' rows are multiplied by it. None for none.
        outliers: channels of x in float, ascending; empty for none.
        strength: exponent a of the smoothing.
        error: squared error of the output as a share of its square, on texts that the ranges had not seen.
    """

    site: Site
    structure: Structure
    weights: tuple[IntegerWeight, ...]
    activation: Range | None = None
    smoothing: np.ndarray | None = None
    outliers: tuple[int, ...] = ()
    strength: float = 0.0
    error: float = 0.0
