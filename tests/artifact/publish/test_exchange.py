"""The two ways to replace a folder, and that everything is on the disk before."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from artifact_builders import publish_small, versioned

from bert_onnx.artifact import Artifact
from bert_onnx.artifact.contract import journal
from bert_onnx.artifact.publish import exchange, publishing
from bert_onnx.errors import ArtifactError, StorageError


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
