"""Whether a float32 graph is as near to the float64 model as eager float32 is.

For each output, over the rows of all cases that ran in float64:

    e = eager32 - eager64        g = graph - eager64
    rms(g) <= 3 max(rms(e), floor)        max|g| <= 6 max(max|e|, floor)

so that a model whose rounding errors grow large is not refused, and a fault of 1e-6 in one where they stay small is
seen. Rows that did not run in float64 are held to eager float32: both errors together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bert_onnx.artifact.contract.parity import OutputParity, Rounding
from export.verification.tolerances import ROUNDING


@dataclass
class Errors:
    """Distances from the float64 model, added up over cases."""

    squares: float = 0.0
    count: int = 0
    largest: float = 0.0

    def add(self, errors: np.ndarray) -> None:
        """Take `errors`, float64 of any shape, into account; what is not a number counts as infinite."""
        if errors.size:
            finite = np.where(np.isfinite(errors), errors, math.inf)
            self.squares += float(np.square(finite).sum())
            self.count += errors.size
            self.largest = max(self.largest, float(np.abs(finite).max()))

    @property
    def rms(self) -> float:
        """Root of the mean square; 0 where there was nothing."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0


class OutputRounding:
    """Errors of eager float32 and of a graph in one output."""

    def __init__(self) -> None:
        self.eager, self.graph, self.truth = Errors(), Errors(), Errors()

    def add(self, eager: np.ndarray, graph: np.ndarray, errors: np.ndarray, weights: np.ndarray) -> None:
        """One case.

        Args:
            eager, graph: the output, float32, the rows that ran in float64.
            errors: of eager float32, see `export.reference.rounding`.
            weights: 1, and 0 where the graph must give zeros instead; broadcasts to the output.
        """
        error = errors.astype(np.float64) * weights
        truth = eager.astype(np.float64) * weights - error
        self.eager.add(error)
        self.graph.add(graph - truth)
        self.truth.add(truth)

    def verdict(self) -> Rounding:
        """Both errors and what is allowed."""
        return Rounding(
            eager_rms=self.eager.rms,
            eager_max=self.eager.largest,
            graph_rms=self.graph.rms,
            graph_max=self.graph.largest,
            allowed_rms=ROUNDING.rms * max(self.eager.rms, ROUNDING.floor * self.truth.rms),
            allowed_max=ROUNDING.largest * max(self.eager.largest, ROUNDING.floor * self.truth.largest),
        )


def difference_limit(rounding: Rounding) -> float:
    """What graph and eager float32 may differ by where nothing ran in float64: the error of either."""
    return rounding.allowed_max * (1 + 1 / ROUNDING.largest)


def strain(output: OutputParity) -> float:
    """Share that an output uses up of what is allowed; more than 1 fails."""
    shares = [_share(output.max_abs_diff, output.tolerance)]
    if output.rounding is not None:
        shares.append(_share(output.rounding.graph_rms, output.rounding.allowed_rms))
        shares.append(_share(output.rounding.graph_max, output.rounding.allowed_max))
    return max(shares)


def _share(found: float, allowed: float) -> float:
    return found / allowed if allowed > 0 else 0.0 if found == 0 else math.inf
