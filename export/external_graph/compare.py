"""Runs the graph that came in and the graph that goes out on the same inputs, and measures how far they are apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_onnx.errors import ArtifactError, ExportError, VerificationError
from export.verification.cases import Case
from export.verification.emulated import twin_of
from export.verification.tolerances import find_tolerance
from runtimes.engines.ort.library import import_onnxruntime

#: Each of the two graphs may be this far from the truth, hence twice from the other; outputs have any names, so
#: that the row for hidden states stands for all.
_ROW = ("fp32", "onnxruntime-cpu", "last_hidden_state")
_GRAPHS = 2.0


@dataclass(frozen=True)
class GraphComparison:
    """The two graphs side by side.

    Args:
        max_abs_diff: largest difference of any output in any case; infinite where one is not a number.
        output, case: where it is.
        tolerance: what was allowed there.
        cases: names of the cases that were run.
        skipped: names of the cases that the input graph itself cannot run, with what it said.
    """

    max_abs_diff: float
    output: str
    case: str
    tolerance: float
    cases: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]

    def raise_if_failed(self, source: Path, written: Path) -> None:
        """Raises VerificationError unless the difference is within its tolerance."""
        if not self.max_abs_diff <= self.tolerance:
            raise VerificationError(
                f"{written.name} does not compute what {source.name} does: {self.output} differs by "
                f"{self.max_abs_diff:.3g} in case '{self.case}', and {self.tolerance:.3g} is allowed; "
                "nothing was written."
            )


def compare_graphs(source: Path, written: Path, cases: Iterable[Case], padding: str | None = None) -> GraphComparison:
    """Run both graphs on every case that the graph in `source` can run.

    Args:
        padding: name of a mask [B, S]: what becomes of padding does not count. Outputs [B, S, ...] are compared at
            real tokens, other outputs of a text where its first token is real, since they may be made from that.
            None compares everything.

    Raises:
        ArtifactError: ONNX Runtime does not open `source`.
        ExportError: it does not open `written`, or `source` runs on none of the cases.
        VerificationError: `written` fails on a case, or has other outputs.
    """
    old = _open(source, ArtifactError)
    with twin_of(written, rounding=False) as (twin, _):
        new = _open(twin, ExportError)
    names = [port.name for port in old.get_outputs()]
    if names != [port.name for port in new.get_outputs()]:
        raise VerificationError(f"{written.name} does not have the outputs of {source.name}; nothing was written.")
    worst: GraphComparison | None = None
    done, skipped = [], []
    for case in cases:
        try:
            expected = old.run(names, case.inputs)
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            skipped.append((case.name, str(error).strip().splitlines()[0]))
            continue
        actual = _run(new, names, case, written)
        mask = None if padding is None else case.inputs[padding]
        real = None if mask is None else mask.reshape(-1, mask.shape[-1]) != 0
        found = _difference(names, expected, actual, case, real)
        done.append(case.name)
        if worst is None or found.max_abs_diff / found.tolerance > worst.max_abs_diff / worst.tolerance:
            worst = found
    if worst is None:
        raise ExportError(f"{source.name} runs on none of the inputs that it is checked with: {skipped[0][1]}")
    return GraphComparison(worst.max_abs_diff, worst.output, worst.case, worst.tolerance, tuple(done), tuple(skipped))


def _open(path: Path, kind: type[ArtifactError] | type[ExportError]) -> Any:
    library = import_onnxruntime()
    options = library.SessionOptions()
    options.log_severity_level = 4  # a case that the input graph cannot run is no error of ours
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise kind(f"ONNX Runtime does not open {path.name}: {str(error).strip().splitlines()[0]}") from error


def _run(session: Any, names: Sequence[str], case: Case, written: Path) -> Sequence[np.ndarray]:
    try:
        outputs: Sequence[np.ndarray] = session.run(names, case.inputs)
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        reason = str(error).strip().splitlines()[0]
        raise VerificationError(f"{written.name} fails in case '{case.name}': {reason}") from error
    return outputs


def _difference(
    names: Sequence[str],
    expected: Sequence[np.ndarray],
    actual: Sequence[np.ndarray],
    case: Case,
    real: np.ndarray | None,
) -> GraphComparison:
    """The worst output of one case, at the tokens that are `real` [B, S]."""
    found = []
    for name, wanted, given in zip(names, expected, actual, strict=True):
        largest = float(np.abs(wanted).max(initial=0.0, where=np.isfinite(wanted)))
        limit = _GRAPHS * find_tolerance(*_ROW).limit(largest)
        if wanted.shape != given.shape or wanted.dtype != given.dtype:
            found.append(GraphComparison(float("inf"), name, case.name, limit, (), ()))
            continue
        with np.errstate(invalid="ignore"):
            gaps = np.where(wanted == given, 0.0, np.abs(wanted - given))
        gaps = np.where(np.isnan(wanted) & np.isnan(given), 0.0, gaps)
        if real is not None and gaps.shape[:1] == real.shape[:1]:
            gaps = gaps[real] if gaps.shape[:2] == real.shape else gaps[real[:, 0]]
        worst = float(np.nan_to_num(gaps, nan=np.inf).max(initial=0.0))
        found.append(GraphComparison(worst, name, case.name, limit, (), ()))
    return max(found, key=lambda one: one.max_abs_diff / one.tolerance)
