"""One row of the table: a kind of checkpoint, exported and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import bert_onnx
from benchmarks.compatibility.checkpoints import write_texts
from benchmarks.compatibility.kinds import Kind
from benchmarks.compatibility.tools import ask_optimum, ask_transformers
from bert_onnx.artifact import Artifact
from bert_onnx.errors import BertOnnxError

TARGETS = ("portable", "ort-cpu-unpadded")
#: A difference from the library, or why there is none.
Finding = float | str
NOTHING = "-"


@dataclass
class Found:
    """What one kind gave.

    Args:
        kind: the kind.
        refused: why it was not exported; None where it was.
        library, unpadded: largest differences of the portable and the unpadded graph, from text on, from the library.
        int8: the gate's principal figure of the portable graph in int8, and whether it passes.
        reopened, optimum, transformers_js: largest differences of tools that open the artifact.
        raw: what transformers' head returns for `RAW_TEXTS`, for the tools that are asked later.
        folder: the artifact; None where there is none.
    """

    kind: Kind
    refused: str | None = None
    library: Finding = NOTHING
    unpadded: Finding = NOTHING
    int8: str = NOTHING
    reopened: Finding = NOTHING
    optimum: Finding = NOTHING
    transformers_js: Finding = NOTHING
    raw: np.ndarray | None = field(default=None, repr=False)
    folder: Path | None = None

    @property
    def holds(self) -> bool:
        """Whether it was exported and each tool that could be asked gave the same to 1e-4."""
        findings = (self.library, self.unpadded, self.reopened, self.optimum, self.transformers_js)
        return self.refused is None and all(one == NOTHING or is_same(one) for one in findings)


def is_same(finding: Finding) -> bool:
    """Whether a difference is that of rounding."""
    return isinstance(finding, float) and finding <= 1e-4


def measure(kind: Kind, folder: Path) -> Found:
    """Make a checkpoint of the kind below `folder`, ask its library, export it and compare."""
    library = kind.library
    checkpoint, output = folder / "checkpoint", folder / "artifact"
    kind.make(checkpoint)
    expected = library.ask(checkpoint)
    raw = None if library.auto_class is None else ask_transformers(checkpoint, library)
    if kind.change is not None:
        kind.change(checkpoint)
    try:
        bert_onnx.export(checkpoint, output, task=kind.task, targets=TARGETS, offline=True)
    except BertOnnxError as error:
        return Found(kind, refused=str(error))
    found = Found(kind, raw=raw, folder=output)
    found.library, found.unpadded = (
        compare(expected, lambda name=name: _ask_ours(kind, output, name))
        for name in ("model", "model_ort_cpu_unpadded")
    )
    found.int8 = _int8(kind, checkpoint, folder / "int8")
    if library.reopen is not None:
        found.reopened = compare(expected, lambda: library.reopen(output))
    if raw is not None:
        found.optimum = compare(raw, lambda: ask_optimum(output, library))
    return found


def _ask_ours(kind: Kind, folder: Path, variant: str) -> np.ndarray:
    with bert_onnx.load(folder, variant) as model:
        return kind.library.ask_ours(model)


def _int8(kind: Kind, checkpoint: Path, output: Path) -> str:
    """Whether it passes, with the first figure or the first that falls short."""
    learned, judged = (None, None) if kind.trained else (write_texts(output, seed) for seed in (1, 2))
    bert_onnx.export(
        checkpoint,
        output,
        task=kind.task,
        precision="int8",
        calibration=learned,
        evaluation=judged,
        allow_degraded=True,
        offline=True,
    )
    (quality,) = [one.quality for one in Artifact.open(output).manifest.variants if one.quality is not None]
    name = next(iter(quality.misses), next(iter(quality.figures)))
    figure = f"{name} {quality.figures[name]:.4f}"
    return f"passes, {figure}" if quality.passed else f"below: {figure}, asked {quality.thresholds[name]:g}"


def compare(expected: np.ndarray, ask: Callable[[], np.ndarray]) -> Finding:
    """Largest difference from `expected`; what an error says, where there is one."""
    try:
        actual = ask()
    except Exception as error:  # whatever another library raises is the finding
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    return difference(expected, actual)


def difference(expected: np.ndarray, actual: np.ndarray) -> Finding:
    """Largest absolute difference of two arrays."""
    if expected.shape != actual.shape:
        return f"shape {actual.shape}, not {expected.shape}"
    return float(np.abs(expected.astype(np.float64) - actual).max(initial=0.0))
