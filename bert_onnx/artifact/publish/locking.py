"""Locks that die with their process, on a file or on a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from bert_onnx.errors import ArtifactError, RuntimeUnavailableError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.02


@contextmanager
def publishing_lock(path: Path, wait_seconds: float | None = None) -> Iterator[None]:
    """Hold the lock file `path`; it is removed afterwards. One left by a dead process does not block.

    `wait_seconds` is how long to wait for another holder; None means `WAIT_SECONDS`.

    Raises:
        ArtifactError: another process held it for all of `wait_seconds`.
        RuntimeUnavailableError: a system without fcntl and without the filelock library.
        OSError: the file cannot be made, or the file system has no locks.
    """
    wait_seconds = WAIT_SECONDS if wait_seconds is None else wait_seconds
    if fcntl is None:
        with _library_lock(path, wait_seconds):
            yield
        return
    deadline = time.monotonic() + wait_seconds
    while (descriptor := _try_lock_file(path)) is None:
        if time.monotonic() >= deadline:
            raise _busy(path, wait_seconds)
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        with suppress(OSError):  # one that stays does not block
            path.unlink()  # while it is still held; whoever waits sees that it is gone and makes another
        os.close(descriptor)


def _try_lock_file(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    if try_lock(descriptor) and _is_at(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file or folder unless another holds it; closing the descriptor gives it back.

    Always true on systems without fcntl.

    Raises:
        OSError: the file system has no locks.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_locked_folder(folder: Path) -> int | None:
    """Open and lock `folder`; a descriptor to close, or None where somebody holds it or it is gone.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if try_lock(descriptor) and _is_at(descriptor, folder):
            return descriptor
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open `descriptor` is what `path` names now: it may have been removed before we locked it."""
    try:
        there = os.stat(path)
    except OSError:
        return False
    ours = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


@contextmanager
def _library_lock(path: Path, wait_seconds: float) -> Iterator[None]:
    try:
        import filelock
    except ImportError:
        raise RuntimeUnavailableError(
            "publishing an artifact on this system needs the filelock library; pip install 'bert-onnx[export]'."
        ) from None
    try:
        with filelock.FileLock(path, timeout=wait_seconds):
            yield
    except filelock.Timeout:
        raise _busy(path, wait_seconds) from None


def _busy(path: Path, wait_seconds: float) -> ArtifactError:
    return ArtifactError(
        f"another export has held {path} for {wait_seconds:.0f} seconds; wait for it to finish, then try again."
    )
