"""Destinations and staging folders: what is replaced, and what is never deleted."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from artifact_builders import fill, make_manifest, publish_small, versioned

from bert_onnx.artifact import Artifact
from bert_onnx.artifact.publish import check_destination, publish, seal, staging, staging_folder
from bert_onnx.errors import ArtifactError, StorageError


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_destination_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = publish_small(tmp_path / "a" / "b" / "artifact")
    assert Artifact.open(folder).folder == tmp_path / "a" / "b" / "artifact"


def test_parents_are_removed_when_nothing_is_published(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), staging_folder(tmp_path / "a" / "b" / "artifact"):
        raise RuntimeError("stop")
    assert os.listdir(tmp_path) == []


def test_existing_destination_is_refused_without_force(tmp_path: Path) -> None:
    folder = publish_small(tmp_path / "artifact", files=versioned(1))
    for action in (lambda: check_destination(folder, force=False), lambda: publish_small(folder)):
        with pytest.raises(
            ArtifactError, match="artifact exists; choose another output folder, or replace it with --force"
        ):
            action()
    assert (folder / "config.json").read_bytes()[:1] == b"\x01"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="empty exists"):
        check_destination(tmp_path / "empty", force=False)


def test_force_replaces_artifacts_and_empty_folders(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert Artifact.open(publish_small(tmp_path / "empty", force=True, files=versioned(1)))
    publish_small(tmp_path / "empty", force=True, files=versioned(2))
    assert (tmp_path / "empty" / "config.json").read_bytes()[:1] == b"\x02"


def _foreign_folder(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")


def _web_app(folder: Path) -> None:
    _foreign_folder(folder)
    (folder / "manifest.json").write_text('{"name": "an app", "icons": []}')


def _artifact_with_notes(folder: Path) -> None:
    publish_small(folder)
    (folder / "thesis.md").write_text("years of work")


def _artifact_with_repository(folder: Path) -> None:
    publish_small(folder)
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main")


def _file(folder: Path) -> None:
    folder.write_text("years of work")


def _manifest_folder(folder: Path) -> None:
    (folder / "manifest.json").mkdir(parents=True)


@pytest.mark.parametrize(
    "make", [_foreign_folder, _web_app, _artifact_with_notes, _artifact_with_repository, _file, _manifest_folder]
)
def test_force_never_deletes_what_is_not_ours(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = tmp_path / "out"
    make(folder)
    before = files_below(tmp_path)
    with pytest.raises(ArtifactError):
        check_destination(folder, force=True)
    with pytest.raises(ArtifactError):
        publish_small(folder, force=True)
    assert files_below(tmp_path) == before


def test_force_replaces_a_damaged_artifact(tmp_path: Path) -> None:
    folder = publish_small(tmp_path / "artifact")
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes()[:300])
    publish_small(folder, force=True)
    assert Artifact.open(folder)
    (folder / "onnx/model.onnx").unlink()
    (folder / ".DS_Store").write_bytes(b"x")
    publish_small(folder, force=True)
    assert Artifact.open(folder)


def test_a_destination_that_appears_during_the_export_is_refused(tmp_path: Path) -> None:
    destination = tmp_path / "artifact"
    assert check_destination(destination, force=False) == destination
    with staging_folder(destination) as stage:
        fill(stage, versioned(1))
        seal(stage, make_manifest())
        publish_small(destination, files=versioned(2))
        with pytest.raises(ArtifactError, match="exists"):
            publish(stage, destination)
    assert (destination / "config.json").read_bytes()[:1] == b"\x02"
    assert os.listdir(tmp_path) == ["artifact"]


def test_a_link_as_destination_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "current"
    link.symlink_to("disk/artifact")
    publish_small(link, files=versioned(1))
    publish_small(link, force=True, files=versioned(2))
    assert link.is_symlink()
    assert (tmp_path / "disk" / "artifact" / "config.json").read_bytes()[:1] == b"\x02"
    assert os.listdir(tmp_path / "disk") == ["artifact"]


def test_mode_of_the_folder_honours_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        folder = publish_small(tmp_path / "artifact")
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert stat.S_IMODE((folder / "manifest.json").stat().st_mode) == 0o640


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="the name is too long"):
        publish_small(tmp_path / ("x" * 250))
    assert os.listdir(tmp_path) == []


def test_a_file_among_the_parents(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="part of the path is a file"):
        publish_small(tmp_path / "file" / "sub" / "artifact")


def test_staging_is_an_empty_sibling_that_goes_away(tmp_path: Path) -> None:
    with staging_folder(tmp_path / "artifact") as stage:
        assert stage.parent == tmp_path
        assert stage.name.startswith(f".artifact.staging-{os.getpid()}-")
        assert os.listdir(stage) == []
    assert os.listdir(tmp_path) == []


def test_neighbours_are_not_taken_for_leftovers(tmp_path: Path) -> None:
    """Names that only look alike: another destination's staging, a file, a folder of a user."""
    names = [".artifact2.staging-1-ab", ".other.staging-1-ab", "artifact.staging-1-ab", ".artifact.stagin"]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / ".artifact.staging-1-aa").mkdir()
    publish_small(tmp_path / "artifact")
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "artifact"])


def test_a_link_among_the_leftovers_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    (tmp_path / ".artifact.staging-1-ab").symlink_to("precious")
    publish_small(tmp_path / "artifact")
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years of work"


def test_leftovers_where_folders_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows: a leftover is known by its age."""
    monkeypatch.delattr(os, "O_DIRECTORY")
    old, young = tmp_path / ".artifact.staging-1-aa", tmp_path / ".artifact.staging-1-bb"
    old.mkdir()
    young.mkdir()
    os.utime(old, (0, 0))
    publish_small(tmp_path / "artifact")
    assert sorted(os.listdir(tmp_path)) == [young.name, "artifact"]


def test_a_cleaner_between_creation_and_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, removed = staging.open_locked_folder, []

    def slow(folder: Path) -> int | None:
        if not removed:
            folder.rmdir()
            removed.append(folder)
        return real(folder)

    monkeypatch.setattr(staging, "open_locked_folder", slow)
    with staging_folder(tmp_path / "artifact") as stage:
        assert stage.is_dir()
        assert stage != removed[0]
