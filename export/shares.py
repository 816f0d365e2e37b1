"""Which share of the time each variant of an export takes, so that a progress bar goes evenly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from export.plan import FP32, VariantPlan
from export.report import Progress, within

#: Seconds that the sample's variants take on two cores: passes and parity, the held-out texts, a search of static int8,
#: rounding weights.
_GRAPH, _JUDGED, _SEARCH, _ROUND = 2.0, 5.0, 25.0, 8.0


@dataclass(frozen=True)
class Steps:
    """Progress of one variant: until it has its precision, and from there on."""

    converting: Progress
    judging: Progress


@dataclass(frozen=True)
class Share:
    """One variant goes from `begin` to `end`, 0 to 1; `converted` is the share of that until it has its precision."""

    begin: float
    end: float
    converted: float

    def of(self, progress: Progress) -> Steps:
        """The part of `progress`, that of all variants."""
        middle = self.begin + (self.end - self.begin) * self.converted
        return Steps(within(progress, self.begin, middle), within(progress, middle, self.end))


def shares_of(plans: Sequence[VariantPlan]) -> tuple[Share, ...]:
    """The share of each of `plans`; those that take what another one learned have no search of their own."""
    searched: set[tuple[int, int | None, bool]] = set()
    costs: list[tuple[float, float]] = []
    for plan in plans:
        converting = _ROUND if plan.method == "weights" else 0.0
        if plan.method == "static" and plan.isa is not None and plan.isa.limits not in searched:
            searched.add(plan.isa.limits)
            converting = _SEARCH
        costs.append((converting, _GRAPH if plan.precision == FP32 else _GRAPH + _JUDGED))
    total = sum(map(sum, costs))
    shares, done = [], 0.0
    for converting, rest in costs:
        end = done + converting + rest
        shares.append(Share(done / total, end / total, converting / (converting + rest)))
        done = end
    return tuple(shares)
