"""Decides the numbers of one quantization group, migration strength and range, by the error of its output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from export.quantization.int8.calibration import Statistics
from export.quantization.int8.groups import QuantGroup
from export.quantization.int8.ranges import (
    SYMMETRIC,
    Range,
    TokenRange,
    make_range,
    make_symmetric_range,
    make_token_range,
)
from export.quantization.int8.recipe import Recipe, Scheme
from export.quantization.int8.smoothing import MIGRATION_STRENGTHS, Smoothing, make_smoothing, no_smoothing
from export.quantization.integer_weights import IntegerWeight, round_by_output, round_nearest
from export.quantization.isa import Isa

#: Largest magnitude of weights that no integer product reads.
_WHOLE_RANGE = 127


@dataclass(frozen=True)
class PerTensor:
    """One scale for all tokens: the range that was seen, times `stretch`. More than 1 leaves room for the unseen."""

    stretch: float


@dataclass(frozen=True)
class PerToken:
    """A scale per token; `zero_point` is below SYMMETRIC for what lies on one side of zero."""

    zero_point: int


#: Ranges that are tried. Stretches below 1 won on calibration text and lost on text of another domain: clipping made up
#: to three quarters of a group's error there.
_PER_TENSOR = (PerTensor(1.15), PerTensor(1.0))
_PER_TOKEN = (PerToken(SYMMETRIC), PerToken(32), PerToken(24), PerToken(16))

#: Room below the lowest value that was seen, where a scale per token has few levels for it.
_ROOM_BELOW = 1.15


@dataclass(frozen=True)
class Candidate:
    """The numbers of a scheme before its weights are rounded by output.

    Args:
        alpha: migration strength of the smoothing; 0 for none.
        granularity: what one scale serves, and which range it covers.
        error: see `Recipe`.
    """

    alpha: float
    granularity: PerTensor | PerToken
    error: float


class GroupSearch:
    """Everything that is known of a group while it is decided.

    Args:
        group: the group.
        statistics: of its activation.
        weights: of its MatMuls, each [I, O].
        isa: limits the integer weights.
    """

    def __init__(self, group: QuantGroup, statistics: Statistics, weights: Sequence[np.ndarray], isa: Isa) -> None:
        self.group = group
        self._isa = isa
        self._statistics = statistics
        self._weights = weights
        self._joined = np.concatenate(weights, axis=1)
        self._judge = statistics.judge
        self._wanted = self._judge @ self._joined
        self._energy = max(float(np.mean(self._wanted**2)), 1e-20)

    def decide(self, scheme: Scheme) -> Recipe:
        """The best numbers for a scheme."""
        if scheme is Scheme.FLOAT:  # a float product adds exactly, whatever the instruction set
            return Recipe(self.group, scheme, self._round(no_smoothing(self.group.inputs), _WHOLE_RANGE, None))
        return self.recipe(scheme, self.best(scheme))

    def best(self, scheme: Scheme) -> Candidate:
        """The candidate with the least error; `scheme` is not FLOAT."""
        return min(self._candidates(scheme), key=lambda candidate: candidate.error)

    def _candidates(self, scheme: Scheme) -> Iterator[Candidate]:
        for alpha in MIGRATION_STRENGTHS if scheme.smoothed else (0.0,):
            smoothing = self._smoothing(scheme, alpha, fit=True)
            scaled = smoothing.of_weight(self._joined)
            weight = round_nearest(scaled, self._isa.weight_limit, pair=self._isa.pair_limit).dequantize()
            rows = smoothing.of(self._judge)
            constant = 0.0 if smoothing.shift is None else smoothing.shift @ self._joined
            for granularity in self._granularities(scheme):
                levels = self._range(granularity, smoothing, fit=True)
                product = levels.round_trip(rows) @ weight + constant
                yield Candidate(alpha, granularity, float(np.mean((product - self._wanted) ** 2)) / self._energy)

    def _granularities(self, scheme: Scheme) -> Sequence[PerTensor | PerToken]:
        if scheme is not Scheme.PER_TOKEN:
            return _PER_TENSOR
        return [one for one in _PER_TOKEN if one.zero_point == SYMMETRIC or not self._isa.symmetric]

    def recipe(self, scheme: Scheme, candidate: Candidate) -> Recipe:
        """What a candidate comes to, with ranges from all texts."""
        smoothing = self._smoothing(scheme, candidate.alpha, fit=False)
        return Recipe(
            group=self.group,
            scheme=scheme,
            weights=self._round(smoothing, self._isa.weight_limit, self._isa.pair_limit),
            activation=self._range(candidate.granularity, smoothing, fit=False),
            smoothing=smoothing if scheme.smoothed else None,
            error=candidate.error,
        )

    def _round(self, smoothing: Smoothing, limit: int, pair: int | None) -> tuple[IntegerWeight, ...]:
        rows = smoothing.of(self._statistics.rows)
        gram = (rows.T @ rows).astype(np.float64)
        rounded = round_by_output(smoothing.of_weight(self._joined), gram, limit, pair=pair)
        return rounded.split([weight.shape[1] for weight in self._weights])

    def _range(self, granularity: PerTensor | PerToken, smoothing: Smoothing, fit: bool) -> Range | TokenRange:
        low, high = self._bounds(fit)
        smallest, largest = float(smoothing.of(low).min()), float(smoothing.of(high).max())
        if isinstance(granularity, PerToken):
            return make_token_range(granularity.zero_point, smallest * _ROOM_BELOW)
        make = make_symmetric_range if self._isa.symmetric else make_range
        return make(smallest * granularity.stretch, largest * granularity.stretch)

    def _smoothing(self, scheme: Scheme, alpha: float, fit: bool) -> Smoothing:
        if not scheme.smoothed:
            return no_smoothing(self.group.inputs)
        return make_smoothing(*self._bounds(fit), self._joined, alpha, scheme is Scheme.SHIFTED)

    def _bounds(self, fit: bool) -> tuple[np.ndarray, np.ndarray]:
        """Per-channel minimum and maximum, over one half of the texts or all of them."""
        statistics = self._statistics
        return (statistics.fit_low, statistics.fit_high) if fit else (statistics.low, statistics.high)
