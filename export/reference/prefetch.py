"""Eager outputs that a second process computes, while this one traces and writes.

Tracing keeps one core busy, and so does the eager model's arithmetic for most of the time that verification takes. The
second process loads the same checkpoint and runs what it is asked, in order. docs/adr/0007-second-process.md has what
it saves. This module loads no torch, so that the second process can say how its threads wait before torch does.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING

import numpy as np

from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.reading import tensor_names
from bert_onnx.config import BertConfig
from bert_onnx.tasks import Task, TaskOptions
from export.reference.computed import Computed, Expected, Prefetch
from runtimes.machine.cpu import usable_threads

if TYPE_CHECKING:
    from export.reference.runtime import Reference


#: Parameters from which on a second process saves more than it costs.
WORTH_A_PROCESS = 40_000_000

#: The second process yields to the one that traces.
_NICENESS = 5

#: In the second process: the model, once it is loaded.
_loaded: list[Reference] = []


@dataclass(frozen=True)
class ReferenceLoader:
    """Makes the eager model of a checkpoint, in this process or in the second one; its arguments are `load_eager`'s."""

    checkpoint: Checkpoint
    task: Task
    options: TaskOptions
    allow_new_heads: bool = False
    strict_weights: bool = False

    def __call__(self, prefetch: Prefetch | None = None) -> Reference:
        """The model; what it is expected to run it has from `prefetch`."""
        from export.reference.load import load_eager
        from export.reference.runtime import Reference

        eager = load_eager(
            self.checkpoint,
            self.task,
            self.options,
            allow_new_heads=self.allow_new_heads,
            strict_weights=self.strict_weights,
        )
        return Reference(eager, prefetch)


@contextmanager
def prefetching(load: ReferenceLoader) -> Iterator[Prefetch | None]:
    """A second process at work on the model; None where it would cost more than it saves, or cannot start.

    It imports the main module of this process, as multiprocessing does it. Entered before this process imports torch,
    both import it side by side.
    """
    if usable_threads() == 1 or _parameters(load.checkpoint) < WORTH_A_PROCESS:
        yield None
        return
    with ProcessPoolExecutor(1, get_context("spawn"), _begin) as pool:

        def prefetch(groups: Iterable[Sequence[Expected]]) -> list[Future[list[Computed]]]:
            futures = [pool.submit(_run, group) for group in groups]
            pool.submit(os._exit, 0)  # its memory is free as soon as its work is done
            return futures

        started = False
        with suppress(OSError):  # no such program, no memory
            pool.submit(_load, load, _threads())
            started = True
        try:
            yield prefetch if started else None
        finally:
            pool.shutdown(cancel_futures=True)


def _parameters(checkpoint: Checkpoint) -> int:
    """Numbers in the weights; of random ones about how many the config implies."""
    if checkpoint.source.kind == "random":
        return _parameters_of(checkpoint.config)
    return sum(int(np.prod(tensor.shape)) for tensor in tensor_names(checkpoint).values())


def _parameters_of(config: BertConfig) -> int:
    D, F = config.hidden_size, config.intermediate_size
    tables = (config.vocab_size + config.max_position_embeddings) * config.embedding_width
    return tables + config.own_layers * (4 * D * D + 2 * D * F)


def _begin() -> None:
    """In the second process: quiet, of lower priority, and gone when the first one is."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    # Two processes share the cores, so threads that wait must sleep. Their number must stay: sums depend on it.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _threads() -> int | None:
    """How many torch uses in this process; None where it is not imported yet, and has what it takes by itself."""
    return sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None


def _load(load: ReferenceLoader, threads: int | None) -> None:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    _loaded.append(load())


def _run(group: Sequence[Expected]) -> list[Computed]:
    return _loaded[0].compute_together(group)
