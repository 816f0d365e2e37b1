"""Parity: the measured verdict on one variant, its outputs against a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bert_onnx.artifact.contract.kinds import Count, Distance

PASS: Literal["pass"] = "pass"
FAIL: Literal["fail"] = "fail"


@dataclass(frozen=True)
class OutputParity:
    """How far one output lies from the reference.

    Args:
        name: the output.
        max_abs_diff: largest absolute difference over all cases.
        tolerance: what it may be at most.
        case: name of the case with the largest difference.
        index: where in the output of that case.
    """

    name: str
    max_abs_diff: Distance
    tolerance: Distance
    case: str
    index: tuple[Count, ...]


@dataclass(frozen=True)
class Parity:
    """The measured verdict on one variant.

    Args:
        verdict: `pass` or `fail`.
        reference: what it was compared with, such as `eager float32`.
        runtime: what ran it, such as `onnxruntime CPU`.
        outputs: the differences, one per output.
        cases: names of the cases that were compared.
    """

    verdict: Literal["pass", "fail"]
    reference: str
    runtime: str
    outputs: tuple[OutputParity, ...]
    cases: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the verdict is `pass`."""
        return self.verdict == PASS

    @property
    def max_abs_diff(self) -> float:
        """The largest difference of all outputs."""
        return max((output.max_abs_diff for output in self.outputs), default=0.0)
