"""Which share of the time each variant of an export takes, so that a progress bar goes evenly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from export.plan import FP32, VariantPlan
from export.report import Progress, within

#: Seconds that the sample's variants take on two cores: passes and writing, parity, the held-out texts, a search of
#: static int8, rounding weights.
_WRITE, _COMPARE, _JUDGED, _SEARCH, _ROUND = 1.0, 1.0, 5.0, 25.0, 8.0


@dataclass(frozen=True)
class Steps:
    """Progress of one variant: until it is written in its precision, and from there on."""

    converting: Progress
    judging: Progress


@dataclass(frozen=True)
class Share:
    """When one variant is converted and when it is judged, each from and to a share of the whole, 0 to 1."""

    converting: tuple[float, float]
    judging: tuple[float, float]

    def of(self, progress: Progress) -> Steps:
        """The parts of `progress`, that of all variants."""
        return Steps(within(progress, *self.converting), within(progress, *self.judging))


def shares_of(plans: Sequence[VariantPlan]) -> tuple[Share, ...]:
    """The shares of each of `plans`: float32 ones are all written before the first is judged.

    Those that take what another one learned have no search of their own.
    """
    spans = dict.fromkeys(plans, (0.0, 0.0))
    done = 0.0
    for plan in plans:
        if plan.precision == FP32:
            spans[plan] = (done, done + _WRITE)
            done += _WRITE
    searched: set[tuple[int, int | None, bool]] = set()
    found = []
    for plan in plans:
        if plan.precision != FP32:
            spans[plan] = (done, done + _converting(plan, searched))
            done = spans[plan][1]
        cost = _COMPARE if plan.precision == FP32 else _COMPARE + _JUDGED
        found.append((spans[plan], (done, done + cost)))
        done += cost
    return tuple(Share((a / done, b / done), (c / done, d / done)) for (a, b), (c, d) in found)


def _converting(plan: VariantPlan, searched: set[tuple[int, int | None, bool]]) -> float:
    """Seconds until a plan below float32 is written; adds what it learns to `searched`."""
    if plan.method == "weights":
        return _ROUND
    if plan.method == "static" and plan.isa is not None and plan.isa.limits not in searched:
        searched.add(plan.isa.limits)
        return _SEARCH
    return _WRITE
