"""A runtime that puts its rows into a model's queue and waits: what a pipeline has in place of its own in a server."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from bert_onnx.tasks import SEQUENCE, Port
from runtimes.engines.base import Runtime, RuntimeDescription, chosen_outputs
from runtimes.pipelines.encoding import Window
from runtimes.server.batching.scheduler import Lane, Scheduler
from runtimes.server.batching.work import Group, Ticket, Work
from runtimes.server.refusals import TooLargeError
from runtimes.server.sparse_rows import KeptTokens, SparseRow

#: Most numbers that are kept for one call of a pipeline: 32 MiB.
_KEPT_NUMBERS = 1 << 23
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
    """The graph of `runtime`, run by a scheduler together with the rows of others; see `Runtime`.

    Args:
        kept: outputs are by token, and those of tokens with this id alone are read; all others are zeros.
    """

    def __init__(self, runtime: Runtime, scheduler: Scheduler, lane: Lane, kept: int | None = None) -> None:
        self.name = runtime.name
        self.inputs = runtime.inputs
        self.outputs = runtime.outputs
        self._runtime = runtime
        self._scheduler = scheduler
        self._lane = lane
        self._kept = kept

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """As `Runtime.run`, for rows that are padded on the right; of choices [B, C, S] each is a row.

        Raises:
            RefusalError: the request ended meanwhile, or has too many tokens.
        """
        names = tuple(chosen_outputs(self.outputs, outputs))
        self._check_kept(inputs["input_ids"])
        done = threading.Event()
        work = Work(_ticket.get(), group_of(names, inputs, self._kept), rows_of(inputs), lambda work: done.set())
        self._scheduler.submit(self._lane, work)
        done.wait()
        if work.error is not None:
            raise work.error
        return outputs_of(work, self.outputs, inputs["input_ids"].shape)

    def _check_kept(self, ids: np.ndarray) -> None:
        """Raises TooLargeError: too much would have to be kept of `ids` [B, S]."""
        if self._kept is None:
            return
        count, width = int((ids == self._kept).sum()), max(int(port.axes[-1]) for port in self.outputs)
        if count * width > _KEPT_NUMBERS:
            most = _KEPT_NUMBERS // width
            raise TooLargeError(f"texts that run together have {count} masks, and may have {most}; send fewer at once.")

    def describe(self) -> RuntimeDescription:
        """What runs."""
        return self._runtime.describe()

    def close(self) -> None:
        """Give back what the runtime holds."""
        self._runtime.close()


def group_of(names: tuple[str, ...], inputs: Mapping[str, np.ndarray], kept: int | None = None) -> Group:
    """Which rows may run beside those of `inputs`, of which the outputs `names` are wanted."""
    return Group(names, tuple((name, int(array[0])) for name, array in inputs.items() if name not in _ROWS), kept)


def rows_of(inputs: Mapping[str, np.ndarray], hidden_counts: bool = False) -> list[Window]:
    """A row for each of [B, S] or [B, C, S], which are padded on the right.

    Args:
        hidden_counts: what the mask hides is no padding: there are outputs for it.
    """
    width = inputs["input_ids"].shape[-1]
    ids, mask = (inputs[name].reshape(-1, width) for name in ("input_ids", "attention_mask"))
    types = inputs.get("token_type_ids", np.zeros_like(ids)).reshape(-1, width)
    rows = []
    for index, seen in enumerate(mask.sum(axis=1).tolist()):
        size = width if hidden_counts else seen
        kept = None if size == seen else seen
        rows.append(Window(index, ids[index, :size].tolist(), types[index, :size].tolist(), seen=kept))
    return rows


def outputs_of(work: Work, ports: Sequence[Port], shape: Sequence[int]) -> dict[str, np.ndarray]:
    """The outputs of `work`, whose rows were input_ids of `shape`; zeros stand for padding."""
    *outer, width = shape
    by_token = {port.name for port in ports if SEQUENCE in port.axes}
    stacked = {name: _stacked(work, name, width if name in by_token else None) for name in work.group.outputs}
    return stacked if len(outer) == 1 else {name: array.reshape(outer) for name, array in stacked.items()}


def _stacked(work: Work, name: str, width: int | None) -> np.ndarray:
    """[B, ...] of `work`; of an output with a value for every token, padded with zeros to `width`."""
    results = [one.dense() if isinstance(one, SparseRow) else one for one in (row[name] for row in work.results)]
    if width is None:
        return np.stack(results)
    first = results[0].values if isinstance(results[0], KeptTokens) else results[0]
    stacked = np.zeros((len(results), width, *first.shape[1:]), first.dtype)
    for index, (row, result) in enumerate(zip(work.rows, results, strict=True)):
        if isinstance(result, KeptTokens):  # memory of zeros that nobody writes to or reads is never had
            stacked[index, result.places] = result.values
        else:
            stacked[index, : row.length] = result[: row.length]
    return stacked
