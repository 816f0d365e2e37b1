"""What the operating system refused, as one sentence: OSError to StorageError."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bert_onnx.errors import StorageError

_FULL = "the disk is full; free some space or choose another folder"
_DENIED = "permission denied; choose a folder that you may write to"
_READ_ONLY = "the disk is read-only; choose another folder"
_MOUNT = "it is a mount point or lies on another disk than its parent; choose a folder inside it"

_SENTENCES: dict[int, str] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file is larger than this disk or its limits (ulimit -f) allow; choose another folder",
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: _READ_ONLY,
    errno.EIO: "the disk reports an input/output error; check it or choose another folder",
    errno.EBUSY: _MOUNT,
    errno.EXDEV: _MOUNT,
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ENOTDIR: "part of the path is a file, not a folder; choose another one",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open; close other programs",
    errno.ENOLCK: "the disk has no file locks; choose a local folder",
}

#: Refusals that can only come from the storage, whichever library met them.
_ALWAYS_STORAGE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
_NO_SPACE_LEFT = 1 << 20


@contextmanager
def storing(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turns each OSError of the block into a StorageError about `path`, for which `needed` bytes were needed.

    Raises:
        StorageError: what the operating system refused.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(error, path, needed) from error


def storage_error(error: OSError, path: Path, needed: int | None = None) -> StorageError:
    """One sentence for `error`, met while storing `path`."""
    reason = _SENTENCES.get(error.errno or 0) or (_FULL if error.errno is None else error.strerror) or str(error)
    size = f" ({needed:,} bytes needed)" if needed is not None else ""
    return StorageError(f"cannot write {path}{size}: {reason}.")


def is_storage_failure(error: OSError, folder: Path) -> bool:
    """Whether `error`, met anywhere while `folder` was being filled, is the storage refusing to store.

    Some writers (numpy among them) report a full disk without an error number; then the free space decides.
    """
    if error.errno in _ALWAYS_STORAGE:
        return True
    if error.errno is None:
        return free_bytes(folder) < _NO_SPACE_LEFT
    names = [name for name in (error.filename, error.filename2) if isinstance(name, str)]
    inside = any(os.path.abspath(name).startswith(os.path.abspath(folder) + os.sep) for name in names)
    return inside and error.errno in _SENTENCES


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written below `folder`; a huge number where the system does not tell."""
    try:
        status = os.statvfs(folder)
    except (OSError, AttributeError):
        return 2**63
    return status.f_bavail * status.f_frsize
