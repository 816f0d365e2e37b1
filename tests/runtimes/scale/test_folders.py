"""Folders of texts to folders of vectors: each row once, whatever dies; inputs and options that must be refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from folders_of_texts import WORDS, check_whole, found, run, text, write_parquet
from repository import ROOT
from toy_artifacts import CONFIG, publish_toy

from bert_onnx.cli import main as cli
from bert_onnx.errors import (
    BertOnnxError,
    InferenceError,
    InputError,
    RuntimeUnavailableError,
    StorageError,
    UsageError,
)
from runtimes.pipelines.batches import BatchOptions
from runtimes.scale import local, work
from runtimes.scale.slices import cut
from runtimes.scale.source_files import SourceFile, find_files
from runtimes.scale.store import Store
from runtimes.scale.work import Worker
from runtimes.selection.request import RuntimeRequest

pytestmark = pytest.mark.slow
arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("fsspec")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_toy(tmp_path_factory.mktemp("toy") / "artifact")


def write_jsonl(folder: Path, rows: int) -> Path:
    """Every fifth row is broken in one of several ways, which begin with its number."""
    folder.mkdir()
    lines = []
    for number in range(rows):
        broken = (b'%d {"', b'{"id": %d, "text": 5}', b'{"id": %d, "text": "\\ud800"}', b'{"id": %d, "text": "\xff"}')
        if text(number) is None:
            lines.append(broken[number // 5 % 4] % number)
        else:
            lines.append(
                b'{"text": "%s", "id":%d , "x": 1.50, "deep": {"a": [1]} } ' % (str(text(number)).encode(), number)
            )
    (folder / "only.jsonl").write_bytes(b"\r\n\n".join(lines))
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_parquet_keeps_its_columns_and_order(artifact: Path, tmp_path: Path, workers: int) -> None:
    source, output = write_parquet(tmp_path / "in", 101), tmp_path / "out"
    report = run(artifact, source, output, workers=workers)
    check_whole(output, 101)
    good, broken = found(output)
    assert [row["tags"] for row in good] == [[f"t{row['id']}"] for row in good]
    assert [(row["file"], row["line"]) for row in broken] == [
        *(("f0.parquet", number) for number in range(5, 51, 5)),
        *(("f1.parquet", number) for number in range(5, 51, 5)),
    ]  # fmt: skip
    assert broken[0]["reason"] == "its 'text' is empty, not text"
    assert (report.vectors, report.broken, report.parts, report.resumed) == (len(good), len(broken), 6, 0)
    kind = parquet.read_schema(next(output.glob("part-*"))).field("embedding").type
    assert kind == arrow.list_(arrow.float32(), CONFIG.hidden_size)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_jsonl_keeps_its_objects_and_tells_broken_lines(artifact: Path, tmp_path: Path, suffix: str) -> None:
    source, output = write_jsonl(tmp_path / "in", 60), tmp_path / "out"
    run(artifact, source, output, suffix=suffix)
    if suffix == ".parquet":
        rows, _ = found(output)
        assert json.loads(rows[0]["json"]) == {"text": text(0), "id": 0, "x": 1.5, "deep": {"a": [1]}}
        assert [json.loads(row["json"])["id"] for row in rows] == [n for n in range(60) if text(n) is not None]
        return
    check_whole(output, 60)
    first = next(iter(sorted(output.glob("part-*")))).read_text().splitlines()[0]
    assert first.startswith('{"text": "hello", "id":0 , "x": 1.50, "deep": {"a": [1]}, "embedding": [')
    _, broken = found(output)
    assert [row["line"] for row in broken] == [2 * number + 1 for number in range(60) if text(number) is None]
    for word, row in zip(("it is not JSON", "is a int", "not valid Unicode", "it is not UTF-8"), broken, strict=False):
        assert word in row["reason"]


def test_one_file_and_rows_of_parquet_as_jsonl(artifact: Path, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "in", 20, files=1) / "f0.parquet"
    run(artifact, source, tmp_path / "out", suffix=".jsonl", partitions=None)
    check_whole(tmp_path / "out", 20)


def test_lines_are_found_from_any_place(artifact: Path, tmp_path: Path) -> None:
    """Slices begin between the places that the scan keeps."""
    rows = 2_500
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"id": n, "text": WORDS[n % 5]}) + "\n" for n in range(rows)))
    run(artifact, tmp_path / "in.jsonl", tmp_path / "out", partitions=7, suffix=".jsonl", batching=BatchOptions())
    assert [row["id"] for row in found(tmp_path / "out")[0]] == list(range(rows))


def test_slices_are_known_by_content() -> None:
    files = [SourceFile("a", "1", 10), SourceFile("b", "2", 3), SourceFile("c", "3", 0)]
    before = cut(files, 4, {"x": 1})
    assert [(piece.file, piece.first, piece.rows) for piece in before] == [
        ("a", 0, 4),
        ("a", 4, 4),
        ("a", 8, 2),
        ("b", 0, 3),
    ]
    assert cut(files, 4, {"x": 1}) == before
    for other in (cut(files, 4, {"x": 2}), cut([replace(files[0], fingerprint="9"), *files[1:]], 4, {"x": 1})):
        assert other[0].part != before[0].part


class TestInterrupted:
    """A job whose driver or workers are killed goes on where it was, and no row is lost or doubled."""

    @pytest.mark.parametrize("moment", ["aside", "errors", "part", "receipt", "manifest"])
    def test_a_driver_that_dies_at_any_step(
        self, artifact: Path, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before the n-th part, list of errors, receipt or manifest has its name."""
        source, output = write_parquet(tmp_path / "in", 60), tmp_path / "out"
        place, calls = Store._place, Counter[str]()
        names = {"part": "part-", "receipt": "receipts", "errors": "_errors", "manifest": "_manifest"}

        def die(self: Store, aside: Path, path: str) -> None:
            kind = next((kind for kind, name in reversed(names.items()) if name in path), "other")
            calls[kind] += 1
            if moment == "aside" and kind == "part" and calls[kind] == 3:
                aside.write_bytes(aside.read_bytes()[:10])
                raise KeyboardInterrupt
            if kind == moment and calls[kind] == (1 if kind == "manifest" else 3):
                raise KeyboardInterrupt
            place(self, aside, path)

        monkeypatch.setattr(Store, "_place", die)
        with pytest.raises(KeyboardInterrupt):
            run(artifact, source, output)
        monkeypatch.undo()
        assert not (output / "_manifest.json").exists()
        with pytest.raises(UsageError, match="an unfinished job; go on with it by --resume"):
            run(artifact, source, output)
        report = run(artifact, source, output, resume=True)
        assert report.resumed == {"manifest": 6}.get(moment, 2)
        check_whole(output, 60)
        assert run(artifact, source, output, resume=True).resumed == 6

    def test_killed_at_any_moment(self, artifact: Path, tmp_path: Path) -> None:
        """kill -9 to the driver and, each time, to one of its workers before: until the job gets through."""
        rows = 400
        source, output = write_parquet(tmp_path / "in", rows), tmp_path / "out"
        program = (
            "import sys, time\nfrom pathlib import Path\nfrom runtimes.pipelines.batches import BatchOptions\n"
            "from runtimes.scale import job, request, work\nfrom runtimes.selection.request import RuntimeRequest\n"
            "call = work.Worker.__call__\n"
            "work.Worker.__call__ = lambda self, piece: (time.sleep(0.02), call(self, piece))[1]\n"
            "job.embed_folder(request.FolderRequest(\n    Path(sys.argv[1]), *sys.argv[2:], resume=True, workers=2,\n"
            "    runtime=RuntimeRequest(runtime='onnxruntime-cpu'), partitions=50, batching=BatchOptions(piece=7)))\n"
        )
        command = [sys.executable, "-c", program, str(artifact), str(source), str(output)]
        kills = 0
        for wanted in (2, 20, 35):
            process = subprocess.Popen(command, cwd=ROOT)
            children: list[int] = []
            while process.poll() is None and len(list(output.glob("part-*"))) < wanted:
                children = _children(process.pid)
                time.sleep(0.005)
            if children and wanted != 20:
                os.kill(children[0], signal.SIGKILL)
                time.sleep(0.1)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
            process.wait()
            assert not (output / "_manifest.json").exists()
        assert kills == 3
        subprocess.run(command, cwd=ROOT, check=True, timeout=120)
        check_whole(output, rows)

    def test_a_worker_that_is_killed_is_replaced(
        self, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, call = write_parquet(tmp_path / "in", 60), Worker.__call__

        def die_once(self: Worker, piece: Any) -> Any:
            if piece.first == 20 and not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return call(self, piece)

        monkeypatch.setattr(Worker, "__call__", die_once)
        run(artifact, source, tmp_path / "out", workers=2)
        assert (tmp_path / "died").exists()
        check_whole(tmp_path / "out", 60)

    def test_workers_that_always_die_are_told(
        self, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Worker, "__call__", lambda self, piece: os.kill(os.getpid(), signal.SIGKILL))
        with pytest.raises(InferenceError, match="workers were killed 3 times before any part was done"):
            run(artifact, write_parquet(tmp_path / "in", 20), tmp_path / "out", workers=2)

    def test_a_cut_receipt_or_a_part_that_is_gone_is_made_again(self, artifact: Path, tmp_path: Path) -> None:
        source, output = write_parquet(tmp_path / "in", 60), tmp_path / "out"
        run(artifact, source, output)
        receipts, parts = sorted(output.glob("_bert-onnx/receipts/*")), sorted(output.glob("part-*"))
        receipts[1].write_bytes(receipts[1].read_bytes()[:20])
        parts[3].unlink()
        assert run(artifact, source, output, resume=True).resumed == 4
        check_whole(output, 60)

    def test_another_job_is_not_mixed_in(self, artifact: Path, tmp_path: Path) -> None:
        source, output = write_parquet(tmp_path / "in", 20), tmp_path / "out"
        run(artifact, source, output)
        with pytest.raises(UsageError, match="holds a finished job"):
            run(artifact, source, output)
        with pytest.raises(UsageError, match="another job: variant, slices differ"):
            run(artifact, source, output, resume=True, runtime=RuntimeRequest("model_double", "onnxruntime-cpu"))
        with pytest.raises(UsageError, match="another job: slices differ"):
            run(artifact, source, output, resume=True, partitions=2)
        with pytest.raises(InputError):
            run(artifact, tmp_path / "missing", output, force=True)
        check_whole(output, 20)  # nothing goes before all else is known to be right
        (output / "notes.txt").touch()
        assert run(artifact, source, output, force=True, partitions=2).parts == 2
        check_whole(output, 20)
        assert (output / "notes.txt").exists()

    def test_what_was_left_aside_is_no_job(self, artifact: Path, tmp_path: Path) -> None:
        source, output = write_parquet(tmp_path / "in", 20), tmp_path / "out"
        (output / "_aside").mkdir(parents=True)
        (output / "_aside" / "job.json.x").write_text("{")
        run(artifact, source, output, resume=True)
        check_whole(output, 20)

    def test_an_input_that_changes_meanwhile(
        self, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, call = write_parquet(tmp_path / "in", 20, 1), Worker.__call__

        def shrink(self: Worker, piece: Any) -> Any:
            parquet.write_table(parquet.read_table(source / "f0.parquet").slice(0, 5), source / "f0.parquet")
            return call(self, piece)

        monkeypatch.setattr(Worker, "__call__", shrink)
        with pytest.raises(InputError, match="has changed since the job began"):
            run(artifact, source, tmp_path / "out", partitions=1)
        assert not list((tmp_path / "out").glob("part-*"))

    def test_a_foreign_part_is_told(self, artifact: Path, tmp_path: Path) -> None:
        source, output = write_parquet(tmp_path / "in", 20), tmp_path / "out"
        run(artifact, source, output)
        (output / "part-x.parquet").touch()
        with pytest.raises(StorageError, match=r"parts of another job: part-x\.parquet"):
            run(artifact, source, output, resume=True)


def test_any_address_of_fsspec(artifact: Path, tmp_path: Path) -> None:
    """A store without renaming; the rest of its rules is tested on an object store."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for path in write_parquet(tmp_path / "in", 40).iterdir():
        memory.pipe(f"/texts/{path.name}", path.read_bytes())
    run(artifact, "memory://texts", "memory://vectors")
    assert run(artifact, "memory://texts", "memory://vectors", resume=True).resumed == 6
    memory.get("/vectors", str(tmp_path / "out"), recursive=True)
    check_whole(tmp_path / "out", 40)
    with pytest.raises(UsageError, match="no address that fsspec can open"):
        Store("gopher://x")


@pytest.mark.parametrize(
    ("prepare", "changes", "kind", "words"),
    [
        ({}, {}, InputError, "has no file that ends with .parquet, .jsonl"),
        ({"a.parquet": b"x"}, {}, InputError, "is not a parquet file"),
        ({"a.jsonl": b"", "b.parquet": b""}, {}, UsageError, "one kind at a time"),
        ({"a.jsonl": b"{}"}, {"column": "json"}, UsageError, "must not be called 'json'"),
        ({"_x.jsonl": b"{}", ".y/z.jsonl": b"{}"}, {}, InputError, "has no file"),
        ({"a.jsonl": b"{}"}, {"engine": "abacus"}, UsageError, "choose one of local, ray, spark"),
        ({"a.jsonl": b"{}"}, {"suffix": ".csv"}, UsageError, "written as .parquet or .jsonl"),
        ({"a.jsonl": b"{}"}, {"address": "x"}, UsageError, "--address names a cluster"),
        ({"a.jsonl": b"{}"}, {"output": "out.npy"}, UsageError, "would be a folder"),
        ({"a.jsonl": b"{}"}, {"workers": 0}, UsageError, "workers"),
        ({"a.jsonl": b"{}"}, {"queries": True}, UsageError, "--queries is for late-interaction"),
    ],
)
def test_what_does_not_fit_is_refused(
    artifact: Path,
    tmp_path: Path,
    prepare: dict[str, bytes],
    changes: dict[str, Any],
    kind: type[BertOnnxError],
    words: str,
) -> None:
    (tmp_path / "in").mkdir()
    for name, content in prepare.items():
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    with pytest.raises(kind, match=words):
        run(artifact, tmp_path / "in", **{"output": tmp_path / "out", **changes})
    assert not (tmp_path / "out" / "_manifest.json").exists()


def test_places_that_do_not_fit_are_refused(artifact: Path, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "in", 5, 1)
    with pytest.raises(InputError, match="does not exist"):
        run(artifact, tmp_path / "missing", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(UsageError, match="holds files that are not ours"):
        run(artifact, source, tmp_path / "full", force=True)
    with pytest.raises(InputError, match="has no column 'body'; it has id, text, tags"):
        find_files(Store(str(source)), "body")


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("spark", "pyspark")])
def test_an_engine_that_is_not_installed_is_one_sentence(
    artifact: Path, tmp_path: Path, engine: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RuntimeUnavailableError, match=rf'pip install "bert-onnx\[{engine}\]", or use --engine local'):
        run(artifact, tmp_path, tmp_path / "out", engine=engine)


def test_an_error_of_a_worker_is_the_callers(artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise StorageError("the disk is full.")

    monkeypatch.setattr(work, "apart", refuse)
    with pytest.raises(StorageError, match="the disk is full"):
        run(artifact, write_parquet(tmp_path / "in", 20), tmp_path / "out", workers=2)
    assert local._worker is None


def test_the_command(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_parquet(tmp_path / "in", 20)
    command = [
        "embed",
        str(artifact),
        str(source),
        str(tmp_path / "out"),
        "--runtime",
        "onnxruntime-cpu",
        "--workers",
        "1",
    ]
    assert cli.main(command) == 0
    assert "16 vectors of 4 numbers in" in (told := capsys.readouterr().out)
    assert "4 broken lines left out; see" in told
    assert cli.main([*command, "--resume"]) == 0
    assert "2 parts from before" in capsys.readouterr().out
    assert cli.main([*command, "--engine", "x"]) == 2


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
