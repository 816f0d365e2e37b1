"""Smoothing: takes size from the channels of x that have too much of it and gives it to the weights (SmoothQuant).

    x W  =  ((x - z) / m) (m W)  +  z W        m_j = amax_j^a / wmax_j^(1-a)

amax_j is the largest magnitude of channel j after the shift, wmax_j that of row j of W, a the migration strength
(alpha), which is searched; m is scaled to a geometric mean of 1. Without a shift this is Xiao et al. 2022,
"SmoothQuant" (arXiv 2211.10438), equation 4. The shift z_j = (low_j + high_j) / 2 is that of Wei et al. 2023, "Outlier
Suppression+" (arXiv 2304.09145): what is large in a channel, but always there, goes into the bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Migration strengths that are tried.
MIGRATION_STRENGTHS = (0.5, 0.6, 0.7, 0.8, 0.9)

#: Least magnitude of a channel or of a row, as a share of the median: dead ones must not get endless factors.
_FLOOR = 0.01


@dataclass(frozen=True)
class Smoothing:
    """What is done to x before it is quantized.

    Args:
        factors: m [I].
        shift: z [I]; None for none.
    """

    factors: np.ndarray
    shift: np.ndarray | None = None

    def of(self, x: np.ndarray) -> np.ndarray:
        """(x - z) / m of x [..., I]."""
        return (x if self.shift is None else x - self.shift) / self.factors

    def of_weight(self, weight: np.ndarray) -> np.ndarray:
        """m W of W [I, O]."""
        return weight * self.factors[:, None]


def no_smoothing(size: int) -> Smoothing:
    """One that leaves x as it is."""
    return Smoothing(np.ones(size, np.float32))


def make_smoothing(low: np.ndarray, high: np.ndarray, weight: np.ndarray, alpha: float, shifts: bool) -> Smoothing:
    """The smoothing of a migration strength; with `shifts`, the middle of each channel becomes zero."""
    if not shifts:
        return Smoothing(smoothing_factors(low, high, weight, alpha))
    middle = ((low + high) / 2).astype(np.float32)
    return Smoothing(smoothing_factors(low - middle, high - middle, weight, alpha), middle)


def smoothing_factors(low: np.ndarray, high: np.ndarray, weight: np.ndarray, alpha: float) -> np.ndarray:
    """m [I].

    Args:
        low, high: per-channel minimum and maximum of x [I].
        weight: W [I, O].
        alpha: migration strength, 0 to 1; 1 makes all channels equally large.
    """
    channels = _floored(np.maximum(np.abs(low), np.abs(high)))
    rows = _floored(np.abs(weight).max(axis=1))
    logarithm = alpha * np.log(channels) - (1 - alpha) * np.log(rows)
    return np.exp(logarithm - logarithm.mean()).astype(np.float32)


def _floored(sizes: np.ndarray) -> np.ndarray:
    middle = float(np.median(sizes))
    return np.maximum(sizes, _FLOOR * middle if middle > 0 else 1.0)
