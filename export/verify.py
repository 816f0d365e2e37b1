"""Parity: a graph against the eager model, output by output, case by case; the worst place is named."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from bert_onnx.artifact import Parity
from bert_onnx.artifact.manifest import FAIL, PASS, OutputParity
from bert_onnx.errors import VerificationError
from bert_onnx.tasks import SEQUENCE, Port
from export.cases import Case
from export.tolerances import find_tolerance
from runtimes.base import Runtime


def compare(
    runtime: Runtime,
    reference: Runtime,
    cases: Iterable[Case],
    precision: str,
    on_case: Callable[[str], None] | None = None,
    zero_padding: bool = False,
) -> Parity:
    """Run every case on both and compare every output.

    The place that is recorded for an output is the one that used up most of its tolerance.

    Args:
        runtime: what is judged.
        reference: the eager model; its outputs are taken for the truth.
        cases: inputs, at least one.
        precision: chooses the tolerances.
        on_case: called with the name of each case before it runs.
        zero_padding: the graph must give zeros at padding, whatever the eager model makes of it.
    """
    worst: dict[str, OutputParity] = {}
    names = []
    for case in cases:
        if on_case is not None:
            on_case(case.name)
        names.append(case.name)
        expected, actual = reference.run(case.inputs), runtime.run(case.inputs)
        for port in reference.outputs:
            wanted = expected[port.name]
            if zero_padding:
                wanted = wanted * _real_tokens(port, wanted.shape, case.inputs["attention_mask"])
            found = _difference(port.name, wanted, actual[port.name], case.name, precision, runtime.name)
            if port.name not in worst or _strain(found) > _strain(worst[port.name]):
                worst[port.name] = found
    if not names:
        raise ValueError("a comparison needs at least one case")
    passed = all(_strain(output) <= 1 for output in worst.values())
    described = runtime.describe()
    return Parity(
        verdict=PASS if passed else FAIL,
        reference="eager PyTorch, float32",
        runtime=f"{runtime.name} ({described.library})",
        outputs=tuple(worst.values()),
        cases=tuple(names),
    )


def require_parity(parity: Parity, what: str) -> None:
    """Raises VerificationError naming the worst output, case and index, unless the verdict is a pass."""
    if parity.passed:
        return
    worst = max(parity.outputs, key=_strain)
    raise VerificationError(
        f"{what} is not equal to the eager model: {worst.name}{list(worst.index)} differs by "
        f"{worst.max_abs_diff:.3g} in case '{worst.case}', and {worst.tolerance:.3g} is allowed."
    )


def _strain(output: OutputParity) -> float:
    """Share of its tolerance that an output uses up; more than 1 fails."""
    return output.max_abs_diff / output.tolerance


def _real_tokens(port: Port, shape: tuple[int, ...], mask: np.ndarray) -> np.ndarray:
    """1 where an output of `shape` belongs to a real token or to no token, 0 where it belongs to padding.

    Args:
        mask: the attention mask, [B, S] or [B, C, S]; with a cache [B, P+S], of which the last S are the output's.
    """
    if SEQUENCE not in port.axes:
        return np.ones((1,) * len(shape), np.float32)
    at = port.axes.index(SEQUENCE)
    rows = mask.reshape(shape[0], -1)[:, -shape[at] :].astype(np.float32)  # [B, S]
    return rows.reshape(shape[0], *[1] * (at - 1), shape[at], *[1] * (len(shape) - at - 1))


def _difference(
    name: str, expected: np.ndarray, actual: np.ndarray, case: str, precision: str, runtime: str
) -> OutputParity:
    """The largest difference between two arrays; a wrong shape or dtype, or a NaN, differs infinitely."""
    tolerance = find_tolerance(precision, runtime, name).limit(float(np.abs(expected).max(initial=0.0)))
    if expected.shape != actual.shape or actual.dtype != np.float32:
        return OutputParity(name, math.inf, tolerance, case, tuple(actual.shape))
    if expected.size == 0:
        return OutputParity(name, 0.0, tolerance, case, ())
    differences = np.abs(expected - actual)
    differences[~np.isfinite(differences)] = math.inf
    at = np.unravel_index(int(differences.argmax()), differences.shape)
    return OutputParity(name, float(differences[at]), tolerance, case, tuple(int(i) for i in at))
