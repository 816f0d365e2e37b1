"""The parts of a run, in their order: each adds to the results, and leaves out what they have."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.gpu.batches import LENGTHS, SIZES, batches
from benchmarks.gpu.engines import open_engines
from benchmarks.gpu.gpu_tests import run_tests
from benchmarks.gpu.kernels import kernels
from benchmarks.gpu.machine import Machine, judge_of
from benchmarks.gpu.measure import Engine, GpuLostError, Judge, compare, reason_of
from benchmarks.gpu.models import TINY, OurGraphs, load_peer, our_graphs, random_checkpoint
from benchmarks.gpu.peak import data_sheet, measured
from benchmarks.gpu.peers import peer_graphs
from benchmarks.gpu.results import Results, save_results
from benchmarks.graphs.batches import Batch
from benchmarks.graphs.measure import operations

Shapes = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Bench:
    """One part that times batches, or lists their kernels: (texts, places) of each, in one precision."""

    precision: str
    shapes: Shapes


TESTS, KERNELS = "tests", "kernels"
#: Of the time that is left, the share that tests may take: where they hang, the rest is measured all the same.
_TESTS_SHARE = 0.6
#: Kernels are listed last: the profiler stays in the process. fp32 has few shapes: the aims are those of fp16.
PARTS: dict[str, Bench | None] = {
    TESTS: None,
    **{f"bench-{length}": Bench("fp16", tuple((rows, length) for rows in SIZES)) for length in LENGTHS},
    "bench-fp32": Bench("fp32", ((128, 128), (8, 128), (1, 16))),
    KERNELS: Bench("fp16", ((128, 128), (1, 16))),
}
#: The same for a rehearsal.
REHEARSAL: dict[str, Bench | None] = {
    "bench-16": Bench("fp32", ((4, 16), (1, 16))),
    KERNELS: Bench("fp32", ((4, 16),)),
}


class OutOfTimeError(Exception):
    """The budget is used up; what was found is in the file."""


@dataclass(frozen=True)
class Run:
    """What all parts share.

    Args:
        machine: opened when a part first needs it: tests run in a process of their own, and want the GPU to themselves.
        results, path: what was found, and its file.
        work: takes graphs and reports.
        seconds: about how long a batch is measured.
        deadline: of `time.monotonic`, after which no batch is begun.
        rehearsal: a tiny model.
    """

    machine: Callable[[], Machine]
    results: Results
    path: Path
    work: Path
    seconds: float
    deadline: float
    rehearsal: bool = False

    def save(self) -> None:
        """Write the file."""
        save_results(self.results, self.path)

    def check_time(self) -> None:
        """Raises OutOfTimeError."""
        if time.monotonic() > self.deadline:
            raise OutOfTimeError


@dataclass(frozen=True)
class Rivals:
    """All competitors of one precision, open, and the model that they are compared with."""

    ours: OurGraphs
    engines: list[Engine]
    judge: Callable[[Batch], Judge]


def run_part(run: Run, name: str, part: Bench | None, opened: dict[str, Rivals]) -> None:
    """Do what is not done yet of one part.

    Args:
        opened: competitors by precision, kept from part to part.

    Raises:
        OutOfTimeError, GpuLostError: the file has what was found.
    """
    if part is None:
        _test(run)
        return
    wanted = [
        (rows, length) for rows, length in part.shapes if not _done(run.results, name, part.precision, rows, length)
    ]
    if not wanted:
        return
    run.check_time()
    machine = run.machine()
    if part.precision not in opened:
        opened[part.precision] = open_rivals(run, machine, part.precision)
    for rows, length in wanted:
        rivals = opened[part.precision]
        for batch in batches(rows, length, rivals.ours.config.vocab_size):
            run.check_time()
            if name == KERNELS:
                _list_kernels(run, machine, part.precision, batch, rivals)
            elif run.results.find(part.precision, batch.name) is None:
                _time_batch(run, machine, part.precision, batch, rivals)


def open_rivals(run: Run, machine: Machine, precision: str) -> Rivals:
    """Make the graphs that are not there yet, and open everything."""
    checkpoint = random_checkpoint(run.work, TINY if run.rehearsal else {})
    ours = our_graphs(checkpoint, run.work, precision, run.rehearsal)
    peers, refused = peer_graphs(checkpoint, run.work, precision)
    eager = load_peer(checkpoint, "eager", machine.device)
    _measure_peak(run.results, machine, precision)
    engines, closed = open_engines(machine, ours, peers, checkpoint, precision)
    run.results.refused[precision] = refused | closed
    run.save()
    return Rivals(ours, engines, lambda batch: judge_of(eager, machine.device, batch.inputs))


def is_complete(results: Results, name: str, part: Bench | None) -> bool:
    """Whether nothing of a part is left to do. Tests that failed are run again."""
    if part is None:
        return bool(results.tests) and all(test.outcome != "failed" for test in results.tests)
    return all(_done(results, name, part.precision, rows, length) for rows, length in part.shapes)


def _done(results: Results, name: str, precision: str, rows: int, length: int) -> bool:
    names = [f"{rows}x{length}", *([f"{rows}x{length} half"] if rows > 1 else [])]
    if name == KERNELS:
        return all(f"{precision} {batch}" in results.kernels for batch in names)
    return all(results.find(precision, batch) is not None for batch in names)


def _test(run: Run) -> None:
    if not is_complete(run.results, TESTS, None):
        run.results.tests = run_tests(run.work, _TESTS_SHARE * (run.deadline - time.monotonic()))
        run.save()


def _time_batch(run: Run, machine: Machine, precision: str, batch: Batch, rivals: Rivals) -> None:
    needed = operations(rivals.ours.config, batch.lengths)
    key = f"{precision} {batch.name}"
    try:
        judge = rivals.judge(batch)
        lost = run.results.lost.get(key, {})
        row = compare(rivals.engines, judge, batch, precision, needed, run.seconds, machine.wait, lost)
    except GpuLostError as error:
        run.results.lost.setdefault(key, {})[error.engine] = error.reason
        run.save()
        raise
    row = msgspec.structs.replace(row, clocks=machine.clocks())
    run.results.rows.append(row)
    run.save()
    told = ", ".join(f"{one.name} {one.median * 1e3:.3g} ms" for one in row.timings)
    print(f"{key}: {told or 'nothing ran'}", file=sys.stderr, flush=True)


def _list_kernels(run: Run, machine: Machine, precision: str, batch: Batch, rivals: Rivals) -> None:
    found: dict[str, list[tuple[str, float]]] = {}
    for engine in rivals.engines:
        try:
            found[engine.name] = kernels(engine.prepare(batch.inputs).run, machine.wait, machine.device)
        except Exception as error:
            found[engine.name] = [(reason_of(error), 0.0)]
    run.results.kernels[f"{precision} {batch.name}"] = found
    run.save()


def _measure_peak(results: Results, machine: Machine, precision: str) -> None:
    import torch

    dtype = torch.float16 if precision == "fp16" else torch.float32
    side = torch.randn(machine.side, machine.side, device=machine.device, dtype=dtype)
    results.measured[precision] = measured(lambda: side @ side, machine.wait, machine.side)
    sheet = data_sheet(results.device.name, precision)
    if sheet is not None:
        results.sheets[precision] = sheet
