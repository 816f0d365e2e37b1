"""Slices on Spark: `mapInArrow` over their names; a Python worker keeps its session. Spark carries no rows of texts."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from bert_onnx.errors import InferenceError, UsageError
from runtimes.parquet import import_pyarrow
from runtimes.scale.engine import EngineJob, import_engine
from runtimes.scale.slices import from_json, to_json
from runtimes.scale.work import Receipt, Work, open_worker

_SCHEMA = "slice string, part string, rows long, broken long"
_RAISED = re.compile(r"(?!org\.|java\.|py4j\.|pyspark\.)[\w.]+(Error|Exception): ")
#: How often Spark begins a slice.
_ATTEMPTS = 4


def run(job: EngineJob) -> Iterator[Receipt]:
    """Receipts, when all parts are done.

    Raises:
        UsageError: the cluster cannot be reached.
        InferenceError: Spark gave up.
    """
    sql = import_engine("pyspark.sql")
    spark = _session(sql, job)
    rows = [(to_json(piece),) for piece in job.pieces]
    slices = spark.createDataFrame(spark.sparkContext.parallelize(rows, len(rows)), "slice string")
    done = slices.mapInArrow(_compute(job.work), _SCHEMA)
    try:
        # All of them at once: `toLocalIterator` would run one slice at a time.
        yield from (Receipt(**row.asDict()) for row in done.collect())
    except Exception as error:  # py4j's and Spark's errors share no base class
        raise InferenceError(f"Spark gave up: {_reason(error)}; what is done is kept, --resume goes on.") from error


def _session(sql: Any, job: EngineJob) -> Any:
    builder = sql.SparkSession.builder.appName("bert-onnx embed")
    master = job.address or f"local[{job.workers or '*'},{_ATTEMPTS}]"
    builder = builder.master(master).config("spark.task.maxFailures", _ATTEMPTS)
    builder = builder.config("spark.task.cpus", job.threads).config("spark.ui.enabled", False)
    if master.startswith("local"):  # else Spark takes the first python3 that it finds
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if job.workers is not None:
        builder = builder.config("spark.cores.max", job.workers * job.threads)
    try:
        spark = builder.getOrCreate()
        spark.sparkContext.setLogLevel("FATAL")  # what fails is raised here, too
        return spark
    except Exception as error:
        raise UsageError(f"Spark cannot be started at {master}: {_reason(error)}.") from None


def _compute(work: Work) -> Any:
    def compute(batches: Iterable[Any]) -> Iterator[Any]:
        arrow = import_pyarrow("")
        worker = open_worker(work)
        for batch in batches:
            for text in batch.column("slice").to_pylist():
                receipt = worker(from_json(text))
                yield arrow.RecordBatch.from_pylist([asdict(receipt)])

    return compute


def _reason(error: Exception) -> str:
    """What Python raised in a worker, if that is in the trace; else its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if _RAISED.match(line)]
    return (raised or lines or [type(error).__name__])[0].rstrip(".")[:500]
