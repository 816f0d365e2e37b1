"""Artifacts in a hub's cache and in volumes of Kubernetes open; links that lead out of their tree do not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from toy_artifacts import publish_toy

import runtimes
from bert_onnx.artifact import Artifact
from bert_onnx.errors import ArtifactError


def cached(tmp_path: Path) -> Path:
    """<model>/snapshots/<commit>/x -> ../../blobs/<n>, as huggingface_hub keeps a repository."""
    folder = publish_toy(tmp_path / "artifact")
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        place = snapshot / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, blobs / str(number))
        place.symlink_to(os.path.relpath(blobs / str(number), place.parent))
    shutil.rmtree(folder)
    return snapshot


def mounted(tmp_path: Path) -> Path:
    """x -> ..data/x, ..data -> ..2026_01_01, as kubelet mounts a volume."""
    folder = publish_toy(tmp_path / "artifact")
    volume = tmp_path / "volume"
    volume.mkdir()
    shutil.move(folder, volume / "..2026_01_01")
    (volume / "..data").symlink_to("..2026_01_01")
    for path in (volume / "..data").iterdir():
        (volume / path.name).symlink_to(f"..data/{path.name}")
    return volume


@pytest.mark.parametrize("place", [cached, mounted])
def test_folders_of_links_within_their_tree_open(place: object, tmp_path: Path) -> None:
    folder = place(tmp_path)  # type: ignore[operator]
    with runtimes.load(folder) as model:
        assert model.embed(["hello"]).shape == (1, 4)
    assert Artifact.open(folder).is_current()


@pytest.mark.parametrize("place", [cached, mounted])
@pytest.mark.parametrize("name", ["config.json", "manifest.json", "onnx/model.onnx"])
def test_links_that_lead_out_of_the_tree_are_refused(place: object, name: str, tmp_path: Path) -> None:
    folder = place(tmp_path)  # type: ignore[operator]
    outside = tmp_path / "outside"
    shutil.copy(folder / name, outside)
    (folder / name).unlink()
    (folder / name).symlink_to(outside)
    with pytest.raises(ArtifactError, match=r"is a link that leaves the artifact|is not a regular file"):
        Artifact.open(folder)


@pytest.mark.parametrize("place", [cached, mounted])
def test_contents_are_hashed_through_links(place: object, tmp_path: Path) -> None:
    folder = place(tmp_path)  # type: ignore[operator]
    path = Path(os.path.realpath(folder / "onnx" / "model.onnx"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="sha256 differs"):
        Artifact.open(folder)


def test_unlisted_files_are_found_in_both(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    snapshot, volume = cached(tmp_path / "one"), mounted(tmp_path / "two")
    (snapshot / "evil.py").symlink_to(os.path.realpath(snapshot / "config.json"))
    (volume / "evil.py").write_text("")
    for folder in (snapshot, volume):
        with pytest.raises(ArtifactError, match=r"evil\.py"):
            Artifact.open(folder)
    (volume / "evil.py").unlink()
    (volume / "..data" / "evil.py").write_text("")
    with pytest.raises(ArtifactError, match=r"evil\.py"):
        Artifact.open(volume)


def test_blobs_beside_another_layout_are_outside(tmp_path: Path) -> None:
    snapshot = cached(tmp_path)
    snapshot.parent.rename(snapshot.parent.with_name("others"))
    with pytest.raises(ArtifactError):
        Artifact.open(snapshot.parent.with_name("others") / "abc")


def test_data_that_links_outside_is_no_volume(tmp_path: Path) -> None:
    folder = mounted(tmp_path)
    shutil.move(folder / "..2026_01_01", tmp_path / "elsewhere")
    (folder / "..data").unlink()
    (folder / "..data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError):
        Artifact.open(folder)
