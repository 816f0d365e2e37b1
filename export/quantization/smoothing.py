"""Smoothing: takes size from the channels of x that have too much of it and gives it to the weights.

    x W  =  (x / m) (m W)        m_j = amax_j^a / wmax_j^(1-a)

amax_j is the largest magnitude of channel j, wmax_j that of row j of W. This is Xiao et al. 2022, "SmoothQuant"
(arXiv 2211.10438), equation 4. The strength a is searched; m is scaled to a geometric mean of 1.
"""

from __future__ import annotations

import numpy as np

#: Strengths that are tried.
STRENGTHS = (0.5, 0.6, 0.7, 0.8, 0.9)

#: Least magnitude of a channel or of a row, as a share of the median: dead ones must not get endless factors.
_FLOOR = 0.01


def smoothing_factors(low: np.ndarray, high: np.ndarray, weight: np.ndarray, strength: float) -> np.ndarray:
    """m [I].

    Args:
        low, high: smallest and largest value of each channel of x [I].
        weight: W [I, O].
        strength: a, 0 to 1; 1 makes all channels equally large.
    """
    channels = _floored(np.maximum(np.abs(low), np.abs(high)))
    rows = _floored(np.abs(weight).max(axis=1))
    logarithm = strength * np.log(channels) - (1 - strength) * np.log(rows)
    return np.exp(logarithm - logarithm.mean()).astype(np.float32)


def _floored(sizes: np.ndarray) -> np.ndarray:
    middle = float(np.median(sizes))
    return np.maximum(sizes, _FLOOR * middle if middle > 0 else 1.0)
