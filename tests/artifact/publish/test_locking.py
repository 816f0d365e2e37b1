"""Locks, and what the storage refuses."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest
from artifact_builders import publish_small

from bert_onnx.artifact.publish import locking, staging_folder
from bert_onnx.artifact.publish.storage import is_storage_failure, storage_error
from bert_onnx.errors import ArtifactError, StorageError


def test_lock_file_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locking.publishing_lock(path):
        assert path.exists()
        with pytest.raises(ArtifactError, match="another export has held"), locking.publishing_lock(path, 0.05):
            pytest.fail("two hold one lock")
    assert not path.exists()


def test_a_lock_file_that_is_removed_under_a_waiter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The waiter opens the file, the holder removes it and lets go: the waiter's lock is worth nothing."""
    path, real, removed = tmp_path / "lock", fcntl.flock, []

    def late(descriptor: int, operation: int) -> None:
        if not removed:
            path.unlink()
            removed.append(True)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with locking.publishing_lock(path):
        assert path.exists()
        with pytest.raises(ArtifactError), locking.publishing_lock(path, 0.05):
            pytest.fail("two hold one lock")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StorageError, match="no file locks; choose a local folder"):
        publish_small(tmp_path / "artifact")
    assert not (tmp_path / "artifact").exists()


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
