"""Decides the numbers of one site: strength of smoothing and range, by the error of its output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from export.quantization.int8.calibration import Statistics
from export.quantization.int8.ranges import SYMMETRIC, Range, TokenRange, choose_range, make_range, make_token_range
from export.quantization.int8.recipe import Recipe, Structure
from export.quantization.int8.sites import Site
from export.quantization.int8.smoothing import STRENGTHS, Smoothing, make_smoothing, no_smoothing
from export.quantization.integer_weights import IntegerWeight, round_by_output, round_nearest

#: Rows that a choice is judged on; more change no choice.
_JUDGED = 512

#: Factors on the range that was seen; more than 1 leaves room for what was not. Less than 1 won on calibration text
#: and lost on text of another domain: clipping made up to three quarters of a site's error there.
_STRETCHES = (1.15, 1.0)

#: Levels of zero that a scale a token is tried with; below SYMMETRIC for what lies on one side of zero.
_ZERO_POINTS = (SYMMETRIC, 32, 24, 16)

#: Largest magnitude of weights that no integer product reads.
WHOLE_RANGE = 127


@dataclass(frozen=True)
class SearchOptions:
    """What the search may do.

    Args:
        ranges: a method of `export.quantization.int8.ranges`; "output" takes the range with the least output error.
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
        room: factor on the range that was seen, or the zero point of a scale a token.
        error: see `Recipe`.
    """

    strength: float
    room: float
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
            return Recipe(self.site, structure, tuple(self._round(no_smoothing(self.site.inputs), whole)))
        return self.recipe(structure, self.choose(structure))

    def choose(self, structure: Structure) -> Choice:
        """The numbers with the least error."""
        return min(self._choices(structure), key=lambda choice: choice.error)

    def _choices(self, structure: Structure) -> Iterator[Choice]:
        limit, pair = self.options.weight_limit, self.options.pair_limit
        for strength in STRENGTHS if structure.smoothed else (0.0,):
            smoothing = self._smoothing(structure, strength, fit=True)
            weight = round_nearest(smoothing.of_weight(self._joined), limit, pair=pair).dequantize()
            rows = smoothing.of(self._judge)
            constant = 0.0 if smoothing.shift is None else smoothing.shift @ self._joined
            for room in self._rooms(structure):
                levels = self._range(structure, smoothing, room, fit=True)
                product = levels.round_trip(rows) @ weight + constant
                yield Choice(strength, room, float(np.mean((product - self._wanted) ** 2)) / self._energy)

    def _rooms(self, structure: Structure) -> Sequence[float]:
        if structure is Structure.TOKEN:
            return _ZERO_POINTS
        return _STRETCHES if self.options.ranges == "output" else (1.0,)

    def recipe(self, structure: Structure, choice: Choice) -> Recipe:
        """What a choice comes to, with ranges from all texts."""
        smoothing = self._smoothing(structure, choice.strength, fit=False)
        return Recipe(
            site=self.site,
            structure=structure,
            weights=tuple(self._round(smoothing, self.options)),
            activation=self._range(structure, smoothing, choice.room, fit=False),
            smoothing=smoothing if structure.smoothed else None,
            strength=choice.strength,
            error=choice.error,
        )

    def _round(self, smoothing: Smoothing, options: SearchOptions) -> list[IntegerWeight]:
        limit, pair = options.weight_limit, options.pair_limit
        weights = [smoothing.of_weight(weight) for weight in self._weights]
        if not options.compensate:
            return [round_nearest(weight, limit, pair=pair) for weight in weights]
        rows = smoothing.of(self._statistics.rows)
        gram = (rows.T @ rows).astype(np.float64)
        return [round_by_output(weight, gram, limit, pair=pair) for weight in weights]

    def _range(self, structure: Structure, smoothing: Smoothing, room: float, fit: bool) -> Range | TokenRange:
        low, high = self._bounds(fit)
        smallest, largest = float(smoothing.of(low).min()), float(smoothing.of(high).max())
        if structure is Structure.TOKEN:
            return make_token_range(int(room), smallest * max(_STRETCHES))
        if self.options.ranges == "output":
            return make_range(smallest * room, largest * room)
        rows = self._statistics.judge if fit else self._statistics.rows
        return choose_range(self.options.ranges, smoothing.of(rows), smallest, largest)

    def _smoothing(self, structure: Structure, strength: float, fit: bool) -> Smoothing:
        if not structure.smoothed:
            return no_smoothing(self.site.inputs)
        return make_smoothing(*self._bounds(fit), self._joined, strength, structure is Structure.SHIFTED)

    def _bounds(self, fit: bool) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest value of each channel, in one half of the texts or in all of them."""
        statistics = self._statistics
        return (statistics.fit_low, statistics.fit_high) if fit else (statistics.low, statistics.high)
