"""Weights beyond the threshold lie beside the model, in the one file that other tools fetch, and are hashed."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from export_samples import save_checkpoint

from bert_onnx.artifact import Artifact
from bert_onnx.errors import ArtifactError
from export.pipeline import export
from export.request import ExportRequest
from export.verify import verify_artifact

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("external")
    checkpoint = save_checkpoint(folder / "checkpoint", "fill-mask")
    request = ExportRequest(str(checkpoint), output=str(folder / "artifact"), external_data_threshold=1000)
    return export(request).artifact


def test_weights_are_outside(artifact: Artifact) -> None:
    variant = artifact.manifest.variants[0]
    assert variant.data_file == "onnx/model.onnx_data"
    data = artifact.folder / variant.data_file
    graph = onnx.load(artifact.path(), load_external_data=False)
    outside = [t for t in graph.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    assert len(outside) >= 10
    assert {entry.value for t in outside for entry in t.external_data if entry.key == "location"} == {data.name}
    assert variant.size_bytes == data.stat().st_size + artifact.path().stat().st_size
    assert artifact.manifest.files["onnx/model.onnx_data"].size == data.stat().st_size


def test_it_verifies_again(artifact: Artifact) -> None:
    report = verify_artifact(str(artifact.folder), str(artifact.folder.parent / "checkpoint"))
    assert report.to_dict()["passed"] is True


def test_a_changed_byte_of_the_data_is_found(artifact: Artifact) -> None:
    data = artifact.folder / "onnx" / "model.onnx_data"
    before = data.read_bytes()
    try:
        data.write_bytes(bytes([before[0] ^ 1]) + before[1:])
        with pytest.raises(ArtifactError, match=r"model\.onnx_data"):
            Artifact.open(artifact.folder)
    finally:
        data.write_bytes(before)


def test_below_the_threshold_weights_stay_inside(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "feature-extraction")
    artifact = export(ExportRequest(str(checkpoint), output=str(tmp_path / "artifact"))).artifact
    assert artifact.manifest.variants[0].data_file is None
    assert sorted(path.name for path in (artifact.folder / "onnx").iterdir()) == ["model.onnx"]
