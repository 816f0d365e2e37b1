"""What a parity matrix holds: one cell for each variant on each runtime, as data and as an error."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bert_onnx.errors import VerificationError

PASS, FAIL, ABSENT = "pass", "fail", "not here"


@dataclass(frozen=True)
class Cell:
    """One variant on one runtime.

    Args:
        variant, runtime: names.
        precision: what it computes in.
        verdict: `pass`, `fail`, or `not here` where it cannot run on this machine.
        max_abs_diff: largest difference from the float32 reference at real tokens.
        tolerance: what it may be, for the output where most of it is used up; None where cosine decides.
        output, case: where.
        cosine: the smallest between a row and the row that it must be like.
        reason: why it is not here, or how it failed.
    """

    variant: str
    runtime: str
    precision: str
    verdict: str
    max_abs_diff: float | None = None
    tolerance: float | None = None
    output: str = ""
    case: str = ""
    cosine: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Matrix:
    """Every cell, and what float32 was compared with."""

    folder: str
    reference: str
    cells: tuple[Cell, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "passed": all(cell.verdict != FAIL for cell in self.cells)}

    def raise_if_failed(self) -> None:
        """Raises VerificationError for the first cell that failed."""
        for cell in self.cells:
            if cell.verdict == FAIL:
                reason = cell.reason or f"{cell.output} differs by {cell.max_abs_diff:.3g} in case '{cell.case}'"
                raise VerificationError(f"{cell.variant} on {cell.runtime} in {cell.precision} failed: {reason}.")
