"""Times engines on a GPU side by side: in every round each of them runs once, in an order of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.graphs.batches import Batch
from benchmarks.graphs.measure import Timing

Inputs = dict[str, np.ndarray]

#: A measurement repeats a forward pass until it has taken this long.
_SHORTEST_SECONDS = 0.05
#: Rounds of one batch: until its time is over, but at least and at most so many.
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 31


@dataclass(frozen=True)
class Prepared:
    """An engine with a batch that lies on the GPU.

    Args:
        run: starts one forward pass; it need not wait for its end.
        answer: the last hidden state of another one, [B, S, D], on the host.
    """

    run: Callable[[], object]
    answer: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Engine:
    """One competitor: `prepare` brings a batch to the GPU, which is not measured."""

    name: str
    ours: bool
    prepare: Callable[[Inputs], Prepared]


@dataclass(frozen=True)
class Row:
    """All engines of one precision on one batch.

    Args:
        batch: what they ran on.
        precision: `fp32` or `fp16`.
        timings: one entry for each engine that could run it.
        needed: floating point operations that the batch's real tokens need.
        failed: what the others said.
    """

    batch: Batch
    precision: str
    timings: tuple[Timing, ...]
    needed: float
    failed: dict[str, str] = field(default_factory=dict)

    def find(self, name: str) -> Timing | None:
        """The timing of one engine; None where it could not run this batch."""
        return next((timing for timing in self.timings if timing.name == name), None)

    def best(self, ours: bool) -> Timing | None:
        """The fastest of our graphs, or of the peers; None where none ran."""
        return min((one for one in self.timings if one.ours is ours), key=lambda one: one.median, default=None)

    def share(self, timing: Timing, peak: float) -> float:
        """Operations on real tokens a second, as a share of `peak`, operations a second."""
        return self.needed / timing.median / peak


def compare(
    engines: Sequence[Engine],
    reference: Callable[[Inputs], np.ndarray],
    batch: Batch,
    precision: str,
    needed: float,
    seconds: float,
    wait: Callable[[], object],
) -> Row:
    """Time `engines` on `batch` for about `seconds`.

    Args:
        reference: the eager model in float32; differences are from it, at real tokens.
        needed: operations that the real tokens need.
        wait: returns when the GPU has done all that was started.
    """
    expected, real = reference(batch.inputs), batch.inputs["attention_mask"][..., None] > 0
    ready: dict[str, Prepared] = {}
    repeats: dict[str, int] = {}
    differences: dict[str, float] = {}
    failed: dict[str, str] = {}
    for engine in engines:
        try:
            prepared = engine.prepare(batch.inputs)
            differences[engine.name] = float(np.abs(np.where(real, prepared.answer() - expected, 0)).max())
            once = _time(prepared.run, 1, wait)
        except Exception as error:  # no memory for this shape, or no kernel: a finding, and the others go on
            failed[engine.name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"
            continue
        ready[engine.name], repeats[engine.name] = prepared, max(1, round(_SHORTEST_SECONDS / once))
    times: dict[str, list[float]] = {name: [] for name in ready}
    rng, started, names = np.random.default_rng(0), time.monotonic(), list(ready)
    for number in range(_MOST_ROUNDS):
        if number >= _LEAST_ROUNDS and time.monotonic() - started > seconds:
            break
        for place in rng.permutation(len(names)):
            name = names[place]
            times[name].append(_time(ready[name].run, repeats[name], wait))
    timings = tuple(
        Timing(engine.name, engine.ours, np.array(times[engine.name]), differences[engine.name])
        for engine in engines
        if engine.name in ready
    )
    return Row(batch, precision, timings, needed, failed)


def _time(call: Callable[[], object], repeats: int, wait: Callable[[], object]) -> float:
    """Seconds of one call, the GPU's work included."""
    wait()
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    wait()
    return (time.perf_counter() - started) / repeats
