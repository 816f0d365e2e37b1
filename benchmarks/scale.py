"""Rows a second of `bert-onnx embed` on every engine, over one and two workers of one thread, beside
sentence-transformers in the same engines.

    python -m benchmarks.scale ARTIFACT [--rows N] [--only NAME ...] [--workers N ...]

ARTIFACT is an export of the sample. Needs the extras `ray` and `spark`, and Java. N workers have N cores, with all that
belongs to the program: driver, Java and Ray's processes, too. Rows a second are the slope of rows over time, from when
each worker has finished its first part to when the first of them finds no other, so that starting clusters, opening
sessions and waiting for the last part do not count; seconds in all have them. All programs get the same texts in
windows of the same number of rows, peers, which are slower, the first half of them. Memory is the most that all
processes of a program held together, each page counted once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.measure import Cost, markdown_table, run_process
from benchmarks.throughput import docstrings

#: Rows of a part, and of a call of a peer.
WINDOW = 128
PACKAGES = ("onnxruntime", "ray", "pyspark", "pyarrow", "sentence-transformers", "torch")
ENGINES = ("local", "ray", "spark")

_MODEL = """
import json, os, sys, time
source, output, events, checkpoint, workers, window = sys.argv[1:]
workers, window = int(workers), int(window)
model = None

def embed(texts):
    global model
    if model is None:
        import torch
        from sentence_transformers import SentenceTransformer
        torch.set_num_threads(1)
        model = SentenceTransformer(checkpoint, device="cpu")
    vectors = model.encode(list(texts), batch_size=32, show_progress_bar=False)
    with open(f"{events}/{os.getpid()}", "a") as file:
        file.write(json.dumps([time.time(), len(texts)]) + "\\n")
    return vectors
"""
_PEERS = {
    "ray": _MODEL
    + """
import ray
# Tasks that read need a place beside the actors.
ray.init(num_cpus=workers + 1, log_to_driver=False, object_store_memory=200 << 20, logging_level="ERROR")

class Embed:
    def __call__(self, batch):
        return {**batch, "embedding": embed(batch["text"])}

data = ray.data.read_parquet(source, override_num_blocks=workers * 4)
data.map_batches(
    Embed, batch_size=window, compute=ray.data.ActorPoolStrategy(size=workers), num_cpus=1
).write_parquet(output)
""",
    "spark": _MODEL
    + """
from pyspark.sql import SparkSession
os.environ["PYSPARK_PYTHON"] = sys.executable
spark = (SparkSession.builder.master(f"local[{workers}]").config("spark.ui.enabled", False)
    .config("spark.sql.execution.arrow.maxRecordsPerBatch", window).getOrCreate())

def part(frames):
    for frame in frames:
        yield frame.assign(embedding=list(map(list, embed(frame["text"]))))

rows = spark.read.parquet(source).repartition(workers)
rows.mapInPandas(part, "id long, text string, embedding array<float>").write.parquet(output)
""",
}


def write_texts(folder: Path, rows: int) -> None:
    """Docstrings of 20 to 400 characters, again and again, with numbers."""
    import pyarrow
    from pyarrow import parquet

    texts = docstrings(300, 20, 400)
    folder.mkdir()
    columns = {"id": list(range(rows)), "text": [texts[number * 7 % len(texts)] for number in range(rows)]}
    parquet.write_table(pyarrow.table(columns), folder / "texts.parquet")


def ours(engine: str, artifact: Path, source: Path, output: Path, workers: int, rows: int) -> tuple[Cost, float]:
    """What a run cost, and rows a second by the times at which receipts were written."""
    command = [sys.executable, "-m", "bert_onnx", "embed", str(artifact), str(source), str(output), "--engine", engine]
    command += ["--workers", str(workers), "--threads", "1", "--partitions", str(-(-rows // WINDOW))]
    cost = run_process([*command, "--runtime", "onnxruntime-cpu"], {"RAY_USAGE_STATS_ENABLED": "0"})
    events = [
        (path.stat().st_mtime, json.loads(path.read_text())["rows"])
        for path in output.glob("_bert-onnx/receipts/*.json")
    ]
    return cost, rate(events, workers)


def theirs(engine: str, source: Path, output: Path, workers: int) -> tuple[Cost, float]:
    """The same for sentence-transformers."""
    from bert_onnx.checkpoint import find_checkpoint

    folder = output.with_name(f"{output.name}-events")
    folder.mkdir()
    checkpoint = str(find_checkpoint("sample").folder)
    command = [sys.executable, "-c", _PEERS[engine], str(source), str(output), str(folder), checkpoint]
    cost = run_process([*command, str(workers), str(WINDOW)], {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"})
    lines = [line for path in folder.iterdir() for line in path.read_text().splitlines()]
    return cost, rate([tuple(json.loads(line)) for line in lines], workers)


def rate(events: list[tuple[float, int]], workers: int) -> float:
    """Rows a second while all of `workers` have work."""
    ordered = sorted(events)
    times, done = [time for time, _ in ordered], np.cumsum([rows for _, rows in ordered])
    full = slice(workers - 1, len(ordered) - workers + 1)
    return float(np.polyfit(np.array(times[full]) - times[0], done[full], 1)[0])


def main() -> None:
    """Measure and print."""
    allowed = os.sched_getaffinity(0)
    programs = [*ENGINES, *(f"sentence-transformers on {engine}" for engine in _PEERS)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--rows", type=int, default=24 * WINDOW)
    parser.add_argument("--only", action="append", choices=programs, help="repeatable (default: all)")
    parser.add_argument("--workers", type=int, action="append", help="repeatable (default: 1 and 2)")
    chosen = parser.parse_args()
    table, local = [], dict[int, float]()
    with TemporaryDirectory() as scratch:
        source, half = Path(scratch) / "texts", Path(scratch) / "half"
        write_texts(source, chosen.rows)
        write_texts(half, chosen.rows // 2)
        for workers in chosen.workers or (1, 2):
            os.sched_setaffinity(0, sorted(allowed)[:workers])
            for name in chosen.only or programs:
                output, engine = Path(scratch) / f"{name}-{workers}", name.rsplit(" ", 1)[-1]
                if name in ENGINES:
                    cost, speed = ours(engine, chosen.artifact, source, output, workers, chosen.rows)
                else:
                    cost, speed = theirs(engine, half, output, workers)
                local.setdefault(workers, speed)
                row = (name, str(workers), f"{speed:.0f}", f"{speed / local[workers]:.2f}")
                table.append((*row, f"{cost.seconds:.0f}", f"{cost.megabytes:.0f}"))
                print(table[-1], file=sys.stderr, flush=True)
    header = ("program", "workers", "rows/s", "to the first", "s in all", "MB together")
    print(f"{markdown_table(header, table)}\n\n{describe_machine(PACKAGES)}\n{len(allowed)} processors.")


if __name__ == "__main__":
    main()
