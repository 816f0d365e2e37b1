"""Slices on this machine's cores: in this process, or in processes that it forks, which share its weights."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from bert_onnx.errors import InferenceError
from runtimes.embed_files.embedder import Embedder
from runtimes.machine.cpu import allowed_cpus
from runtimes.parquet import import_pyarrow
from runtimes.scale.engine import EngineJob
from runtimes.scale.slices import Slice
from runtimes.scale.work import Receipt, Worker

#: How often in a row workers may die before any of them completes a part.
_ATTEMPTS = 3
_LOOK = 0.5


def run(job: EngineJob) -> Iterator[Receipt]:
    """Receipts as parts are done.

    Raises:
        InferenceError: workers die again and again.
        What a worker raises.
    """
    embedder = Embedder(job.work.embedder, job.model)
    if (job.workers or 1) == 1:
        yield from map(Worker(job.work, embedder), job.pieces)
        return
    rest, losses = list(job.pieces), 0
    while rest:
        done: set[str] = set()
        try:
            for piece, receipt in _run_pool(job, embedder, rest):
                done.add(piece.part)
                yield receipt
        except BrokenProcessPool:
            pass
        rest = [piece for piece in rest if piece.part not in done]
        losses = 0 if done else losses + 1
        if losses == _ATTEMPTS:
            raise InferenceError(
                f"workers were killed {_ATTEMPTS} times before any part was done; the system kills what takes too much "
                "memory: take fewer --workers. What is done is kept, --resume goes on."
            )


def _run_pool(job: EngineJob, embedder: Embedder, pieces: list[Slice]) -> Iterator[tuple[Slice, Receipt]]:
    """Slices with their receipts, in the order in which they are done, until all are or a worker dies."""
    context = multiprocessing.get_context("fork")
    cores = context.SimpleQueue()
    for some in _shares(job.workers or 1, job.threads):
        cores.put(some)
    # What is imported or collected only after the fork is in memory once for each worker.
    import_pyarrow("compute")
    gc.collect()
    gc.freeze()
    held = job.model.runtime if _survives_fork(job) else None
    with ProcessPoolExecutor(job.workers, context, _begin, (job, embedder, held, cores, os.getpid())) as pool:
        running: dict[Future[Receipt], Slice] = {pool.submit(_compute, piece): piece for piece in pieces}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            gc.unfreeze()


def _survives_fork(job: EngineJob) -> bool:
    """A session of one thread has none that a fork would lose: the child can use it, and every page of its weights,
    prepacked ones too, stays shared."""
    return job.threads == 1 and job.model.describe().runtime.name == "onnxruntime-cpu"


def _shares(workers: int, threads: int) -> list[set[int] | None]:
    """The processors that each worker keeps to, where the job takes all that there are; else None, which leaves that to
    the system: another job would keep to the same ones."""
    cpus = sorted(allowed_cpus())
    if workers * threads != len(cpus):
        return [None] * workers
    return [set(cpus[number * threads : (number + 1) * threads]) for number in range(workers)]


_worker: Worker | None = None


def _begin(job: EngineJob, embedder: Embedder, runtime: Any, cores: Any, parent: int) -> None:
    """In a new worker; what it is given came with the fork."""
    global _worker
    some = cores.get()
    if some is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, some)
    if runtime is not None:
        job.model.runtime = runtime
    _worker = Worker(job.work, embedder)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End when the process that began this one is gone: nobody else would tell."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


def _compute(piece: Slice) -> Receipt:
    assert _worker is not None
    return _worker(piece)
