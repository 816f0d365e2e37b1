"""A runtime that puts its rows into a model's queue and waits: what a pipeline has in place of its own in a server."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from bert_onnx.tasks import SEQUENCE
from runtimes.engines.base import Runtime, RuntimeDescription, chosen_outputs
from runtimes.pipelines.encoding import Window
from runtimes.server.batching.scheduler import Lane, Scheduler
from runtimes.server.batching.work import Group, Ticket, Work

_ROWS = ("input_ids", "attention_mask", "token_type_ids")
_ticket: ContextVar[Ticket] = ContextVar("ticket")


@contextmanager
def on_behalf_of(ticket: Ticket) -> Iterator[None]:
    """Rows that this thread runs meanwhile are of `ticket`."""
    token = _ticket.set(ticket)
    try:
        yield
    finally:
        _ticket.reset(token)


class QueuedRuntime:
    """The graph of `runtime`, run by a scheduler together with the rows of others; see `Runtime`."""

    def __init__(self, runtime: Runtime, scheduler: Scheduler, lane: Lane) -> None:
        self.name = runtime.name
        self.inputs = runtime.inputs
        self.outputs = runtime.outputs
        self._runtime = runtime
        self._scheduler = scheduler
        self._lane = lane

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """As `Runtime.run`, for rows that are padded on the right; of choices [B, C, S] each is a row.

        Raises:
            RefusalError: the request ended meanwhile, or has too many tokens.
        """
        *outer, width = inputs["input_ids"].shape
        names = tuple(chosen_outputs(self.outputs, outputs))
        further = tuple((name, int(array[0])) for name, array in inputs.items() if name not in _ROWS)
        done = threading.Event()
        work = Work(_ticket.get(), Group(names, further), _windows(inputs), lambda work: done.set())
        self._scheduler.submit(self._lane, work)
        done.wait()
        if work.error is not None:
            raise work.error
        by_token = {port.name for port in self.outputs if SEQUENCE in port.axes}
        stacked = {name: _stacked(work, name, width if name in by_token else None) for name in names}
        return stacked if len(outer) == 1 else {name: array.reshape(outer) for name, array in stacked.items()}

    def describe(self) -> RuntimeDescription:
        """What runs."""
        return self._runtime.describe()

    def close(self) -> None:
        """Give back what the runtime holds."""
        self._runtime.close()


def _windows(inputs: Mapping[str, np.ndarray]) -> list[Window]:
    width = inputs["input_ids"].shape[-1]
    all_ids, all_types, mask = (
        inputs[name].reshape(-1, width) for name in ("input_ids", "token_type_ids", "attention_mask")
    )
    rows = zip(all_ids, all_types, mask.sum(axis=1), strict=True)
    return [Window(index, ids[:size].tolist(), types[:size].tolist()) for index, (ids, types, size) in enumerate(rows)]


def _stacked(work: Work, name: str, width: int | None) -> np.ndarray:
    """[B, ...] of `work`; of an output with a value for every token, padded with zeros to `width`."""
    results = [result[name] for result in work.results]
    if width is None:
        return np.stack(results)
    stacked = np.zeros((len(results), width, *results[0].shape[1:]), results[0].dtype)
    for index, (row, result) in enumerate(zip(work.rows, results, strict=True)):
        stacked[index, : row.length] = result[: row.length]
    return stacked
