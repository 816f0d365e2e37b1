"""Runs tests and measurements on an NVIDIA GPU, part by part, and writes docs/benchmarks-gpu.md.

    python -m benchmarks.gpu [--check] [--part PART] [--budget 420] [--seconds 1.5] [--work DIR] [--docs DIR] [--page]
                             [--device cpu]

The model is a bert-base with random weights. Batches are 1 to 256 texts of 16 to 512 tokens, without padding and half
filled. They lie on the GPU, buffers are bound once, all engines queue on one stream and run interleaved in one process,
and a time is a forward pass with all that it started. The outputs of every engine are compared with eager torch in
float32 before it is timed. What was found is added to results.json in --work; what is there is not done again, and the
page is made of that file alone (--page makes nothing but the page).

--check says whether this machine can do it, and ends. --device cpu rehearses everything but the tests with a tiny
model; its page stays in --work. Where there is no GPU, a sentence says so, and the exit status is 11. 75: run it again,
there is more to do; 1: a test failed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.needs import require_gpu, this_device
from benchmarks.gpu.results import Results, open_results, read_results
from bert_onnx.errors import BertOnnxError, exit_status

_ROOT = Path(__file__).resolve().parents[2]
PAGE, RESULTS = "benchmarks-gpu.md", "results.json"
_FAILED, _MORE = 1, 75


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _arguments(arguments)
    try:
        return _check() if options.check else _run(options)
    except BertOnnxError as error:
        print(f"benchmarks.gpu: {error}", file=sys.stderr)
        return exit_status(error)


def _check() -> int:
    gpu = require_gpu()
    print(f"{gpu.name}, driver {gpu.driver}: ready")
    return 0


def _run(options: argparse.Namespace) -> int:
    rehearsal = options.device == "cpu"
    work = Path(options.work or _ROOT / "build" / ("gpu-rehearsal" if rehearsal else "gpu"))
    page = (work if rehearsal else Path(options.docs)) / PAGE
    if options.page:
        _write(page, read_results(work / RESULTS))
        return 0
    device = this_device(None if rehearsal else require_gpu())
    work.mkdir(parents=True, exist_ok=True)
    results = open_results(work / RESULTS, device)
    status = _do(options, results, work, rehearsal)
    _write(page, results)
    return status


def _do(options: argparse.Namespace, results: Results, work: Path, rehearsal: bool) -> int:
    """The parts that are asked for; returns the status."""
    from benchmarks.gpu.machine import Machine, NvidiaMachine, RehearsalMachine
    from benchmarks.gpu.measure import GpuLostError
    from benchmarks.gpu.parts import PARTS, REHEARSAL, OutOfTimeError, Rivals, Run, is_complete, run_part

    parts = REHEARSAL if rehearsal else PARTS
    names = list(parts) if options.part == "all" else [options.part]
    if not set(names) <= set(parts):
        print(f"benchmarks.gpu: there is no part {options.part}; choose all, {', '.join(parts)}.", file=sys.stderr)
        return 2
    machines: list[Machine] = []

    def machine() -> Machine:
        if not machines:
            machines.append(RehearsalMachine() if rehearsal else NvidiaMachine())
        return machines[0]

    run = Run(machine, results, work / RESULTS, work, options.seconds, time.monotonic() + options.budget, rehearsal)
    opened: dict[str, Rivals] = {}
    try:
        for name in names:
            started = time.monotonic()
            run_part(run, name, parts[name], opened)
            print(f"part {name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    except OutOfTimeError:
        print(f"{options.budget:.0f} s are over: the rest is for another run", file=sys.stderr)
    except GpuLostError as error:
        print(f"the GPU cannot be used any more after {error}; run it again, which leaves that out", file=sys.stderr)
    if any(test.outcome == "failed" for test in results.tests):
        return _FAILED
    return 0 if all(is_complete(results, name, parts[name]) for name in names) else _MORE


def _write(page: Path, results: Results) -> None:
    from benchmarks.gpu.page import make_page

    page.write_text(make_page(results), encoding="utf-8")
    print(f"{page} is written: {len(results.rows)} batches, {len(results.tests)} tests")


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="say whether this machine can do it, and end")
    parser.add_argument("--part", default="all", help="one part of the run (default: all)")
    parser.add_argument("--budget", type=float, default=420.0, help="seconds after which no batch is begun")
    parser.add_argument("--seconds", type=float, default=1.5, help="about how long each batch is measured")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal with a tiny model")
    parser.add_argument("--page", action="store_true", help="make the page from the results again, and nothing else")
    parser.add_argument("--work", help="where graphs and results are kept (default: build/gpu)")
    parser.add_argument("--docs", default=str(_ROOT / "docs"), help="where the page goes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
