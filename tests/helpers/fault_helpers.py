"""Striking at a publisher: at every step, from a forked process, on a disk of a few pages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from artifact_builders import FILES, fill, make_manifest, publish_small, versioned

from bert_onnx.artifact import Artifact
from bert_onnx.artifact.publish import publishing
from bert_onnx.artifact.publish.exchange import ExchangeUnsupportedError
from bert_onnx.errors import BertOnnxError, StorageError

__all__ = [
    "FILES",
    "KILLED",
    "at_step",
    "end_of",
    "fill",
    "in_child",
    "kill_self",
    "make_manifest",
    "no_fsync",
    "publish_small",
    "refuse_exchange",
    "start_child",
    "tiny_disk",
    "version_at",
    "versioned",
    "way",
]

KILLED = -signal.SIGKILL
_CHANGING_EVENTS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "fcntl.flock"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def refuse_exchange(first: Path, second: Path) -> None:
    raise ExchangeUnsupportedError("injected")


@pytest.fixture(params=["exchange", "journal"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to replace a folder."""
    if request.param == "journal":
        monkeypatch.setattr(publishing, "exchange", refuse_exchange)
    return str(request.param)


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process loses nothing that it wrote, synced or not, and a thousand fsyncs take a minute.

    That everything is synced in time is tested in tests/artifact/test_publishing.py.
    """
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def at_step(number: int, strike: Callable[[object], None]) -> None:
    """Call `strike` at the `number`-th thing that this process does to the disk (from 0). For forked children.

    Things are seen by an audit hook, which cannot be taken out again; fsync and exchange have none and are wrapped.
    `strike` gets the path that is opened or made, else None.
    """
    seen = -1

    def step(path: object = None) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            strike(path)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in _CHANGING_EVENTS:
            step(arguments[0] if event == "os.mkdir" else None)
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
            step(arguments[0])

    real_exchange = publishing.exchange

    def fsync(descriptor: int) -> None:
        step()

    def exchange(first: Path, second: Path) -> None:
        step()
        real_exchange(first, second)

    os.fsync = fsync
    publishing.exchange = exchange
    sys.addaudithook(hook)


def start_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; its id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BertOnnxError as error:
        os._exit(20 if isinstance(error, StorageError) else 21)
    except BaseException:
        traceback.print_exc()
        os._exit(99)


def end_of(child: int) -> int:
    """Exit status of the process `child`, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; its exit status, negative for a signal."""
    return end_of(start_child(work))


def kill_self(path: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def version_at(folder: Path) -> int:
    """The version of the complete artifact at `folder`; files of two versions, or half of one, fail the test."""
    artifact = Artifact.open(folder)
    contents = {(folder / name).read_bytes()[:1] for name in FILES}
    assert len(contents) == 1
    assert set(artifact.manifest.files) == {*FILES, "README.md"}
    return contents.pop()[0]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a tmpfs with the options given, where this user may; else the test is skipped, and says so."""
    mounts: list[Path] = []

    def mount(options: str) -> Path:
        point = tmp_path / f"disk{len(mounts)}"
        point.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(point)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount command here; test_file_size_limit covers a full disk")
        if done.returncode:
            pytest.skip(f"mounting is not permitted here ({done.stderr.strip()}); test_file_size_limit covers it")
        mounts.append(point)
        return point

    yield mount
    for point in mounts:
        subprocess.run(["umount", "-l", str(point)], check=True)
