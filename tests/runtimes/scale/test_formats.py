"""What folders of texts hold in practice: compressed lines, names like lang=de, links, globs, types of many kinds."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from folders_of_texts import WORDS, found, run
from toy_artifacts import publish_toy

from bert_onnx.errors import InputError
from runtimes.pipelines.batches import BatchOptions
from runtimes.scale.folders import Column
from runtimes.scale.slices import Slice, from_json, to_json

pytestmark = pytest.mark.slow
arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("fsspec")

LINES = b"".join(b'{"id": %d, "text": "%s"}\n' % (n, WORDS[n % 5].encode()) for n in range(2500))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_toy(tmp_path_factory.mktemp("toy") / "artifact")


def zstd(content: bytes) -> bytes:
    packed: bytes = arrow.compress(content, codec="zstd", asbytes=True)
    return packed


def write(path: Path, **columns: Any) -> Path:
    """Three rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(arrow.table({"id": [0, 1, 2], "text": list(WORDS[:3]), **columns}), path)
    return path


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".jsonl.gz", gzip.compress), (".json.bz2", bz2.compress), (".ndjson.xz", lzma.compress), (".jsonl.zst", zstd)],
)
def test_compressed_lines(artifact: Path, tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    """Of two members, as logs that were put together have; slices begin anywhere. One that is cut off is refused."""
    folder = tmp_path / "in"
    folder.mkdir()
    packed = pack(LINES[:40_000]) + pack(LINES[40_000:])
    (folder / f"x{suffix}").write_bytes(packed)
    run(artifact, folder, tmp_path / "out", partitions=3, batching=BatchOptions())
    assert [json.loads(row["json"])["id"] for row in found(tmp_path / "out")[0]] == list(range(2500))
    (folder / f"x{suffix}").write_bytes(packed[:-9])
    with pytest.raises(InputError, match=rf"x{suffix} (is damaged|cannot be read): .+"):
        run(artifact, folder, tmp_path / "cut")


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_folders_are_columns(artifact: Path, tmp_path: Path, suffix: str) -> None:
    """As Spark and Arrow read them: escapes, nulls, integers where all are; what a file has itself stays its own."""
    folder, names = tmp_path / "in", ("lang=b%20c/day=02", "lang=__HIVE_DEFAULT_PARTITION__/day=1")
    for name in names:
        write(folder / name / "x.parquet")
    write(folder / "lang=x" / "day=3" / "x.parquet", lang=["own"] * 3)
    run(artifact, folder, tmp_path / "out", suffix=suffix)
    rows = found(tmp_path / "out")[0]
    assert [(row["lang"], row["day"]) for row in rows] == [(None, 1)] * 3 + [("b c", 2)] * 3 + [("own", 3)] * 3


def test_folders_of_lines_are_fields(artifact: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "lang=de"
    folder.mkdir(parents=True)
    (folder / "x.jsonl").write_text('{"text": "hello"}\n')
    run(artifact, tmp_path / "in", tmp_path / "out", suffix=".jsonl")
    (row,) = found(tmp_path / "out")[0]
    assert (row["text"], row["lang"], len(row["embedding"])) == ("hello", "de", 4)
    piece = Slice("part", "x", 0, 1, folders=(Column("lang", "de", False),))
    assert from_json(to_json(piece)) == piece


def test_links_are_followed_once(artifact: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "x.parquet")
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "in")
    assert run(artifact, tmp_path / "in", tmp_path / "out").vectors == 3
    (tmp_path / "in" / "gone.parquet").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"gone\.parquet cannot be read: No such file"):
        run(artifact, tmp_path / "in", tmp_path / "second")


@pytest.mark.parametrize(
    ("pattern", "rows"), [("day=[12]", 6), ("day=*/*.parquet", 9), ("**/*.parquet", 12), ("a[1]", 3)]
)
def test_globs(artifact: Path, tmp_path: Path, pattern: str, rows: int) -> None:
    """Of files and of folders; a folder that is called so is taken as it is."""
    for name in ("day=1", "day=2", "day=3", "a[1]"):
        write(tmp_path / "in" / name / "x.parquet")
    assert run(artifact, tmp_path / "in" / pattern, tmp_path / "out").vectors == rows
    with pytest.raises(InputError, match=r"in/y\* has no file that ends with"):
        run(artifact, tmp_path / "in" / "y*", tmp_path / "none")


NESTED = arrow.list_(arrow.struct([("a", arrow.timestamp("ns"))]))
MOMENT = 1_700_000_000_123_456_789
COLUMNS = {
    "when": arrow.array([datetime(2024, 1, 1, tzinfo=timezone.utc)] * 3, arrow.timestamp("us", "Asia/Tokyo")),
    "exact": arrow.array([MOMENT, None, MOMENT], arrow.timestamp("ns")),
    "deep": arrow.array([[{"a": MOMENT}], None, []], NESTED),
    "price": arrow.array([Decimal("1.20")] * 3, arrow.decimal128(20, 2)),
    "view": arrow.array(["a", None, "b"], arrow.string_view()),
    "map": arrow.array([[("k", 1)]] * 3, arrow.map_(arrow.string(), arrow.int64())),
    "kind": arrow.array(["x", "y", None]).dictionary_encode(),
}  # fmt: skip


def test_columns_pass_through(artifact: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in" / "x.parquet", **COLUMNS)
    run(artifact, source, tmp_path / "out", partitions=1)
    (part,) = (tmp_path / "out").glob("part-*")
    table = parquet.read_table(part)
    for name, column in COLUMNS.items():
        expected = column.cast(arrow.large_string()) if name == "view" else column
        assert table[name].combine_chunks().equals(expected), name


def test_columns_as_json(artifact: Path, tmp_path: Path) -> None:
    """Nothing is rounded."""
    run(artifact, write(tmp_path / "in" / "x.parquet", **COLUMNS), tmp_path / "out", suffix=".jsonl")
    row, second, _ = found(tmp_path / "out")[0]
    assert (row["when"], row["exact"]) == ("2024-01-01T09:00:00+09:00", "2023-11-14 22:13:20.123456789")
    assert row["deep"] == [{"a": "2023-11-14 22:13:20.123456789"}]
    assert (row["price"], row["map"], row["kind"]) == ("1.20", [["k", 1]], "x")
    assert (second["exact"], second["deep"]) == (None, None)


def test_bytes_are_texts(artifact: Path, tmp_path: Path) -> None:
    """Some writers of parquet do not say that theirs are text."""
    source = write(tmp_path / "in" / "x.parquet", text=arrow.array([b"hello", b"\xff", None]))
    assert run(artifact, source, tmp_path / "out").vectors == 1
    assert [row["reason"] for row in found(tmp_path / "out")[1]] == [
        "its 'text' is not valid Unicode",
        "its 'text' is empty, not text",
    ]


def test_what_cannot_be_read_is_told(artifact: Path, tmp_path: Path) -> None:
    twice = arrow.table([[1], ["hello"], [2]], names=["id", "text", "id"])
    (tmp_path / "a").mkdir()
    parquet.write_table(twice, tmp_path / "a" / "x.parquet")
    with pytest.raises(InputError, match="two columns called 'id'; give them names that differ"):
        run(artifact, tmp_path / "a", tmp_path / "out")
    (tmp_path / "b.json").write_text('[{"text": "hello"}]')
    with pytest.raises(InputError, match="is an array; write an object a line"):
        run(artifact, tmp_path / "b.json", tmp_path / "out")
