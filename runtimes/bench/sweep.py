"""Latency of one call against the length of its texts and against their number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bert_onnx.artifact import Artifact
from runtimes.bench.queries import Progress, Subject
from runtimes.bench.scenarios import Probe
from runtimes.selection.open import open_best
from runtimes.selection.request import RuntimeRequest

#: Tokens of a single text, and texts of a call of `BATCH_LENGTH` tokens each.
LENGTHS = (8, 16, 32, 64, 128, 256, 512)
BATCHES = (1, 2, 4, 8, 16, 32)
BATCH_LENGTH = 32
#: Calls of a cell at least, however long they take.
_FEWEST = 5


@dataclass(frozen=True)
class Sweep:
    """Latencies of one variant on one runtime.

    Args:
        variant, precision, runtime: what ran.
        by_length: calls of one text, by its tokens.
        by_batch: calls of `BATCH_LENGTH` tokens a text, by the number of texts.
    """

    variant: str
    precision: str
    runtime: str
    by_length: dict[int, Probe]
    by_batch: dict[int, Probe]


def sweep(artifact: Artifact, variant: str, seconds: float, progress: Progress) -> Sweep:
    """Measure `variant` for about `seconds` in all.

    Raises:
        RuntimeUnavailableError: nothing here runs it.
        InferenceError: the graph failed.
    """
    choice, runtime, _ = open_best(artifact, RuntimeRequest(variant))
    longest = artifact.manifest.longest_text
    lengths = [length for length in LENGTHS if length <= longest] or [longest]
    calls = [[n] for n in lengths] + [[min(BATCH_LENGTH, longest)] * n for n in BATCHES]
    try:
        subject = Subject(runtime, artifact.manifest)
        found = []
        for number, probe in enumerate(_cells(subject, calls, seconds / len(calls))):
            progress(f"measuring {variant}", number / len(calls))
            found.append(probe)
        name = runtime.describe().name
    finally:
        runtime.close()
    by_length = dict(zip(lengths, found, strict=False))
    by_batch = dict(zip(BATCHES, found[len(lengths) :], strict=True))
    return Sweep(choice.variant.name, choice.precision, name, by_length, by_batch)


def _cells(subject: Subject, calls: list[list[int]], seconds: float) -> Iterator[Probe]:
    for lengths in calls:
        subject.run(lengths)  # the first call of a shape allocates
        latencies: list[float] = []
        while len(latencies) < _FEWEST or sum(latencies) < seconds * 1000:
            latencies.append(subject.seconds(lengths) * 1000)
        yield Probe(tuple(latencies), samples=len(lengths))
