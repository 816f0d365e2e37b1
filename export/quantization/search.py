"""Decides the numbers of one site: strength of smoothing, outlier channels, range; all by the error of its output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from export.quantization.calibration import Statistics
from export.quantization.ranges import Range, choose_range, make_range
from export.quantization.recipe import Recipe, Structure
from export.quantization.sites import Site
from export.quantization.smoothing import STRENGTHS, smoothing_factors
from export.quantization.weights import IntegerWeight, round_by_output, round_nearest

#: Rows that a choice is judged on; more change no choice.
_JUDGED = 512

#: Factors on the range that was seen; more than 1 leaves room for what was not. Less than 1 won on calibration text
#: and lost on text of another domain: clipping made up to three quarters of a site's error there.
_STRETCHES = (1.15, 1.0)

#: Numbers of outlier channels that are tried, and how much better a larger number must be.
_OUTLIERS = (2, 4, 8, 16)
_WORTH_MORE = 0.9

#: Outliers are few: at most one channel in so many, or the least number that is tried.
_FEWEST_OTHERS = 16


#: Largest magnitude of weights that no integer product reads.
WHOLE_RANGE = 127


@dataclass(frozen=True)
class SearchOptions:
    """What the search may do.

    Args:
        ranges: a method of `export.quantization.ranges`; "output" takes the range with the least error of the output.
        weight_limit, pair_limit: of the integer weights, see `export.quantization.isa`.
        compensate: round weights so that the output is kept, not to the nearest.
    """

    ranges: str = "output"
    weight_limit: int = WHOLE_RANGE
    pair_limit: int | None = None
    compensate: bool = True


@dataclass(frozen=True)
class Choice:
    """The numbers of a structure before its weights are rounded by output.

    Args:
        strength: of smoothing; 0 for none.
        outliers: channels that stay float.
        stretch: factor on the range that was seen.
        error: see `Recipe`.
    """

    strength: float
    outliers: tuple[int, ...]
    stretch: float
    error: float


class SiteSearch:
    """Everything that is known of a site while it is decided.

    Args:
        site: the site.
        statistics: of its activation.
        weights: of its MatMuls, each [I, O].
        options: see there.
    """

    def __init__(
        self, site: Site, statistics: Statistics, weights: Sequence[np.ndarray], options: SearchOptions
    ) -> None:
        self.site = site
        self.options = options
        self._statistics = statistics
        self._weights = weights
        self._joined = np.concatenate(weights, axis=1)
        self._judge = statistics.judge[:_JUDGED]
        self._wanted = self._judge @ self._joined
        self._energy = max(float(np.mean(self._wanted**2)), 1e-20)

    def decide(self, structure: Structure) -> Recipe:
        """The best numbers for a structure."""
        if structure is Structure.FLOAT:
            whole = replace(self.options, weight_limit=WHOLE_RANGE, pair_limit=None)  # a float product adds exactly
            rounded = self._round(self._weights, np.ones(self.site.inputs, np.float32), (), whole)
            return Recipe(self.site, structure, tuple(rounded))
        return self.recipe(structure, self.choose(structure))

    def choose(self, structure: Structure) -> Choice:
        """The numbers with the least error."""
        strengths = STRENGTHS if structure.smoothed else (0.0,)
        choices = [self._best_outliers(strength, structure.splits) for strength in strengths]
        return min(choices, key=lambda choice: choice.error)

    def _best_outliers(self, strength: float, splits: bool) -> Choice:
        """The fewest outlier channels that are nearly as good as more of them."""
        if not splits:
            return self._best_range(strength, ())
        ranked = self._rank_channels(strength)
        best = self._best_range(strength, ranked[: _OUTLIERS[0]])
        for number in _OUTLIERS[1:]:
            if number * _FEWEST_OTHERS > self.site.inputs:
                break
            more = self._best_range(strength, ranked[:number])
            if more.error < _WORTH_MORE * best.error:
                best = more
        return best

    def _rank_channels(self, strength: float) -> tuple[int, ...]:
        """Channels by their magnitude after smoothing, largest first."""
        statistics = self._statistics
        factors = self._factors(strength, fit=True)
        sizes = np.maximum(np.abs(statistics.low), np.abs(statistics.high)) / factors
        return tuple(int(channel) for channel in np.argsort(-sizes, kind="stable"))

    def _best_range(self, strength: float, outliers: tuple[int, ...]) -> Choice:
        stretches = _STRETCHES if self.options.ranges == "output" else (1.0,)
        factors = self._factors(strength, fit=True)
        scaled = self._scaled(self._joined, factors, outliers)
        limit, pair = self.options.weight_limit, self.options.pair_limit
        weight = round_nearest(scaled, limit, pair=pair).dequantize()
        exact = self._judge[:, list(outliers)] @ self._joined[list(outliers)] if outliers else 0.0
        rows = self._divided(self._judge, factors, outliers)
        choices = []
        for stretch in stretches:
            product = self._range(factors, outliers, stretch, fit=True).round_trip(rows) @ weight + exact
            error = float(np.mean((product - self._wanted) ** 2)) / self._energy
            choices.append(Choice(strength, outliers, stretch, error))
        return min(choices, key=lambda choice: choice.error)

    def recipe(self, structure: Structure, choice: Choice) -> Recipe:
        """What a choice comes to, with ranges from all texts."""
        factors = self._factors(choice.strength, fit=False)
        scaled = [self._scaled(weight, factors, choice.outliers) for weight in self._weights]
        return Recipe(
            site=self.site,
            structure=structure,
            weights=tuple(self._round(scaled, factors, choice.outliers, self.options)),
            activation=self._range(factors, choice.outliers, choice.stretch, fit=False),
            smoothing=factors if structure.smoothed else None,
            outliers=tuple(sorted(choice.outliers)),
            strength=choice.strength,
            error=choice.error,
        )

    def _round(
        self, weights: Sequence[np.ndarray], factors: np.ndarray, outliers: tuple[int, ...], options: SearchOptions
    ) -> list[IntegerWeight]:
        limit, pair = options.weight_limit, options.pair_limit
        if not options.compensate:
            return [round_nearest(weight, limit, pair=pair) for weight in weights]
        rows = self._divided(self._statistics.rows, factors, outliers)
        gram = (rows.T @ rows).astype(np.float64)
        return [round_by_output(weight, gram, limit, pair=pair) for weight in weights]

    def _range(self, factors: np.ndarray, outliers: tuple[int, ...], stretch: float, fit: bool) -> Range:
        statistics = self._statistics
        low, high = (statistics.fit_low, statistics.fit_high) if fit else (statistics.low, statistics.high)
        kept = _others(len(low), outliers)
        smallest, largest = float((low / factors)[kept].min()), float((high / factors)[kept].max())
        if self.options.ranges == "output":
            return make_range(smallest * stretch, largest * stretch)
        rows = statistics.judge if fit else statistics.rows
        return choose_range(self.options.ranges, (rows / factors)[:, kept], smallest, largest)

    def _factors(self, strength: float, fit: bool) -> np.ndarray:
        if not strength:
            return np.ones(self.site.inputs, np.float32)
        statistics = self._statistics
        low, high = (statistics.fit_low, statistics.fit_high) if fit else (statistics.low, statistics.high)
        return smoothing_factors(low, high, self._joined, strength)

    @staticmethod
    def _scaled(weight: np.ndarray, factors: np.ndarray, outliers: tuple[int, ...]) -> np.ndarray:
        """m W with the rows of outlier channels cleared."""
        scaled = weight * factors[:, None]
        scaled[list(outliers)] = 0
        return scaled

    @staticmethod
    def _divided(rows: np.ndarray, factors: np.ndarray, outliers: tuple[int, ...]) -> np.ndarray:
        """x / m with outlier channels cleared."""
        divided = rows / factors
        divided[:, list(outliers)] = 0
        return divided


def _others(size: int, outliers: tuple[int, ...]) -> np.ndarray:
    """Channels that are no outliers, as a mask [I]."""
    kept = np.ones(size, bool)
    kept[list(outliers)] = False
    return kept
