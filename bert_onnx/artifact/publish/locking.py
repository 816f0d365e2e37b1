"""Locks that die with their process, on a file or on a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bert_onnx.errors import ArtifactError

WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.02


@contextmanager
def publishing_lock(path: Path, wait_seconds: float | None = None) -> Iterator[None]:
    """Hold the lock file `path`; it is removed afterwards. One left by a dead process does not block.

    `wait_seconds` is how long to wait for another holder; None means `WAIT_SECONDS`.

    Raises:
        ArtifactError: another process held it for all of `wait_seconds`.
        OSError: the file cannot be made, or the file system has no locks.
    """
    import filelock  # here: it takes longer to import than the whole contract

    wait_seconds = WAIT_SECONDS if wait_seconds is None else wait_seconds
    lock = filelock.FileLock(path, timeout=wait_seconds)
    try:
        lock.acquire(poll_interval=_POLL_SECONDS)
    except filelock.Timeout:
        raise ArtifactError(
            f"another export has held {path} for {wait_seconds:.0f} seconds; wait for it to finish, then try again."
        ) from None
    try:
        yield
    finally:
        # What was published stays so, whatever this meets: a file that stays does not block.
        with suppress(OSError):
            path.unlink()  # while it is still held: filelock takes no lock of a file that is gone, and makes another
        with suppress(OSError):
            lock.release()


def open_locked_folder(folder: Path) -> int | None:
    """Open and lock `folder`; a descriptor to close, or None where somebody holds it or it is gone.

    Raises:
        OSError: the file system has no locks.
    """
    import fcntl  # here: Windows has no such locks, and no O_DIRECTORY, for which callers look first

    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(descriptor, folder):
            return descriptor
    except BlockingIOError:
        pass
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
