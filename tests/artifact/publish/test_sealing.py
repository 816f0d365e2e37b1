"""Sealing: a manifest of every file, and what does not get one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from artifact_builders import FILES, fill, make_manifest, make_variant, publish_small

from bert_onnx.artifact import Artifact
from bert_onnx.artifact.publish import publish, seal, staging_folder
from bert_onnx.errors import ArtifactError, VerificationError


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_publications_are_identical(tmp_path: Path) -> None:
    first = files_below(publish_small(tmp_path / "one" / "artifact"))
    second = files_below(publish_small(tmp_path / "two" / "other"))
    assert first == second
    assert str(tmp_path).encode() not in first["manifest.json"] + first["README.md"]


def test_seal_fills_in_files_and_sizes(tmp_path: Path) -> None:
    fill(tmp_path)
    sealed = seal(tmp_path, make_manifest())
    assert sealed.variants[0].size_bytes == len(FILES["onnx/model.onnx"]) + len(FILES["onnx/model.onnx_data"])
    assert sealed == Artifact.open(tmp_path).manifest
    again = seal(tmp_path, make_manifest(task="feature-extraction"))
    assert again.task == Artifact.open(tmp_path).manifest.task == "feature-extraction"


@pytest.mark.parametrize("config", [b"[" * 40_000, b"no JSON", b"[]", b"\xff"])
def test_seal_takes_a_config_that_names_no_family_for_one_of_bert(tmp_path: Path, config: bytes) -> None:
    publish_small(tmp_path / "artifact", files=FILES | {"config.json": config})
    assert "bert" in (tmp_path / "artifact" / "README.md").read_text("utf-8")


def test_seal_refuses_what_failed_its_verification(tmp_path: Path) -> None:
    fill(tmp_path)
    variant = make_variant()
    failed = replace(variant, parity=replace(variant.parity, verdict="fail"))
    with pytest.raises(VerificationError, match="'model' did not pass"):
        seal(tmp_path, make_manifest(variants=(failed,)))
    assert not (tmp_path / "manifest.json").exists()


def test_seal_refuses_a_variant_without_its_file(tmp_path: Path) -> None:
    fill(tmp_path)
    with pytest.raises(ArtifactError, match=r"model_int8.*was not written"):
        seal(tmp_path, make_manifest(variants=(make_variant(), make_variant("model_int8"))))


@pytest.mark.parametrize(
    "name", ["a b", ".hidden", "onnx/-x", "é", "a:b", "con", "NUL.txt", "lpt1.md", "end.", "x" * 241]
)
def test_seal_refuses_names_that_are_not_portable(tmp_path: Path, name: str) -> None:
    fill(tmp_path, {**FILES, name: b"x"})
    with pytest.raises(ArtifactError, match="the staging folder"):
        seal(tmp_path, make_manifest())


def test_seal_refuses_links_and_pipes(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "link").symlink_to("config.json")
    with pytest.raises(ArtifactError, match="neither a file nor a folder"):
        seal(tmp_path, make_manifest())
    (tmp_path / "link").unlink()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtifactError, match="neither a file nor a folder"):
        seal(tmp_path, make_manifest())


def test_publish_refuses_what_is_not_sealed(tmp_path: Path) -> None:
    with staging_folder(tmp_path / "artifact") as stage:
        fill(stage)
        with pytest.raises(ArtifactError, match=r"no manifest\.json"):
            publish(stage, tmp_path / "artifact")
        seal(stage, make_manifest())
        (stage / "late.txt").write_text("x")
        with pytest.raises(ArtifactError, match=r"late\.txt"):
            publish(stage, tmp_path / "artifact")
    assert os.listdir(tmp_path) == []
