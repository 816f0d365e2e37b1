"""Measures our graphs on an NVIDIA GPU beside torch and optimum, prints the tables, and writes them into docs/.

    python -m benchmarks.gpu [--check] [--quick] [--seconds 4] [--work DIR] [--docs DIR]

The model is a bert-base with random weights. Each precision meets every batch: 1 to 256 texts of 16 to 512 tokens,
without padding and half filled. Batches lie on the GPU, all engines run interleaved in one process, and a time is a
forward pass with all that it started. --check says whether this machine can do it, and ends. --quick takes few batches
and writes nothing. Where there is no GPU, a sentence says so, and the exit status is 11.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.gpu.batches import LENGTHS, batches
from benchmarks.gpu.machine import Machine, NvidiaMachine
from benchmarks.gpu.measure import Row, compare
from benchmarks.gpu.models import PRECISIONS, our_graphs, peer_graphs
from benchmarks.gpu.needs import require_gpu
from benchmarks.gpu.peak import Peak, data_sheet, measured
from benchmarks.gpu.report import aims_table, differences, failures, ratio_table, time_table
from benchmarks.graphs.batches import Batch, Texts
from benchmarks.graphs.measure import operations
from benchmarks.graphs.models import bert_base_folder, sample_folder
from benchmarks.machine import describe_machine
from bert_onnx.errors import RuntimeUnavailableError, exit_status

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_PACKAGES = ("onnxruntime-gpu", "torch", "transformers", "optimum", "optimum-onnx", "onnx")
PAGE = "benchmarks-gpu.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _arguments(arguments)
    try:
        gpu = require_gpu()
    except RuntimeUnavailableError as error:
        print(f"benchmarks.gpu: {error}", file=sys.stderr)
        return exit_status(error)
    if options.check:
        print(f"{gpu.name}, driver {gpu.driver}: ready")
        return 0
    work = Path(options.work or tempfile.mkdtemp(prefix="bert-onnx-gpu-"))
    work.mkdir(parents=True, exist_ok=True)
    folder = bert_base_folder(work)
    model = our_graphs(folder, work)
    peers, refused = peer_graphs(folder, work)
    machine = NvidiaMachine(gpu.name, replace(model, peers=peers, refused=refused))
    page = measure(
        machine, list(batches(Texts(sample_folder(), max(LENGTHS)), options.quick)), options.seconds, refused
    )
    if not options.quick:
        (Path(options.docs) / PAGE).write_text(page, encoding="utf-8")
    print(page)
    return 0


def measure(machine: Machine, chosen: Sequence[Batch], seconds: float, refused: dict[str, str]) -> str:
    """Run everything on `machine`; the page, in Markdown."""
    rows: list[Row] = []
    peaks: dict[str, Peak] = {}
    sheets: dict[str, Peak | None] = {}
    for precision in PRECISIONS:
        peaks[precision] = measured(machine.product(precision), machine.wait)
        sheets[precision] = data_sheet(machine.name, precision)
        engines = machine.engines(precision)
        for batch in chosen:
            needed = operations(machine.config, batch.lengths)
            row = compare(engines, machine.reference, batch, precision, needed, seconds, machine.wait)
            rows.append(row)
            print(f"{precision} {batch.name}: {_told(row)}", file=sys.stderr, flush=True)
    return _page(machine.name, rows, peaks, sheets, refused)


def _told(row: Row) -> str:
    return ", ".join(f"{one.name} {one.median * 1e3:.3g} ms" for one in row.timings) or "nothing ran"


def _page(
    name: str, rows: Sequence[Row], peaks: dict[str, Peak], sheets: dict[str, Peak | None], refused: dict[str, str]
) -> str:
    half_peak = sheets["fp16"] or peaks["fp16"]
    parts = [
        "# Graphs on a GPU",
        "Written by `python -m benchmarks.gpu`; its docstring says how it measures.",
        f"{name}; bert-base with random weights.",
        describe_machine(_PACKAGES),
        "## What was aimed at",
        aims_table(rows, half_peak),
    ]
    for precision in PRECISIONS:
        own = [row for row in rows if row.precision == precision]
        peak = sheets[precision] or peaks[precision]
        parts += [
            f"## {precision}",
            "Ratio of the fastest peer's time to that of our fastest graph: median, with the middle half of the rounds "
            "in brackets; above 1 we are faster. The difference is the largest of our graphs from eager torch in "
            "float32, on real tokens.",
            ratio_table(own),
            f"Milliseconds for the batch, and floating point operations on real tokens a second as a share of "
            f"{peak.operations / 1e12:.0f} TFLOP/s ({peak.source}; a bare product in this run reached "
            f"{peaks[precision].operations / 1e12:.0f}).",
            time_table(own, peak),
            "Largest differences: " + ", ".join(f"{who} {far:.1e}" for who, far in differences(own).items()) + ".",
        ]
    notes = [f"* {peer} could not be made: {why}" for peer, why in refused.items()] + failures(rows)
    if notes:
        parts += ["## What did not run", "\n".join(notes)]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="say whether this machine can do it, and end")
    parser.add_argument("--quick", action="store_true", help="few batches; writes nothing")
    parser.add_argument("--seconds", type=float, default=4.0, help="about how long each batch is measured")
    parser.add_argument("--work", help="where graphs are kept from one run to the next (default: a new folder)")
    parser.add_argument("--docs", default=str(_DOCS), help="where the page goes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
