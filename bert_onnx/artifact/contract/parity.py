"""Parity: the measured verdict on one variant, its outputs against a reference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from bert_onnx.artifact.contract.kinds import Count, Distance

PASS: Literal["pass"] = "pass"
FAIL: Literal["fail"] = "fail"


@dataclass(frozen=True)
class Rounding:
    """How far eager float32 and a graph are from the eager model in float64, in one output over all cases.

    Args:
        eager_rms, eager_max: root mean square and largest error of eager float32.
        graph_rms, graph_max: the same of the graph.
        allowed_rms, allowed_max: what the graph's errors may be at most: a small factor of eager's own.
    """

    eager_rms: Distance
    eager_max: Distance
    graph_rms: Distance
    graph_max: Distance
    allowed_rms: Distance
    allowed_max: Distance

    @property
    def ratio(self) -> float:
        """The graph's error as a multiple of eager's (rms); 0 where neither errs."""
        if self.graph_rms == 0:
            return 0.0
        return self.graph_rms / self.eager_rms if self.eager_rms > 0 else math.inf


@dataclass(frozen=True)
class OutputParity:
    """How far one output lies from the reference.

    Args:
        name: the output.
        max_abs_diff: largest absolute difference from eager float32 over all cases.
        tolerance: what it may be at most.
        case: name of the case with the largest difference.
        index: where in the output of that case.
        rounding: errors against float64, for float32 graphs; None for other precisions and postprocess outputs.
    """

    name: str
    max_abs_diff: Distance
    tolerance: Distance
    case: str
    index: tuple[Count, ...]
    rounding: Rounding | None = None


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
