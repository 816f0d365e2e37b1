"""The engines and an object store, where they are installed: each row once, whoever is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders_of_texts import check_whole, run, text, vector, write_parquet
from repository import ROOT
from scale_tools import need, need_java
from toy_artifacts import publish_toy

from bert_onnx.errors import StorageError
from runtimes.embed_files.embedder import Embedder, EmbedderOptions, embed_batches
from runtimes.scale.store import Store
from runtimes.selection.request import RuntimeRequest

pytestmark = pytest.mark.slow
ROWS = 120
#: A driver.
PROGRAM = """
import sys
from pathlib import Path
from runtimes.pipelines.batches import BatchOptions
from runtimes.scale import job, request
from runtimes.selection.request import RuntimeRequest
engine, artifact, source, output = sys.argv[1:]
job.embed_folder(request.FolderRequest(
    Path(artifact), source, output, resume=True, engine=engine, workers=2, partitions=40,
    runtime=RuntimeRequest(runtime="onnxruntime-cpu"), batching=BatchOptions(piece=7)))
"""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_toy(tmp_path_factory.mktemp("toy") / "artifact")


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    need({"ray": "ray.data", "spark": "pyspark"}[request.param])
    if request.param == "spark":
        need_java()
    return str(request.param)


@pytest.mark.parametrize("engine", ["ray", "spark"], indirect=True)
def test_workers_and_drivers_are_killed(artifact: Path, tmp_path: Path, engine: str) -> None:
    """A worker at 5 parts and the driver, with all that it started, at 15; then it goes through."""
    source, output = write_parquet(tmp_path / "in", ROWS), tmp_path / "out"
    command = [sys.executable, "-c", PROGRAM, engine, str(artifact), str(source), str(output)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    first = subprocess.Popen(command, cwd=ROOT, env=environment)
    _wait_for(output, 5, first)
    killed = _kill_workers(first.pid)
    _wait_for(output, 15, first)
    for pid in (*_family(first.pid), first.pid):
        _kill(pid)
    first.wait()
    assert killed
    assert not (output / "_manifest.json").exists()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=180)
    check_whole(output, ROWS)


SCHEMA = (
    "id long, text string, price decimal(20,2), moment timestamp, deep array<struct<a:int,b:string>>, "
    "embedding array<float>, embedding_error string"
)


def rows_of_spark(source: Path, options: EmbedderOptions) -> list[dict[str, Any]]:
    """As docs/scaling.md has it."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    spark = need("pyspark.sql").SparkSession.builder.master("local[1]").config("spark.ui.enabled", False).getOrCreate()
    try:
        frame = spark.read.parquet(str(source)).repartition(2)
        return [row.asDict() for row in frame.mapInArrow(embed_batches(options), SCHEMA).collect()]
    finally:
        spark.stop()


def rows_of_ray(source: Path, options: EmbedderOptions) -> list[dict[str, Any]]:
    """As docs/scaling.md has it."""
    ray, data = need("ray"), need("ray.data")
    ray.init(log_to_driver=False, logging_level="ERROR")
    try:
        made = data.read_parquet(str(source)).map_batches(
            Embedder, fn_constructor_args=(options,), batch_format="pyarrow", compute=data.ActorPoolStrategy(size=1)
        )
        return list(made.take_all())
    finally:
        ray.shutdown()


@pytest.mark.parametrize("engine", ["ray", "spark"], indirect=True)
def test_in_a_pipeline_of_ones_own(artifact: Path, tmp_path: Path, engine: str) -> None:
    """Rows with their columns, of types that engines stumble over, and each with its own vector or the reason."""
    arrow = pytest.importorskip("pyarrow")
    moment = datetime(2024, 1, 1, 12, 30, 0, 5, timezone.utc)
    columns = {
        "id": list(range(60)),
        "text": [text(number) for number in range(60)],
        "price": arrow.array([Decimal("1.20")] * 60, arrow.decimal128(20, 2)),
        "moment": arrow.array([moment] * 60, arrow.timestamp("us", "UTC")),
        "deep": arrow.array([[{"a": 1, "b": None}]] * 60, arrow.list_(arrow.struct({"a": "int32", "b": "string"}))),
    }
    pytest.importorskip("pyarrow.parquet").write_table(arrow.table(columns), tmp_path / "x.parquet", row_group_size=7)
    options = EmbedderOptions(artifact, runtime=RuntimeRequest(runtime="onnxruntime-cpu", threads=1))
    rows = (rows_of_ray if engine == "ray" else rows_of_spark)(tmp_path / "x.parquet", options)
    assert sorted(row["id"] for row in rows) == columns["id"]
    for row in rows:
        assert (row["text"], row["price"]) == (text(row["id"]), Decimal("1.20"))
        assert row["moment"].timestamp() == moment.timestamp()
        assert [tuple(dict(one).values()) if engine == "ray" else tuple(one) for one in row["deep"]] == [(1, None)]
        if row["text"] is None:
            assert (row["embedding"], row["embedding_error"]) == (None, "its 'text' is empty, not text")
        else:
            np.testing.assert_allclose(row["embedding"], vector(row["id"]), rtol=1e-5)
            assert row["embedding_error"] is None


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of a server of its own."""
    need("s3fs")
    server = need("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {
        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("texts")
        yield "s3://texts"
    server.stop()


def test_an_object_store(artifact: Path, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Input and output in a bucket: a put that fails leaves nothing, and resuming with two workers ends the job."""
    import s3fs

    remote = s3fs.S3FileSystem()
    remote.put(str(write_parquet(tmp_path / "in", 60)), "texts/in", recursive=True)
    put = s3fs.S3FileSystem._put_file
    calls = []

    async def refuse(self: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 6:
            raise OSError("the connection was reset")
        return await put(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(s3fs.S3FileSystem, "_put_file", refuse)
        s3fs.S3FileSystem.clear_instance_cache()  # those that are open have the method already
        with pytest.raises(
            StorageError, match="the connection was reset; what is done so far is kept, --resume goes on"
        ):
            run(artifact, f"{bucket}/in", f"{bucket}/out")
    s3fs.S3FileSystem.clear_instance_cache()
    assert not remote.exists("texts/out/_manifest.json")
    report = run(artifact, f"{bucket}/in", f"{bucket}/out", resume=True, workers=2)
    assert 0 < report.resumed < 6
    remote.invalidate_cache()
    remote.get("texts/out", str(tmp_path / "out"), recursive=True)
    check_whole(tmp_path / "out", 60)
    assert Store(f"{bucket}/in").fingerprint("f0.parquet") != Store(f"{bucket}/in").fingerprint("f1.parquet")


def _wait_for(output: Path, parts: int, process: subprocess.Popen[bytes]) -> None:
    while len(list(output.glob("part-*"))) < parts:
        assert process.poll() is None, "the job ended before it was killed"
        time.sleep(0.005)


def _kill_workers(driver: int) -> list[int]:
    """End a process below the driver that has a session open."""
    found = [pid for pid in _family(driver) if "libonnxruntime" in _maps(pid) or "onnxruntime_pybind" in _maps(pid)]
    for pid in found[:1]:
        _kill(pid)
    return found[:1]


def _maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return ""


def _family(pid: int) -> list[int]:
    """All processes below `pid`."""
    try:
        own = [
            int(one) for path in Path(f"/proc/{pid}/task").iterdir() for one in (path / "children").read_text().split()
        ]
    except OSError:
        return []
    return [member for child in own for member in (child, *_family(child))]


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
