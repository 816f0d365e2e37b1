"""Exports the sample and a model of each head, runs every graph on every runtime, and writes docs/parity-runtimes.md.

    python -m benchmarks.runtimes [--only TEXT] [--folder DIR] [--output FILE]

With --folder, artifacts and results are kept there, and a second run goes on where the first one ended.
"""

from __future__ import annotations

import argparse
import logging
import pickle
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import REPOSITORY
from benchmarks.runtimes.emulated import EmulatedRuntime
from benchmarks.runtimes.report import Result, render
from benchmarks.runtimes.subjects import HEADS, TRAINED, Subject
from bert_onnx.artifact import Artifact
from bert_onnx.errors import RuntimeUnavailableError
from export.verification.runtime_matrix import runtime_matrix
from runtimes.engines.table import RUNTIMES, RuntimeRow
from runtimes.machine.processor import this_processor

OUTPUT = REPOSITORY / "docs" / "parity-runtimes.md"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="TEXT", help="artifacts whose name contains this, and write nothing")
    parser.add_argument("--folder", type=Path, help="where artifacts are kept from one run to the next")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="what to write (default: docs/parity-runtimes.md)")
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    subjects = [subject for subject in (*TRAINED, *HEADS) if chosen.only is None or chosen.only in subject.name]
    saturating = [subject for subject in subjects if subject.saturates(this_processor())]
    subjects = [subject for subject in subjects if subject not in saturating]
    rows, emulated = runtime_rows()
    native = list(RUNTIMES.values())
    with TemporaryDirectory() as scratch:
        results = []
        for number, subject in enumerate(subjects, start=1):
            begun = time.monotonic()
            # An emulated processor is too slow for a model of real size.
            results.append(measure(subject, chosen.folder or Path(scratch), native if subject.trained else rows))
            told = f"{number}/{len(subjects)} {subject.name}: {time.monotonic() - begun:.1f} s"
            print(told, file=sys.stderr, flush=True)
    page = render(results, emulated, [subject.isas[0] for subject in saturating])
    print(page)
    if chosen.only is None:
        chosen.output.write_text(page, encoding="utf-8")
        print(f"written to {chosen.output}", file=sys.stderr)
    for result in results:
        result.matrix.raise_if_failed()


def runtime_rows() -> tuple[list[RuntimeRow], bool]:
    """Every runtime; OpenVINO's plugin on an emulated processor where this machine's is not Intel's."""
    from runtimes.engines.ort.openvino import OnnxRuntimeOpenVino, computes_in

    emulated = False
    try:
        computes_in()
    except RuntimeUnavailableError:
        emulated = not RUNTIMES[OnnxRuntimeOpenVino.name].missing_modules()
    stand_in = {"module": EmulatedRuntime.__module__, "class_name": EmulatedRuntime.__name__}
    rows = [
        replace(row, **stand_in) if emulated and row.name == OnnxRuntimeOpenVino.name else row
        for row in RUNTIMES.values()
    ]
    return rows, emulated


def measure(subject: Subject, folder: Path, rows: Sequence[RuntimeRow]) -> Result:
    """Export and compare `subject`, one runtime after the other; results that are kept in `folder` are read."""
    artifact, checkpoint = subject.make(folder)
    matrices = []
    for row in rows:
        kept = folder / subject.name / f"{row.name}.pickle"
        if not kept.is_file():
            kept.write_bytes(pickle.dumps(runtime_matrix(str(artifact), [row], checkpoint)))
        matrices.append(pickle.loads(kept.read_bytes()))
    cells = tuple(cell for matrix in matrices for cell in matrix.cells)
    return Result(subject, Artifact.open(artifact).manifest.variants, replace(matrices[0], cells=cells))


if __name__ == "__main__":
    main()
