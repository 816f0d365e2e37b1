"""Parity: a graph against the eager model, output by output, case by case; the worst place is named.

Postprocess outputs are compared with what PyTorch makes of the graph's own scores: see `postprocess_parity`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bert_onnx.artifact import Parity
from bert_onnx.artifact.contract.parity import FAIL, PASS, OutputParity
from bert_onnx.errors import VerificationError
from bert_onnx.modeling.postprocess import Postprocessing
from bert_onnx.tasks import SEQUENCE, Port
from export.plan import FP32
from export.reference.computed import Computed
from export.reference.runtime import Reference
from export.verification.cases import Case
from export.verification.postprocess_parity import compare_postprocess, worst_place
from export.verification.rounding import OutputRounding, difference_limit, strain
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

    A float32 graph is judged by the errors of both against the eager model in float64 where `reference` is a
    `Reference` (see `rounding`), any other by the table of tolerances. The place that is recorded for an output is the
    one that used up most of what is allowed.

    Args:
        runtime: what is judged.
        reference: the eager model.
        cases: inputs, at least one.
        precision: chooses the tolerances.
        on_case: called with the name of each case before it runs.
        zero_padding: the graph must give zeros at padding, whatever the eager model makes of it.
        postprocessing: what makes the postprocess outputs of the graph; None where it is compared without.
    """
    worst: dict[str, OutputParity] = {}
    judges: dict[str, OutputRounding] = {}
    exact = reference if precision == FP32 and isinstance(reference, Reference) else None
    ports = [port for port in reference.outputs if postprocessing is None or port.name not in postprocessing.names]
    names = []
    for case in cases:
        if on_case is not None:
            on_case(case.name)
        names.append(case.name)
        computed = Computed(reference.run(case.inputs)) if exact is None else exact.compute(case.inputs, rounding=True)
        expected, actual = computed.outputs, runtime.run(case.inputs)
        weights = _weights(ports, expected, case) if zero_padding else {}
        found = [_difference(port.name, expected, actual, weights, precision, runtime, case) for port in ports]
        comparable = all(math.isfinite(output.max_abs_diff) for output in found)
        if computed.rounding is not None and comparable:
            _add_rounding(judges, ports, computed.rounding, expected, actual, weights)
        if postprocessing is not None and comparable:
            found += compare_postprocess(postprocessing, actual, case, _postprocess_limit)
        for output in found:
            # One limit for all cases follows at the end: until then the largest difference is the worst.
            measure = _max_abs_diff if output.name in judges else strain
            if output.name not in worst or measure(output) > measure(worst[output.name]):
                worst[output.name] = output
    if not names:
        raise ValueError("a comparison needs at least one case")
    outputs = tuple(_judged(output, judges.get(output.name)) for output in worst.values())
    described = runtime.describe()
    return Parity(
        verdict=PASS if all(strain(output) <= 1 for output in outputs) else FAIL,
        reference="eager PyTorch, float32" + (" and float64" if exact is not None else ""),
        runtime=f"{runtime.name} ({described.library})",
        outputs=outputs,
        cases=tuple(names),
    )


def _max_abs_diff(output: OutputParity) -> float:
    return output.max_abs_diff


def require_parity(parity: Parity, what: str) -> None:
    """Raises VerificationError naming the worst output, case and index, unless the verdict is a pass."""
    if parity.passed:
        return
    worst = max(parity.outputs, key=strain)
    message = (
        f"{what} is not equal to the eager model: {worst.name}{list(worst.index)} differs by "
        f"{worst.max_abs_diff:.3g} in case '{worst.case}', and {worst.tolerance:.3g} is allowed."
    )
    if worst.rounding is not None:
        message += (
            f" Against float64 the graph errs by {worst.rounding.graph_rms:.2g} (rms), eager float32 by "
            f"{worst.rounding.eager_rms:.2g}."
        )
    raise VerificationError(message)


def _weights(ports: Sequence[Port], expected: Mapping[str, np.ndarray], case: Case) -> dict[str, np.ndarray]:
    """1 at real tokens and 0 at padding, for each output."""
    mask = case.inputs["attention_mask"]
    return {port.name: real_tokens(port, expected[port.name].shape, mask) for port in ports}


def _add_rounding(
    judges: dict[str, OutputRounding],
    ports: Sequence[Port],
    rounding: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    actual: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray],
) -> None:
    """Add a case to `judges`, by output: the last rows of its batch, which ran in float64."""
    for name in [port.name for port in ports]:
        errors = rounding[name]
        rows = slice(-len(errors), None)
        weight = weights.get(name, np.ones(1, np.float32))
        weight = weight if len(weight) == 1 else weight[rows]
        judges.setdefault(name, OutputRounding()).add(expected[name][rows], actual[name][rows], errors, weight)


def _judged(output: OutputParity, judge: OutputRounding | None) -> OutputParity:
    """`output` with its errors against float64, and the tolerance that follows from them."""
    if judge is None:
        return output
    rounding = judge.verdict()
    return replace(output, tolerance=difference_limit(rounding), rounding=rounding)


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
    name: str,
    expected: Mapping[str, np.ndarray],
    actual: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray],
    precision: str,
    runtime: Runtime,
    case: Case,
) -> OutputParity:
    """The largest difference between two arrays; a wrong shape or dtype, or a NaN, differs infinitely."""
    wanted, got = expected[name], actual[name]
    if name in weights:
        wanted = wanted * weights[name]
    tolerance = find_tolerance(precision, runtime.name, name).limit(float(np.abs(wanted).max(initial=0.0)))
    if wanted.shape != got.shape or got.dtype != np.float32:
        return OutputParity(name, math.inf, tolerance, case.name, tuple(got.shape))
    return worst_place(name, np.abs(wanted - got), tolerance, case.name)
