"""Slices on Ray: a pool of actors, each with a session that it opens once. Ray carries names and receipts, no rows.

Names need no Ray Data, whose executor and actors took a tenth of a core; `embed_files.embedder.Embedder` is for those
who have it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bert_onnx.errors import InferenceError
from runtimes.scale.engine import EngineJob, import_engine
from runtimes.scale.ray_cluster import join_ray
from runtimes.scale.slices import from_json, to_json
from runtimes.scale.work import Receipt, Work, Worker

#: How often Ray begins a slice again whose worker was lost.
_AGAIN = 3


class Actor:
    """What Ray makes once in each process of the pool."""

    def __init__(self, work: Work) -> None:
        self._worker = Worker(work)

    def compute(self, text: str) -> Receipt:
        """The receipt of a slice."""
        return self._worker(from_json(text))


def run(job: EngineJob) -> Iterator[Receipt]:
    """Receipts as parts are done.

    Raises:
        UsageError: the cluster cannot be reached.
        InferenceError: Ray gave up.
    """
    ray, util = join_ray(job.address), import_engine("ray.util")
    room = int(ray.cluster_resources().get("CPU", 1)) // job.threads
    workers = min(job.workers or max(1, room), len(job.pieces))
    kind = ray.remote(Actor).options(
        num_cpus=job.threads, num_gpus=int(job.on_gpu), max_restarts=-1, max_task_retries=_AGAIN
    )
    pool = util.ActorPool([kind.remote(job.work) for _ in range(workers)])

    def compute(actor: Any, text: str) -> Any:
        return actor.compute.remote(text)

    try:
        yield from pool.map_unordered(compute, [to_json(piece) for piece in job.pieces])
    except ray.exceptions.RayError as error:
        raise InferenceError(f"Ray gave up: {_first_line(error)}; what is done is kept, --resume goes on.") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
