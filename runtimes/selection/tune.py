"""Measures every runtime, variant and thread count on this machine, in turns, and keeps what is fastest here."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bert_onnx.artifact import Artifact, Manifest
from bert_onnx.errors import (
    ArtifactError,
    InferenceError,
    RuntimeUnavailableError,
    UsageError,
)
from bert_onnx.tasks import BATCH, CHOICES, ENCODER_SEQUENCE, PAST, SEQUENCE, Port, arrays_for
from runtimes.engines.table import RUNTIMES
from runtimes.machine.cpu import usable_threads
from runtimes.machine.devices import has_gpu
from runtimes.machine.processor import Processor, this_processor
from runtimes.selection.open import open_choice
from runtimes.selection.select import RuntimeChoice
from runtimes.selection.tuned import Tuned, TunedRow, installed_libraries, save_tuned, tuned_path

Progress = Callable[[str, float], None]

#: Lengths of the texts of one call, in tokens, for each purpose: a mixed batch, and one short text.
WORKLOADS: dict[str, tuple[int, ...]] = {
    "throughput": (5, 8, 9, 11, 12, 14, 16, 18, 20, 23, 26, 31, 38, 48, 70, 128),
    "latency": (16,),
}
#: How many of the fastest are measured with other thread counts, too.
_FINALISTS = 3
_ROUNDS = 2


@dataclass(frozen=True)
class Skipped:
    """What could not be measured, and why."""

    runtime: str
    variant: str
    why: str


@dataclass(frozen=True)
class TuneReport:
    """What was measured, fastest first; what was not; and where the result is kept."""

    tuned: Tuned
    skipped: tuple[Skipped, ...]
    kept_in: str

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self.tuned), "skipped": [asdict(item) for item in self.skipped], "kept_in": self.kept_in}


def tune(
    folder: str | os.PathLike[str],
    purpose: str = "throughput",
    seconds: float = 1.0,
    progress: Progress = lambda step, share: None,
) -> TuneReport:
    """Measure the artifact in `folder` and keep the result, which `runtimes.load` uses from then on.

    Each candidate is opened anew in every round, so that idle threads of others do not disturb it.

    Args:
        purpose: a row of `WORKLOADS`.
        seconds: how long each candidate is measured in all.
        progress: called with what is measured and the share that is done.

    Raises:
        UsageError: an option that does not exist.
        ArtifactError: the folder is missing, damaged or changed.
        RuntimeUnavailableError: nothing here can run any of its variants.
        StorageError: the result cannot be kept.
    """
    if purpose not in WORKLOADS:
        raise UsageError(f"purpose {purpose!r} is unknown; choose {' or '.join(WORKLOADS)}.")
    if not 0 < seconds <= 600:
        raise UsageError(f"seconds is {seconds}; it must be more than 0 and at most 600.")
    artifact = Artifact.open(folder)
    processor, threads = this_processor(), usable_threads()
    inputs = workload(artifact.manifest, WORKLOADS[purpose])
    bench = _Bench(artifact, inputs, seconds / _ROUNDS, progress)
    bench.measure(candidates(artifact.manifest, processor, threads), 0.0, 0.7)
    best = bench.fastest()[:_FINALISTS]
    bench.measure([replace(choice, threads=n) for choice in best for n in _other_counts(choice, threads)], 0.7, 1.0)
    if not bench.times:
        raise bench.nothing()
    tuned = Tuned(
        purpose, tuple(_row(choice, bench.milliseconds(choice)) for choice in bench.fastest()), installed_libraries()
    )
    path = tuned_path(artifact.manifest_sha256, processor, threads)
    save_tuned(path, tuned)
    return TuneReport(tuned, tuple(bench.skipped.values()), str(path))


def workload(manifest: Manifest, lengths: Iterable[int]) -> dict[str, np.ndarray]:
    """Inputs for one call: random ids in rows of `lengths` tokens, cut to what the model takes, padded on the right."""
    limits = manifest.config
    rows = [min(length, manifest.longest_text) for length in lengths]
    sizes = {BATCH: len(rows), SEQUENCE: max(rows), CHOICES: 2, PAST: 0, ENCODER_SEQUENCE: max(rows)}
    random = np.random.default_rng(0)

    def make(port: Port, shape: tuple[int, ...]) -> np.ndarray:
        if port.name == "input_ids":
            return random.integers(0, limits.vocab_size, shape)
        if "mask" in port.name:
            real = np.arange(shape[-1]) < np.array(rows)[:, None]  # [B, S]
            return np.broadcast_to(real.reshape(len(rows), *[1] * (len(shape) - 2), -1), shape).astype(int)
        return np.zeros(shape, port.dtype)

    return arrays_for(manifest.inputs, sizes, make)


def candidates(manifest: Manifest, processor: Processor, threads: int) -> list[RuntimeChoice]:
    """Every variant on every runtime that `load` may choose here, with all threads."""
    found = []
    for row in RUNTIMES.values():
        if not row.automatic or row.missing_modules() or (row.device == "cuda" and not has_gpu()):
            continue
        for variant in manifest.variants:
            if not row.can_run(variant.target, variant.precision):
                continue
            if variant.precision == "int8" and processor.saturates(variant.isa):
                continue
            computes = row.compute if variant.precision == "fp32" else ("fp32",)
            found += [RuntimeChoice(row, variant, compute, threads, "measured") for compute in computes]
    return found


class _Bench:
    """Runs candidates in turns and remembers their times."""

    def __init__(self, artifact: Artifact, inputs: dict[str, np.ndarray], seconds: float, progress: Progress) -> None:
        self.artifact = artifact
        self.inputs = inputs
        self.seconds = seconds
        self.progress = progress
        self.times: dict[tuple[str, ...], list[float]] = {}
        self._choices: dict[tuple[str, ...], RuntimeChoice] = {}
        self.skipped: dict[tuple[str, ...], Skipped] = {}
        self._last_error: Exception | None = None

    def measure(self, choices: list[RuntimeChoice], begin: float, end: float) -> None:
        """Rounds of all `choices`; the order turns around from round to round."""
        total, done = _ROUNDS * len(choices), 0
        for number in range(_ROUNDS):
            for choice in choices if number % 2 == 0 else reversed(choices):
                share = begin + (end - begin) * done / total
                self.progress(f"{choice.row.name} {choice.variant.name} {choice.precision} x{choice.threads}", share)
                done += 1
                if _key(choice) not in self.skipped:
                    self._measure_one(choice)

    def _measure_one(self, choice: RuntimeChoice) -> None:
        try:
            runtime = open_choice(self.artifact, choice)
            try:
                runtime.run(self.inputs)  # the first call allocates
                until = time.perf_counter() + self.seconds
                self._choices[_timed(choice)] = choice
                times = self.times.setdefault(_timed(choice), [])
                while True:
                    begun = time.perf_counter()
                    runtime.run(self.inputs)
                    times.append(time.perf_counter() - begun)
                    if time.perf_counter() >= until:
                        break
            finally:
                runtime.close()
        except (ArtifactError, InferenceError, RuntimeUnavailableError) as error:
            self.times.pop(_timed(choice), None)
            self.skipped[_key(choice)] = Skipped(choice.row.name, choice.variant.name, str(error))
            self._last_error = error

    def milliseconds(self, choice: RuntimeChoice) -> float:
        """Median of its calls."""
        return statistics.median(self.times[_timed(choice)]) * 1000

    def fastest(self) -> list[RuntimeChoice]:
        """Those that were measured, the fastest first."""
        return sorted((self._choices[key] for key in self.times), key=self.milliseconds)

    def nothing(self) -> RuntimeUnavailableError:
        """The error of a machine on which nothing ran."""
        reason = f" ({self._last_error})" if self._last_error else ""
        return RuntimeUnavailableError(
            f"nothing here runs {self.artifact.folder}{reason}; `bert-onnx doctor` shows what is missing."
        )


def _key(choice: RuntimeChoice) -> tuple[str, ...]:
    return choice.row.name, choice.variant.name, choice.compute


def _timed(choice: RuntimeChoice) -> tuple[str, ...]:
    return (*_key(choice), str(choice.threads))


def _row(choice: RuntimeChoice, milliseconds: float) -> TunedRow:
    return TunedRow(
        choice.row.name,
        choice.variant.name,
        choice.precision,
        choice.compute,
        choice.threads or 1,
        round(milliseconds, 4),
        choice.compute == "fp32",
    )


def _other_counts(choice: RuntimeChoice, threads: int) -> list[int]:
    """Half the threads, and one, beside all of them; a GPU does not care."""
    return sorted({1, max(1, threads // 2)} - {threads}) if choice.row.device == "cpu" else []
