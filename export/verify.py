"""Parity: a graph against the eager model, output by output, case by case; the worst place is named."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from bert_onnx.errors import VerificationError
from export.cases import Case
from export.tolerances import find_tolerance
from runtimes.base import Runtime


@dataclass(frozen=True)
class OutputDifference:
    """The largest difference of one output over all cases.

    Args:
        name: the output.
        max_abs_diff: largest absolute difference from the reference; infinite where a value is not finite.
        tolerance: what was allowed there.
        case, index: where it is.
        passed: whether every case was within its tolerance.
    """

    name: str
    max_abs_diff: float
    tolerance: float
    case: str
    index: tuple[int, ...]
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """What the comparison found.

    Args:
        outputs: one entry an output; the place named is the one that used up most of its tolerance.
        cases: names of the cases that were run.
    """

    outputs: tuple[OutputDifference, ...]
    cases: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every output is within its tolerance in every case."""
        return all(output.passed for output in self.outputs)

    @property
    def max_abs_diff(self) -> float:
        """Largest difference of any output."""
        return max(output.max_abs_diff for output in self.outputs)

    def raise_if_failed(self, what: str) -> None:
        """Raises VerificationError naming the worst output, shape and index, unless every output passed."""
        failed = [output for output in self.outputs if not output.passed]
        if failed:
            worst = max(failed, key=lambda output: output.max_abs_diff / output.tolerance)
            raise VerificationError(
                f"{what} is not equal to the eager model: {worst.name}{list(worst.index)} differs by "
                f"{worst.max_abs_diff:.3g} in case '{worst.case}', and {worst.tolerance:.3g} is allowed; "
                "nothing was published."
            )


def compare(
    runtime: Runtime,
    reference: Runtime,
    cases: Iterable[Case],
    precision: str,
    on_case: Callable[[str], None] | None = None,
) -> Verdict:
    """Run every case on both and compare every output.

    Args:
        runtime: what is judged.
        reference: the eager model; its outputs are taken for the truth.
        cases: inputs, at least one.
        precision: chooses the tolerances.
        on_case: called with the name of each case before it runs.
    """
    worst: dict[str, tuple[float, OutputDifference]] = {}
    names = []
    for case in cases:
        if on_case is not None:
            on_case(case.name)
        names.append(case.name)
        expected, actual = reference.run(case.inputs), runtime.run(case.inputs)
        for port in reference.outputs:
            found = _difference(port.name, expected[port.name], actual[port.name], case.name, precision, runtime.name)
            strain = found.max_abs_diff / found.tolerance
            if port.name not in worst or strain > worst[port.name][0]:
                worst[port.name] = (strain, found)
    if not names:
        raise ValueError("a comparison needs at least one case")
    return Verdict(tuple(found for _, found in worst.values()), tuple(names))


def _difference(
    name: str, expected: np.ndarray, actual: np.ndarray, case: str, precision: str, runtime: str
) -> OutputDifference:
    """The largest difference between two arrays; a wrong shape or dtype differs infinitely."""
    tolerance = find_tolerance(precision, runtime, name).limit(float(np.abs(expected).max(initial=0.0)))
    if expected.shape != actual.shape or actual.dtype != np.float32:
        return OutputDifference(name, float("inf"), tolerance, case, actual.shape, passed=False)
    if expected.size == 0:
        return OutputDifference(name, 0.0, tolerance, case, (), passed=True)
    differences = np.abs(expected - actual)
    differences[~np.isfinite(differences)] = np.inf
    at = np.unravel_index(int(differences.argmax()), differences.shape)
    largest = float(differences[at])
    return OutputDifference(name, largest, tolerance, case, tuple(int(i) for i in at), largest <= tolerance)
