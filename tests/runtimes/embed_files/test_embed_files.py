"""`bert-onnx embed`: formats in and out, broken lines, interruptions, and everything that must be refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from repository import ROOT
from toy_artifacts import CONFIG, VOCABULARY, publish_toy, table

from bert_onnx.cli import main as cli
from bert_onnx.errors import InputError, RuntimeUnavailableError, StorageError, UsageError
from runtimes.embed_files import job
from runtimes.embed_files.job import EmbedReport, EmbedRequest, embed_file, errors_path
from runtimes.embed_files.parts import Job, Part, Parts
from runtimes.embed_files.records import Record, read_items
from runtimes.pipelines.batches import BatchOptions
from runtimes.text_files import Broken

pytestmark = pytest.mark.slow

WORDS = ("hello", "world", "good", "my", "night")
SMALL = BatchOptions(piece=3)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_toy(tmp_path_factory.mktemp("toy") / "artifact")


def texts(count: int) -> list[str]:
    return [" ".join(WORDS[(index + k) % 5] for k in range(1 + index % 7)) for index in range(count)]


def vectors(rows: list[str]) -> np.ndarray:
    return np.array(
        [table()[[VOCABULARY.index(t) for t in ("[CLS]", *row.split(), "[SEP]")]].mean(axis=0) for row in rows]
    )


def run(artifact: Path, source: Path, output: Path, **changes: Any) -> EmbedReport:
    values: dict[str, Any] = {"runtime": "onnxruntime-cpu", "threads": 1, "batching": SMALL, **changes}
    return embed_file(EmbedRequest(artifact, source, output, **values))


def write(path: Path, rows: list[str]) -> Path:
    if path.suffix == ".txt":
        path.write_text("".join(f"{row}\n" for row in rows))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"id": 1, "text": row}) + "\n" for row in rows))
    elif path.suffix == ".csv":
        path.write_text("id,text\n" + "".join(f'7,"{row}"\n' for row in rows))
    else:
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.table({"id": list(range(len(rows))), "text": rows}), path)
    return path


def read(path: Path) -> tuple[np.ndarray, list[int]]:
    """Vectors and lines of an output."""
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r"), []
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return np.array([row["embedding"] for row in rows], np.float32), [row["line"] for row in rows]
    table_read = pytest.importorskip("pyarrow.parquet").read_table(path)
    return np.array(table_read["embedding"].to_pylist(), np.float32), table_read["line"].to_pylist()


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("output", [".npy", ".jsonl", ".parquet"])
def test_every_format_in_and_out(artifact: Path, tmp_path: Path, suffix: str, output: str) -> None:
    if ".parquet" in (suffix, output):
        pytest.importorskip("pyarrow")
    rows = texts(11)
    report = run(artifact, write(tmp_path / f"in{suffix}", rows), tmp_path / f"out{output}")
    found, lines = read(tmp_path / f"out{output}")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, vectors(rows), rtol=1e-5, atol=1e-7)
    first = 2 if suffix == ".csv" else 1
    assert lines == ([] if output == ".npy" else list(range(first, first + 11)))
    assert (report.vectors, report.width, report.broken, report.errors) == (11, CONFIG.hidden_size, 0, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"in{suffix}", f"out{output}"])


def test_broken_lines_are_told_with_their_numbers_and_the_rest_is_kept(artifact: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    lines: list[bytes] = [
        b'{"text": "hello"}',
        b"{not json",
        b"",
        b'{"text": 5}',
        b'{"text": null}',
        b'{"body": "x"}',
        b"[1]",
        b'{"text": "\xff"}',
        b'{"text": "\\ud800"}',
        b'{"text": "world"}',
        b"[" * 100_000,
    ]
    source.write_bytes(b"\r\n".join(lines))
    report = run(artifact, source, tmp_path / "out.jsonl")
    found, numbers = read(tmp_path / "out.jsonl")
    assert numbers == [1, 10]
    np.testing.assert_allclose(found, vectors(["hello", "world"]), rtol=1e-5)
    errors = [json.loads(line) for line in errors_path(tmp_path / "out.jsonl").read_text().splitlines()]
    assert [error["line"] for error in errors] == [2, 4, 5, 6, 7, 8, 9, 11]
    assert report.errors == str(tmp_path / "out.jsonl.errors.jsonl")
    assert errors[0]["content"] == "{not json"
    assert "not JSON" in errors[0]["reason"]
    assert "is a int, not text" in errors[1]["reason"]
    assert "is empty, not text" in errors[2]["reason"]
    assert "has no 'text'" in errors[3]["reason"]
    assert "not valid Unicode" in errors[6]["reason"]
    assert len(errors[7]["content"]) <= 500


def test_csv_rows(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(
        '\ufeffid,text\n1,"two\nlines"\n2\n3,"a ""quoted"" word"\n4,b,c\n\n5,plain\n'.encode() + b"6,\xff\n7,last\n"
    )
    items = list(read_items(source, None))
    assert [(item.line, item.text) for item in items if isinstance(item, Record)] == [
        (2, "two\nlines"), (5, 'a "quoted" word'), (8, "plain"), (10, "last")
    ]  # fmt: skip
    broken = [item for item in items if isinstance(item, Broken)]
    assert [(item.line, item.reason.split(" (")[0]) for item in broken] == [
        (4, "it has 1 fields and the header 2"),
        (6, "it has 3 fields and the header 2"),
        (9, "its 'text' is not valid Unicode"),
    ]


def test_csv_that_does_not_end(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('text\nfine\n"never closed\nmore\n')
    items = list(read_items(tmp_path / "in.csv", None))
    assert items[0] == Record(2, "fine")
    assert isinstance(items[1], Broken)
    assert items[1].line == 3
    assert len(items) == 2


def test_txt_lines(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"\xef\xbb\xbffirst\r\n\nthird\xff\nlast")
    first, second, third, last = read_items(tmp_path / "in.txt", None)
    assert (first, second, last) == (Record(1, "first"), Record(2, ""), Record(4, "last"))
    assert isinstance(third, Broken)
    assert third.reason == "it is not UTF-8"


def test_the_only_column_needs_no_name(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("body\nhello\n")
    assert list(read_items(tmp_path / "in.csv", None)) == [Record(2, "hello")]


@pytest.mark.parametrize(
    ("name", "content", "column", "words"),
    [
        ("in.jsonl", '{"body": "x", "id": 1}\n', None, r"no column 'text'; it has body, id\. Say which"),
        ("in.jsonl", '{"text": "x"}\n', "body", "no column 'body'; it has text"),
        ("in.csv", "a,b\n1,2\n", None, "no column 'text'; it has a, b"),
        ("in.csv", "", None, "is empty; its first line must name the columns"),
        ("in.parquet", "no parquet", None, "is not a parquet file"),
        ("in.txt", None, None, "cannot be read: No such file"),
        ("in.jsonl", "\n\n", None, "has no text to embed"),
        ("in.jsonl", "{\n[\n", None, r"has no text to embed \(2 broken lines; line 1: it is not JSON"),
    ],
)
def test_input_that_cannot_be_read_is_one_sentence(
    artifact: Path, tmp_path: Path, name: str, content: str | None, column: str | None, words: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=words):
        run(artifact, tmp_path / name, tmp_path / "out.npy", column=column)
    assert not (tmp_path / "out.npy").exists()


def test_parquet_columns(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"a": ["x", None], "b": [1, 2]}), tmp_path / "in.parquet")
    assert list(read_items(tmp_path / "in.parquet", "a")) == [
        Record(1, "x"), Broken(2, "its 'a' is empty, not text", "None")
    ]  # fmt: skip
    assert [type(item) for item in read_items(tmp_path / "in.parquet", "b")] == [Broken, Broken]
    with pytest.raises(InputError, match="no column 'text'; it has a, b"):
        list(read_items(tmp_path / "in.parquet", None))


def test_parquet_without_pyarrow(artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "in.parquet").write_bytes(b"PAR1")
    write(tmp_path / "in.txt", ["hello"])
    with pytest.raises(RuntimeUnavailableError, match=r'pip install "bert-onnx\[parquet\]"'):
        run(artifact, tmp_path / "in.parquet", tmp_path / "out.npy")
    with pytest.raises(RuntimeUnavailableError, match="pyarrow"):
        run(artifact, tmp_path / "in.txt", tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("source", "output", "changes", "words"),
    [
        ("in.pdf", "out.npy", {}, "texts are read from .txt, .jsonl, .csv, .parquet"),
        ("in.txt", "out.bin", {}, "vectors are written to .npy, .jsonl, .parquet"),
        ("in.txt", "out.npy", {"column": "x"}, "which has no columns"),
        ("in.txt", "missing/out.npy", {}, "does not exist; make it first"),
        ("in.txt", "there.npy", {}, "exists; choose another output, or replace it with --force"),
        ("in.txt", "out.npy", {"runtime": "abacus"}, "the runtime 'abacus' is unknown"),
    ],
)
def test_what_does_not_fit_is_refused(
    artifact: Path, tmp_path: Path, source: str, output: str, changes: dict[str, Any], words: str
) -> None:
    (tmp_path / "in.txt").write_text("hello\n")
    (tmp_path / "in.pdf").write_text("hello\n")
    (tmp_path / "there.npy").touch()
    with pytest.raises(UsageError, match=words):
        run(artifact, tmp_path / source, tmp_path / output, **changes)


def test_an_output_is_replaced_on_request(artifact: Path, tmp_path: Path) -> None:
    write(tmp_path / "in.txt", texts(4))
    (tmp_path / "out.npy").touch()
    errors_path(tmp_path / "out.npy").write_text("old\n")
    run(artifact, tmp_path / "in.txt", tmp_path / "out.npy", force=True)
    assert read(tmp_path / "out.npy")[0].shape == (4, CONFIG.hidden_size)
    assert not errors_path(tmp_path / "out.npy").exists()


class TestInterrupted:
    """A job that stops anywhere goes on where it was."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        rows = [json.dumps({"text": row}) if index % 5 else "{broken" for index, row in enumerate(texts(23))]
        rows[0] = json.dumps({"text": "hello"})
        (tmp_path / "in.jsonl").write_text("\n".join([*rows, "{the end"]))
        return tmp_path / "in.jsonl"

    @pytest.mark.parametrize("after", [1, 2, 5])
    def test_an_error_between_parts(
        self, artifact: Path, source: Path, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = run(artifact, source, tmp_path / "whole.jsonl")
        write_part = Parts.write

        def fail(self: Parts, number: int, part: Part) -> None:
            if number == after:
                raise KeyboardInterrupt
            write_part(self, number, part)

        monkeypatch.setattr(Parts, "write", fail)
        with pytest.raises(KeyboardInterrupt):
            run(artifact, source, tmp_path / "out.jsonl")
        assert not (tmp_path / "out.jsonl").exists()
        monkeypatch.undo()
        with pytest.raises(UsageError, match="unfinished job; go on with it by --resume"):
            run(artifact, source, tmp_path / "out.jsonl")
        report = run(artifact, source, tmp_path / "out.jsonl", resume=True)
        assert report.resumed == 3 * after
        assert (report.vectors, report.broken) == (whole.vectors, whole.broken)
        for name in ("{}.jsonl", "{}.jsonl.errors.jsonl"):
            ours, theirs = tmp_path / name.format("out"), tmp_path / name.format("whole")
            assert ours.read_bytes() == theirs.read_bytes()
        assert not (tmp_path / "out.jsonl.parts").exists()

    @pytest.mark.parametrize("where", ["write_output", "write_whole"])
    def test_an_error_while_the_output_is_written(
        self, artifact: Path, source: Path, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*arguments: Any) -> None:
            raise StorageError("the disk is full.")

        monkeypatch.setattr(job, where, fail)
        with pytest.raises(StorageError):
            run(artifact, source, tmp_path / "out.jsonl")
        monkeypatch.undo()
        report = run(artifact, source, tmp_path / "out.jsonl", resume=True)
        assert report.resumed == report.vectors == 19

    def test_killed_at_any_moment(self, artifact: Path, tmp_path: Path) -> None:
        """kill -9, again and again, until the job gets through: no row is doubled or dropped."""
        rows = texts(400)
        source, output = write(tmp_path / "in.txt", rows), tmp_path / "out.npy"
        program = (
            "import sys, time\nfrom pathlib import Path\nfrom runtimes.pipelines.batches import BatchOptions\n"
            "from runtimes.embed_files.job import EmbedRequest, embed_file\n"
            "from runtimes.embed_files import parts\n"
            "write = parts.Parts.write\n"
            "parts.Parts.write = lambda *all: (write(*all), time.sleep(0.01))\n"
            "folder, source, output = map(Path, sys.argv[1:])\n"
            "embed_file(EmbedRequest(folder, source, output, resume=True, runtime='onnxruntime-cpu', threads=1,\n"
            "                        batching=BatchOptions(piece=7)))\n"
        )
        command = [sys.executable, "-c", program, str(artifact), str(source), str(output)]
        parts, kills = tmp_path / "out.npy.parts", 0
        for wanted in (1, 20, 45):
            process = subprocess.Popen(command, cwd=ROOT)
            while process.poll() is None and len(list(parts.glob("part-*.npz"))) < wanted:
                time.sleep(0.005)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
            process.wait()
        assert kills == 3
        assert not output.exists()
        subprocess.run(command, cwd=ROOT, check=True, timeout=120)
        np.testing.assert_allclose(np.load(output), vectors(rows), rtol=1e-5, atol=1e-7)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "out.npy"]

    def test_another_job_is_not_mixed_in(self, artifact: Path, source: Path, tmp_path: Path) -> None:
        self._stop_early(artifact, source, tmp_path / "out.jsonl")
        source.write_text(source.read_text() + "\n")
        with pytest.raises(UsageError, match="is of another job: input_sha256 differ"):
            run(artifact, source, tmp_path / "out.jsonl", resume=True)
        source.write_text(source.read_text()[:-1])
        with pytest.raises(UsageError, match="variant differ"):
            run(artifact, source, tmp_path / "out.jsonl", resume=True, variant="model_double")

    def test_damaged_parts_are_told(self, artifact: Path, source: Path, tmp_path: Path) -> None:
        self._stop_early(artifact, source, tmp_path / "out.jsonl")
        folder = tmp_path / "out.jsonl.parts"
        first = folder / "part-00000000.npz"
        content = first.read_bytes()
        first.write_bytes(content[: len(content) // 2])
        with pytest.raises(StorageError, match="is damaged"):
            run(artifact, source, tmp_path / "out.jsonl", resume=True)
        first.unlink()
        with pytest.raises(StorageError, match=r"lacks part-00000000\.npz"):
            run(artifact, source, tmp_path / "out.jsonl", resume=True)
        (folder / "job.json").write_text("{")
        with pytest.raises(StorageError, match=r"job\.json is damaged"):
            run(artifact, source, tmp_path / "out.jsonl", resume=True)

    def test_two_processes_do_not_work_in_one_folder(self, tmp_path: Path) -> None:
        pytest.importorskip("fcntl")
        same = Job("a", None, "b", "model", "onnxruntime-cpu", "fp32")
        with (
            Parts(tmp_path / "parts", same, True),
            pytest.raises(UsageError, match="another process works in"),
            Parts(tmp_path / "parts", same, True),
        ):
            pass
        with Parts(tmp_path / "parts", same, True):
            pass

    def _stop_early(self, artifact: Path, source: Path, output: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            write_part = Parts.write

            def fail(self: Parts, number: int, part: Part) -> None:
                if number == 2:
                    raise KeyboardInterrupt
                write_part(self, number, part)

            patch.setattr(Parts, "write", fail)
            with pytest.raises(KeyboardInterrupt):
                run(artifact, source, output)


def test_a_disk_that_refuses_is_a_storage_error(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in.txt", texts(4))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device; what is done so far is kept, --resume goes on"):
        run(artifact, tmp_path / "in.txt", tmp_path / "out.npy")
    monkeypatch.undo()
    assert run(artifact, tmp_path / "in.txt", tmp_path / "out.npy", resume=True).vectors == 4


def test_the_command(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "in.jsonl", ["hello", "world"])
    with open(tmp_path / "in.jsonl", "a") as file:
        file.write("{broken\n")
    command = ["embed", str(artifact), str(tmp_path / "in.jsonl"), str(tmp_path / "out.npy"), "--threads", "1"]
    assert cli.main(command) == 0
    text = capsys.readouterr().out
    assert "2 vectors of 4 numbers" in text
    assert "1 broken lines left out; see" in text
    assert cli.main(command) == 2
    assert "--force" in capsys.readouterr().err
    assert cli.main([*command, "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["broken"] == 1
