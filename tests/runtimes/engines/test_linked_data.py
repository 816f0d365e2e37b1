"""Graphs whose weights lie behind links, as in a hub's cache or a volume of Kubernetes, on every engine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from toy_artifacts import INPUTS, OUTPUTS, embedding_graph, table

from runtimes.engines import linked_data
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.table import find_runtime

FEED = {port.name: np.ones((1, 2), np.int64) for port in INPUTS}


def _saved(folder: Path) -> Path:
    folder.mkdir(parents=True)
    onnx.save(
        embedding_graph(table()), folder / "model.onnx", save_as_external_data=True, location="model.onnx_data",
        size_threshold=100,
    )  # fmt: skip
    return folder / "model.onnx"


def cached(tmp_path: Path) -> Path:
    """<model>/snapshots/<commit>/onnx/x -> ../../../blobs/<hash>."""
    plain, blobs = _saved(tmp_path / "plain"), tmp_path / "model" / "blobs"
    place = tmp_path / "model" / "snapshots" / "abc" / "onnx"
    blobs.mkdir(parents=True)
    place.mkdir(parents=True)
    for number, file in enumerate((plain, plain.with_name("model.onnx_data"))):
        shutil.move(file, blobs / str(number))
        (place / file.name).symlink_to(f"../../../blobs/{number}")
    return place / "model.onnx"


def mounted(tmp_path: Path) -> Path:
    """onnx -> ..data/onnx, ..data -> ..2026."""
    _saved(tmp_path / "..2026" / "onnx")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "onnx").symlink_to("..data/onnx")
    return tmp_path / "onnx" / "model.onnx"


@pytest.mark.parametrize("place", [cached, mounted])
@pytest.mark.parametrize("name", ["onnxruntime-cpu", "openvino", "reference", "tract"])
def test_every_engine_opens_weights_behind_links(name: str, place: object, tmp_path: Path) -> None:
    path = place(tmp_path)  # type: ignore[operator]
    with find_runtime(name).load_class().open(path, INPUTS, OUTPUTS, RuntimeOptions(threads=1)) as runtime:
        assert runtime.describe().model == "model.onnx"
        result = runtime.run(FEED)["sentence_embedding"]
    np.testing.assert_allclose(result, table()[[1]] + 1, rtol=1e-5)
    assert not list(tmp_path.rglob("*bert-onnx*"))


def test_links_are_copied_where_hard_links_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*names: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    path = cached(tmp_path)
    monkeypatch.setattr(os, "link", refused)
    with linked_data.without_links(path) as plain:
        assert plain.read_bytes() == path.read_bytes()
        assert not plain.is_symlink()
        assert plain.with_name("model.onnx_data").read_bytes() == path.with_name("model.onnx_data").read_bytes()
    assert not plain.exists()


def test_plain_folders_are_left_alone(tmp_path: Path) -> None:
    path = _saved(tmp_path / "plain")
    with linked_data.without_links(path) as same:
        assert same == path
