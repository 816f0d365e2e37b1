"""Times engines on a GPU side by side: in every round each of them runs once, in an order of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.gpu.results import Row, Timing
from benchmarks.graphs.batches import Batch

Inputs = dict[str, np.ndarray]
#: The largest difference of some last hidden state, [B, S, D], from the eager model in float32, at real tokens.
Judge = Callable[[Any], float]

#: How far an engine may be from the eager model in float32, at most, to be timed at all: 12 layers of bert-base round
#: to a fraction of this, and a mask that is overlooked moves states by more than 1.
LIMITS = {"fp32": 1e-3, "fp16": 0.1}
#: A measurement repeats a forward pass until it has taken this long.
_SHORTEST_SECONDS = 0.02
#: Rounds of one batch: until its time is over, but at least and at most so many.
_LEAST_ROUNDS, _MOST_ROUNDS = 5, 31


class GpuLostError(Exception):
    """After what `engine` did, nothing runs on the GPU any more in this process."""

    def __init__(self, engine: str, reason: str) -> None:
        super().__init__(f"{engine}: {reason}")
        self.engine, self.reason = engine, reason


@dataclass(frozen=True)
class Prepared:
    """An engine with a batch that lies on the GPU, all buffers bound.

    Args:
        run: starts one forward pass; it need not wait for its end.
        output: the last hidden state of another one, [B, S, D], on the GPU, once it is there.
    """

    run: Callable[[], object]
    output: Callable[[], Any]


@dataclass(frozen=True)
class Engine:
    """One competitor: `prepare` brings a batch to the GPU, which is not measured.

    Args:
        name, ours: who it is.
        most: places of a batch, padding included, up to which it takes part; None: in all.
    """

    name: str
    ours: bool
    prepare: Callable[[Inputs], Prepared]
    most: int | None = None

    def takes(self, batch: Batch) -> bool:
        """Whether it takes part on `batch`."""
        return self.most is None or batch.inputs["input_ids"].size <= self.most


def compare(
    engines: Sequence[Engine],
    judge: Judge,
    batch: Batch,
    precision: str,
    needed: float,
    seconds: float,
    wait: Callable[[], object],
    lost: Mapping[str, str],
) -> Row:
    """Time `engines` on `batch` for about `seconds`. An engine with wrong outputs is not timed.

    Args:
        needed: operations that the real tokens need.
        wait: returns when the GPU has done all that was started.
        lost: engines that are left out, and why.

    Raises:
        GpuLostError: the GPU cannot be used any more.
    """
    ready: dict[str, Prepared] = {}
    repeats: dict[str, int] = {}
    differences: dict[str, float] = {}
    failed = dict(lost)
    for engine in engines:
        if engine.name in lost or not engine.takes(batch):
            continue
        try:
            prepared, differences[engine.name] = _checked(engine, batch, judge, LIMITS[precision])
            _time(prepared.run, 1, wait)
            once = _time(prepared.run, 1, wait)
        except Exception as error:  # no memory for this shape, or no kernel: a finding, and the others go on
            failed[engine.name] = reason_of(error)
            _check_gpu(engine.name, failed[engine.name], wait)
            continue
        ready[engine.name], repeats[engine.name] = prepared, max(1, round(_SHORTEST_SECONDS / once))
    times = _rounds(ready, repeats, seconds, wait)
    timings = [
        Timing(engine.name, engine.ours, times[engine.name], differences[engine.name])
        for engine in engines
        if engine.name in ready
    ]
    rows, length = batch.inputs["attention_mask"].shape
    return Row(precision, batch.name, rows, length, int(batch.lengths.sum()), needed, timings, failed)


def reason_of(error: Exception) -> str:
    """What went wrong, in a line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:160]}"


def _checked(engine: Engine, batch: Batch, judge: Judge, limit: float) -> tuple[Prepared, float]:
    """The engine with `batch`, and its difference. Raises ValueError: that is more than `limit`, or not a number."""
    prepared = engine.prepare(batch.inputs)
    difference = judge(prepared.output())
    if not difference <= limit:
        raise ValueError(f"outputs differ by {difference:.3g} from eager torch, and may by {limit:g}")
    return prepared, difference


def _check_gpu(engine: str, reason: str, wait: Callable[[], object]) -> None:
    try:
        wait()
    except Exception as error:
        raise GpuLostError(engine, reason) from error


def _rounds(
    ready: Mapping[str, Prepared], repeats: Mapping[str, int], seconds: float, wait: Callable[[], object]
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in ready}
    rng, started, names = np.random.default_rng(0), time.monotonic(), list(ready)
    for number in range(_MOST_ROUNDS):
        if number >= _LEAST_ROUNDS and time.monotonic() - started > seconds:
            break
        for place in rng.permutation(len(names)):
            name = names[place]
            times[name].append(_time(ready[name].run, repeats[name], wait))
    return times


def _time(call: Callable[[], object], repeats: int, wait: Callable[[], object]) -> float:
    """Seconds of one call, the GPU's work included."""
    wait()
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    wait()
    return (time.perf_counter() - started) / repeats
