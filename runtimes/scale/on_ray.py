"""Slices on Ray: a pool of actors, each with a session that it opens once. Ray carries names and receipts, no rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from bert_onnx.errors import InferenceError
from runtimes.scale.engine import EngineJob, import_engine
from runtimes.scale.ray_cluster import join_ray
from runtimes.scale.slices import from_json, to_json
from runtimes.scale.work import Receipt, Work, Worker


class Actor:
    """What Ray makes once in each process of the pool."""

    def __init__(self, work: Work) -> None:
        self._worker = Worker(work)

    def __call__(self, batch: Any) -> Any:
        """A receipt for each slice of a batch."""
        receipts = [self._worker(from_json(text)) for text in batch["slice"]]
        return {field.name: [getattr(receipt, field.name) for receipt in receipts] for field in fields(Receipt)}


def run(job: EngineJob) -> Iterator[Receipt]:
    """Receipts as parts are done.

    Raises:
        UsageError: the cluster cannot be reached.
        InferenceError: Ray gave up.
    """
    ray, data = join_ray(job.address), import_engine("ray.data")
    data.DataContext.get_current().enable_progress_bars = False
    room = int(ray.cluster_resources().get("CPU", 1)) // job.threads
    workers = min(job.workers or max(1, room), len(job.pieces))
    slices = data.from_items([{"slice": to_json(piece)} for piece in job.pieces], override_num_blocks=len(job.pieces))
    done = slices.map_batches(
        Actor,
        fn_constructor_args=(job.work,),
        batch_size=None,
        compute=data.ActorPoolStrategy(size=workers),
        num_cpus=job.threads,
        num_gpus=int(job.on_gpu),
    )
    try:
        for row in done.iter_rows():
            yield Receipt(row["slice"], row["part"], int(row["rows"]), int(row["broken"]))
    except ray.exceptions.RayError as error:
        raise InferenceError(f"Ray gave up: {_first_line(error)}; what is done is kept, --resume goes on.") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
