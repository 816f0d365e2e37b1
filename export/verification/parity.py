"""Parity: a graph against the eager model, output by output, case by case; the worst place is named.

Postprocess outputs are compared with what PyTorch makes of the graph's own scores: see `postprocess_parity`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from bert_onnx.artifact import Parity
from bert_onnx.artifact.contract.parity import FAIL, PASS, OutputParity
from bert_onnx.errors import VerificationError
from bert_onnx.modeling.postprocess import Postprocessing
from bert_onnx.tasks import SEQUENCE, Port
from export.plan import FP32
from export.verification.cases import Case
from export.verification.postprocess_parity import compare_postprocess, worst_place
from export.verification.tolerances import find_tolerance
from runtimes.engines.base import Runtime
from runtimes.engines.ort.cpu import OnnxRuntimeCpu


def compare(
    runtime: Runtime,
    reference: Runtime,
    cases: Iterable[Case],
    precision: str,
    on_case: Callable[[str], None] | None = None,
    zero_padding: bool = False,
    postprocessing: Postprocessing | None = None,
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
        postprocessing: what makes the postprocess outputs of the graph; None where it is compared without.
    """
    worst: dict[str, OutputParity] = {}
    names = []
    for case in cases:
        if on_case is not None:
            on_case(case.name)
        names.append(case.name)
        expected, actual = reference.run(case.inputs), runtime.run(case.inputs)
        found = [
            _difference(port, expected[port.name], actual[port.name], case, precision, runtime.name, zero_padding)
            for port in reference.outputs
            if postprocessing is None or port.name not in postprocessing.names
        ]
        if postprocessing is not None and all(math.isfinite(output.max_abs_diff) for output in found):
            found += compare_postprocess(postprocessing, actual, case, _postprocess_limit)
        for output in found:
            if output.name not in worst or _strain(output) > _strain(worst[output.name]):
                worst[output.name] = output
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


def real_tokens(port: Port, shape: Sequence[int], mask: np.ndarray) -> np.ndarray:
    """1 where an output of `shape` belongs to a real token or to no token, 0 where it belongs to padding.

    Args:
        mask: the attention mask, [B, S] or [B, C, S]; with a cache [B, P+S], of which the last S are the output's.
    """
    if SEQUENCE not in port.axes:
        return np.ones((1,) * len(shape), np.float32)
    at = port.axes.index(SEQUENCE)
    rows = mask.reshape(shape[0], -1)[:, -shape[at] :].astype(np.float32)  # [B, S]
    return rows.reshape(shape[0], *[1] * (at - 1), shape[at], *[1] * (len(shape) - at - 1))


def _postprocess_limit(name: str, largest: float) -> float:
    """Postprocess outputs are float32 nodes in every precision."""
    return find_tolerance(FP32, OnnxRuntimeCpu.name, name).limit(largest)


def _difference(
    port: Port,
    expected: np.ndarray,
    actual: np.ndarray,
    case: Case,
    precision: str,
    runtime: str,
    zero_padding: bool,
) -> OutputParity:
    """The largest difference between two arrays; a wrong shape or dtype, or a NaN, differs infinitely."""
    if zero_padding:
        expected = expected * real_tokens(port, expected.shape, case.inputs["attention_mask"])
    tolerance = find_tolerance(precision, runtime, port.name).limit(float(np.abs(expected).max(initial=0.0)))
    if expected.shape != actual.shape or actual.dtype != np.float32:
        return OutputParity(port.name, math.inf, tolerance, case.name, tuple(actual.shape))
    return worst_place(port.name, np.abs(expected - actual), tolerance, case.name)
