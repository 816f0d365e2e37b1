"""`bert-onnx embed` of models whose texts have several rows: sparse embeddings, and vectors of tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_samples import save_checkpoint
from served_models import export_late

import bert_onnx
from bert_onnx.cli import main as cli
from export.pipeline import export
from export.request import ExportRequest

pytestmark = pytest.mark.slow

TEXTS = ["hello", "", "hello world , hello", "a b c d e", "world"]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("rows")
    checkpoint = save_checkpoint(folder / "checkpoint", "fill-mask")
    export(ExportRequest(str(checkpoint), output=str(folder / "sparse"), task="sparse-embedding"))
    return {"sparse": folder / "sparse", "late": export_late(folder)}


def embed(artifact: Path, output: Path, *options: str) -> int:
    source = output.parent / "in.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS) + "{broken\n")
    return cli.main(["embed", str(artifact), str(source), str(output), "--threads", "1", *options])


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows: list[dict[str, Any]] = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    return rows


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_sparse_embeddings(artifacts: dict[str, Path], tmp_path: Path, name: str) -> None:
    assert embed(artifacts["sparse"], tmp_path / name) == 0
    rows = read(tmp_path / name)
    with bert_onnx.load(artifacts["sparse"], threads=1) as model:
        expected = model.embed_sparse(TEXTS)
        assert [row["line"] for row in rows] == [1, 2, 3, 4, 5]
        for row, wanted in zip(rows, expected, strict=True):
            assert row["indices"] == wanted.indices.tolist()
            assert row["tokens"] == model.tokenizer.convert_ids_to_tokens(row["indices"])
            np.testing.assert_allclose(row["weights"], wanted.weights, rtol=1e-6)


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
@pytest.mark.parametrize("queries", [False, True])
def test_vectors_of_tokens(artifacts: dict[str, Path], tmp_path: Path, name: str, queries: bool) -> None:
    assert embed(artifacts["late"], tmp_path / name, *(["--queries"] if queries else [])) == 0
    rows = read(tmp_path / name)
    with bert_onnx.load(artifacts["late"], threads=1) as model:
        expected = (model.encode_query if queries else model.encode_document)(TEXTS)
    assert [len(row["embedding"]) for row in rows] == [len(wanted) for wanted in expected]
    for row, wanted in zip(rows, expected, strict=True):
        np.testing.assert_allclose(np.reshape(row["embedding"], wanted.shape), wanted, atol=1e-6)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("kind", ["sparse", "late"])
def test_folders_have_the_rows_of_files(artifacts: dict[str, Path], tmp_path: Path, kind: str, suffix: str) -> None:
    pytest.importorskip("pyarrow")
    assert embed(artifacts[kind], tmp_path / f"out.{suffix}") == 0
    more = ["--format", suffix, "--partitions", "2", "--workers", "1", "--json"]
    source, output = str(tmp_path / "in.jsonl"), tmp_path / "out"
    assert cli.main(["embed", str(artifacts[kind]), source, str(output), "--threads", "1", *more]) == 0
    found = [row for path in sorted(output.glob("part-*")) for row in read(path)]
    assert [row["text"] for row in found] == TEXTS
    for row, wanted in zip(found, read(tmp_path / f"out.{suffix}"), strict=True):
        for name in wanted.keys() - {"line"}:
            if name == "tokens":
                assert row[name] == wanted[name]
            else:
                np.testing.assert_allclose(np.ravel(row[name]), np.ravel(wanted[name]), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "name", "options", "words"),
    [
        ("sparse", "out.npy", [], "write them to .jsonl or .parquet"),
        ("sparse", "out.jsonl", ["--queries"], "--queries is for late-interaction"),
        ("late", "out.jsonl", ["--truncate-dim", "4"], "--truncate-dim shortens the one vector"),
    ],
)
def test_what_does_not_fit_is_refused(
    artifacts: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    name: str,
    options: list[str],
    words: str,
) -> None:
    assert embed(artifacts[kind], tmp_path / name, *options) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / name).exists()
