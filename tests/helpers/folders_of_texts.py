"""Folders of numbered texts for the toy model, some of them broken, and what must come of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_artifacts import VOCABULARY, table

from runtimes.pipelines.batches import BatchOptions
from runtimes.scale.job import embed_folder
from runtimes.scale.request import FolderReport, FolderRequest
from runtimes.selection.request import RuntimeRequest

WORDS = ("hello", "world", "good", "my", "night")


def text(number: int) -> str | None:
    return None if number % 5 == 4 else " ".join(WORDS[(number + k) % 5] for k in range(1 + number % 7))


def vector(number: int) -> np.ndarray:
    words = (text(number) or "").split()
    return table()[[VOCABULARY.index(word) for word in ("[CLS]", *words, "[SEP]")]].mean(axis=0)


def write_parquet(folder: Path, rows: int, files: int = 2) -> Path:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder.mkdir()
    for number in range(files):
        ids = range(rows * number // files, rows * (number + 1) // files)
        columns = {"id": list(ids), "text": [text(one) for one in ids], "tags": [[f"t{one}"] for one in ids]}
        parquet.write_table(arrow.table(columns), folder / f"f{number}.parquet", row_group_size=7)
    return folder


def run(artifact: Path, source: Any, output: Any, **changes: Any) -> FolderReport:
    runtime = RuntimeRequest(runtime="onnxruntime-cpu")
    values = {"runtime": runtime, "batching": BatchOptions(piece=3), "partitions": 6, "workers": 1, **changes}
    return embed_folder(FolderRequest(artifact, str(source), str(output), **values))


def found(output: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of all parts, in the order of their names, and broken rows, as one who knows nothing of manifests reads."""
    rows: list[dict[str, Any]] = []
    for path in sorted(output.glob("part-*")):
        if path.suffix == ".parquet":
            rows += pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
        else:
            rows += [json.loads(line) for line in path.read_text().splitlines()]
    broken = [json.loads(line) for path in sorted(output.glob("_errors/*")) for line in path.read_text().splitlines()]
    return rows, broken


def check_whole(output: Path, rows: int) -> None:
    """Each row once, with its own vector; and the manifest says so."""
    good, broken = found(output)
    assert [row["id"] for row in good] == [number for number in range(rows) if text(number) is not None]
    np.testing.assert_allclose([row["embedding"] for row in good], [vector(row["id"]) for row in good], rtol=1e-5)
    assert len(broken) == rows - len(good)
    manifest = json.loads((output / "_manifest.json").read_text())
    assert (manifest["rows"], manifest["broken"]) == (len(good), len(broken))
    assert [part["name"] for part in manifest["parts"]] == sorted(path.name for path in output.glob("part-*"))
    assert not (output / "_aside").exists()
