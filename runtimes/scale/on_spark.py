"""Slices on Spark: `mapPartitions` over their names; a Python worker keeps its session. Spark carries no rows of texts.

Names need neither Spark's SQL nor Arrow, which would put a second Python process behind each slice.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bert_onnx.errors import InferenceError, RuntimeUnavailableError, UsageError
from runtimes.scale.engine import EngineJob, import_engine
from runtimes.scale.slices import from_json, to_json
from runtimes.scale.work import Receipt, Work, open_worker

_RAISED = re.compile(r"(?!org\.|java\.|py4j\.|pyspark\.)[\w.]+(Error|Exception): ")
#: How often Spark begins a slice.
_ATTEMPTS = 4


def run(job: EngineJob) -> Iterator[Receipt]:
    """Receipts, when all parts are done.

    Raises:
        UsageError: the cluster cannot be reached.
        RuntimeUnavailableError: there is no Java.
        InferenceError: Spark gave up.
    """
    sql = import_engine("pyspark.sql")
    spark = _session(sql, job)
    slices = spark.sparkContext.parallelize([to_json(piece) for piece in job.pieces], len(job.pieces))
    try:
        # All of them at once: `toLocalIterator` would run one slice at a time.
        yield from slices.mapPartitions(_compute(job.work)).collect()
    except Exception as error:  # py4j's and Spark's errors share no base class
        raise InferenceError(f"Spark gave up: {_reason(error)}; what is done is kept, --resume goes on.") from error


def _session(sql: Any, job: EngineJob) -> Any:
    builder = sql.SparkSession.builder.appName("bert-onnx embed")
    master = job.address or f"local[{job.workers or '*'},{_ATTEMPTS}]"
    builder = builder.master(master).config("spark.task.maxFailures", _ATTEMPTS)
    builder = builder.config("spark.task.cpus", job.threads).config("spark.ui.enabled", False)
    if master.startswith("sc://"):
        raise UsageError(
            f"{master} is Spark Connect, which runs no such job; give the cluster's own address, such as "
            "spark://HOST:7077, yarn or k8s://HOST:443."
        )
    if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
        raise RuntimeUnavailableError(
            "Spark needs Java, and there is none on PATH or at JAVA_HOME; install one, or use --engine local."
        )
    if master.startswith("local"):  # else Spark takes the first python3 that it finds
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if job.workers is not None:
        builder = builder.config("spark.cores.max", job.workers * job.threads)
    try:
        spark = builder.getOrCreate()
        spark.sparkContext.setLogLevel("FATAL")  # what fails is raised here, too
        return spark
    except Exception as error:
        raise UsageError(f"Spark cannot be started at {master}: {_reason(error)}; its log above says more.") from None


def _compute(work: Work) -> Callable[[Iterable[str]], Iterator[Receipt]]:
    def compute(texts: Iterable[str]) -> Iterator[Receipt]:
        worker = open_worker(work)
        return (worker(from_json(text)) for text in texts)

    return compute


def _reason(error: Exception) -> str:
    """What Python raised in a worker, if that is in the trace; else what Java did; else its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if _RAISED.match(line)]
    of_java = [line.removeprefix(": ") for line in lines if line.startswith(": ")]
    return (raised or of_java or lines or [type(error).__name__])[0].rstrip(".")[:500]
