"""What every measurement is told."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.measure import Report


@dataclass(frozen=True)
class Options:
    """How much to measure.

    Args:
        quick: as little as shows that it works; its figures mean nothing.
        rounds: how often programs take turns; None for each measurement's own number.
        report: called with a line for each step.
    """

    quick: bool
    rounds: int | None
    report: Report

    def rounds_of(self, usual: int) -> int:
        """Rounds for a measurement that usually has `usual`."""
        return 1 if self.quick else self.rounds or usual
