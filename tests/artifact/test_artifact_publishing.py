"""Sealing, destinations, staging folders, locks and the two ways to replace a folder."""

from __future__ import annotations

import builtins
import errno
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from artifact_builders import FILES, fill, make_manifest, make_variant, publish_small, versioned

from bert_onnx.artifact import (
    Artifact,
    check_destination,
    exchange,
    journal,
    locking,
    publish,
    publishing,
    seal,
    staging,
    staging_folder,
)
from bert_onnx.artifact.storage import is_storage_failure, storage_error
from bert_onnx.errors import ArtifactError, RuntimeUnavailableError, StorageError, VerificationError


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Sealing


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


# Destinations


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


# Staging folders


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


# The two ways to replace a folder


@pytest.mark.skipif(sys.platform != "linux", reason="the system call of Linux")
def test_exchange_swaps_two_folders(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name)
    exchange.exchange(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "one" / "content").read_text() == "two"
    assert (tmp_path / "two" / "content").read_text() == "one"
    with pytest.raises(FileNotFoundError):
        exchange.exchange(tmp_path / "one", tmp_path / "three")


@pytest.mark.skipif(sys.platform != "linux", reason="the system call of Linux")
def test_exchange_without_the_wrapper_of_the_c_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    real = ctypes.CDLL(None, use_errno=True)

    class OldLibrary:
        """A C library from before renameat2: it has the bare system call alone."""

        syscall = real.syscall

    monkeypatch.setattr(ctypes, "CDLL", lambda name, use_errno: OldLibrary)
    test_exchange_swaps_two_folders(tmp_path)
    monkeypatch.setattr(exchange.platform, "machine", lambda: "vax")
    with pytest.raises(exchange.ExchangeUnsupportedError):
        exchange.exchange(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_file_systems_that_refuse_are_told_from_errors(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(exchange, "_system_call", lambda: lambda first, second: number)
    with pytest.raises(exchange.ExchangeUnsupportedError):
        exchange.exchange(Path("a"), Path("b"))
    monkeypatch.setattr(exchange, "_system_call", lambda: lambda first, second: errno.EACCES)
    with pytest.raises(PermissionError):
        exchange.exchange(Path("a"), Path("b"))


def test_systems_without_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange.sys, "platform", "plan9")
    publish_small(tmp_path / "artifact", files=versioned(1))
    publish_small(tmp_path / "artifact", force=True, files=versioned(2))
    assert (tmp_path / "artifact" / "config.json").read_bytes()[:1] == b"\x02"
    assert os.listdir(tmp_path) == ["artifact"]


def _no_exchange(first: Path, second: Path) -> None:
    raise exchange.ExchangeUnsupportedError("injected")


@pytest.mark.parametrize("failing", [1, 2])
def test_a_rename_that_fails_leaves_the_old_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    destination = publish_small(tmp_path / "artifact", files=versioned(1))
    monkeypatch.setattr(publishing, "exchange", _no_exchange)
    real, count = os.rename, 0

    def rename(source: Any, target: Any) -> None:
        nonlocal count
        count += 1
        if count == failing:
            raise OSError(errno.EIO, "Input/output error")
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(StorageError, match="input/output error"):
        publish_small(destination, force=True, files=versioned(2))
    assert (destination / "config.json").read_bytes()[:1] == b"\x01"
    assert os.listdir(tmp_path) == ["artifact"]


def test_a_rename_that_cannot_be_taken_back_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both the second rename and the one that should undo the first fail: the old artifact waits under another name."""
    destination = publish_small(tmp_path / "artifact", files=versioned(1))
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "exchange", _no_exchange)
        real, count = os.rename, 0

        def rename(source: Any, target: Any) -> None:
            nonlocal count
            count += 1
            if count > 1:
                raise OSError(errno.EIO, "Input/output error")
            real(source, target)

        patch.setattr(os, "rename", rename)
        with pytest.raises(StorageError, match="input/output error"):
            publish_small(destination, force=True, files=versioned(2))
        assert not destination.exists()
    assert Artifact.open(destination).path().read_bytes()[:1] == b"\x01"
    publish_small(destination, force=True, files=versioned(3))
    assert os.listdir(tmp_path) == ["artifact"]


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "null", '{"staged": 3}', '{"staged": "../elsewhere"}', '{"staged": "elsewhere"}',
        '{"staged": ".artifact.staging-1-ab/../elsewhere"}', '{"staged": ".artifact.staging-none"}', "[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_or_hostile_journal_is_ignored(tmp_path: Path, text: str) -> None:
    publish_small(tmp_path / "elsewhere")
    destination = tmp_path / "artifact"
    journal.journal_path(destination).write_text(text)
    with pytest.raises(ArtifactError, match="does not exist"):
        Artifact.open(destination)
    publish_small(destination)
    assert sorted(os.listdir(tmp_path)) == ["artifact", "elsewhere"]


def test_a_reader_that_does_the_second_rename_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the publisher's two renames a reader comes, and does the second."""
    destination = publish_small(tmp_path / "artifact", files=versioned(1))
    monkeypatch.setattr(publishing, "exchange", _no_exchange)
    real, opened = os.rename, []

    def rename(source: Any, target: Any) -> None:
        real(source, target)
        if str(target).endswith(".old"):
            opened.append(Artifact.open(destination))

    monkeypatch.setattr(os, "rename", rename)
    publish_small(destination, force=True, files=versioned(2))
    assert opened[0].path().read_bytes()[:1] == b"\x02"
    assert opened[0].is_current()
    assert os.listdir(tmp_path) == ["artifact"]


def test_everything_is_on_the_disk_before_it_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    destination = publish_small(tmp_path / "artifact", files=versioned(1))
    events: list[object] = []
    real_fsync, real_exchange = os.fsync, publishing.exchange

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        events.append((status.st_dev, status.st_ino))
        real_fsync(descriptor)

    def swap(first: Path, second: Path) -> None:
        real_exchange(first, second)
        events.append("exchange")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(publishing, "exchange", swap)
    publish_small(destination, force=True, files=versioned(2))

    def identity(path: Path) -> tuple[int, int]:
        return path.stat().st_dev, path.stat().st_ino

    before, after = events[: events.index("exchange")], events[events.index("exchange") + 1 :]
    assert {identity(path) for path in (destination, *destination.rglob("*"))} <= set(before)
    assert identity(tmp_path) in after


def test_a_file_system_that_cannot_sync_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert Artifact.open(publish_small(tmp_path / "artifact"))


def test_a_failed_sync_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageError, match="input/output error"):
        publish_small(tmp_path / "artifact")
    assert os.listdir(tmp_path) == []


# Locks


def test_lock_file_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locking.publishing_lock(path):
        assert path.exists()
        with pytest.raises(ArtifactError, match="another export has held"), locking.publishing_lock(path, 0.05):
            pytest.fail("two hold one lock")
    assert not path.exists()


def test_a_lock_file_that_is_removed_under_a_waiter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The waiter opens the file, the holder removes it and lets go: the waiter's lock is worth nothing."""
    path, real, removed = tmp_path / "lock", locking.try_lock, []

    def late(descriptor: int) -> bool:
        if not removed:
            path.unlink()
            removed.append(True)
        return real(descriptor)

    monkeypatch.setattr(locking, "try_lock", late)
    with locking.publishing_lock(path):
        assert path.exists()
        with pytest.raises(ArtifactError), locking.publishing_lock(path, 0.05):
            pytest.fail("two hold one lock")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locking.fcntl, "flock", flock)
    with pytest.raises(StorageError, match="no file locks; choose a local folder"):
        publish_small(tmp_path / "artifact")
    assert not (tmp_path / "artifact").exists()


def test_systems_without_fcntl_use_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "fcntl", None)
    publish_small(tmp_path / "artifact", files=versioned(1))
    publish_small(tmp_path / "artifact", force=True, files=versioned(2))
    assert Artifact.open(tmp_path / "artifact")
    with (
        locking.publishing_lock(tmp_path / "lock"),
        pytest.raises(ArtifactError, match="another export"),
        locking.publishing_lock(tmp_path / "lock", 0.05),
    ):
        pytest.fail("two hold one lock")


def test_systems_without_any_locks_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "fcntl", None)
    monkeypatch.delitem(sys.modules, "filelock", raising=False)
    real = builtins.__import__

    def missing(name: str, *rest: Any, **named: Any) -> Any:
        if name == "filelock":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(RuntimeUnavailableError, match="filelock"):
        publish_small(tmp_path / "artifact")
    assert os.listdir(tmp_path) == []


# Errors of the storage


def test_sentences_about_the_storage(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert str(storage_error(full, Path("out"), 1234567)) == (
        "cannot write out (1,234,567 bytes needed): the disk is full; free some space or choose another folder."
    )
    assert "Too many links" in str(storage_error(OSError(errno.EMLINK, "Too many links"), Path("out")))


def test_errors_that_are_not_the_storage_keep_their_class(tmp_path: Path) -> None:
    """A checkpoint that may not be read is not the output's fault."""
    assert is_storage_failure(OSError(errno.ENOSPC, "full", "/elsewhere/file"), tmp_path)
    assert is_storage_failure(OSError(errno.EACCES, "denied", str(tmp_path / "file")), tmp_path)
    assert not is_storage_failure(OSError(errno.EACCES, "denied", "/elsewhere/file"), tmp_path)
    assert not is_storage_failure(OSError(errno.ENOENT, "missing", str(tmp_path / "file")), tmp_path)
    with pytest.raises(PermissionError), staging_folder(tmp_path / "artifact"):
        raise PermissionError(errno.EACCES, "denied", "/elsewhere/file")
