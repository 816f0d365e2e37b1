"""Staging folders: where an artifact grows beside its destination, and how those of dead processes are found."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bert_onnx.artifact.contract import journal
from bert_onnx.artifact.publish.destination import resolve_destination
from bert_onnx.artifact.publish.locking import open_locked_folder, publishing_lock
from bert_onnx.artifact.publish.storage import free_bytes, is_storage_failure, storage_error, storing
from bert_onnx.errors import ArtifactError, StorageError

# Where folders cannot be locked (Windows), a staging folder older than this is taken for a leftover.
_SURELY_DEAD_SECONDS = 24 * 3600.0


def lock_path(target: Path) -> Path:
    """The lock file of publications to `target`."""
    return target.parent / f".{target.name}.lock"


@contextmanager
def staging_folder(destination: str | os.PathLike[str], needed: int | None = None) -> Iterator[Path]:
    """A new, empty folder beside `destination`, which is removed at the end unless it was published.

    Missing parents of `destination` are made. The folder is locked while this process lives, which distinguishes it
    from the leftovers of dead ones. A full disk met inside the block, by whichever library, is raised as StorageError.

    Args:
        destination: the folder that is to be published.
        needed: bytes that will be written, where that is known: too little free space is said at once.

    Raises:
        StorageError: the disk refuses.
    """
    target = resolve_destination(destination)
    made = _make_parents(target)
    staging, descriptor = None, None
    try:
        if needed is not None and (free := free_bytes(target.parent)) < needed:
            raise StorageError(f"cannot write {target}: {needed:,} bytes are needed and {free:,} are free.")
        with storing(target, needed):
            _remove_stale_early(target)
            staging, descriptor = _create(target)
        yield staging
    except OSError as error:
        if staging is not None and is_storage_failure(error, staging):
            raise storage_error(error, target, needed) from error
        raise
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)
        _remove_if_empty(made)


def _remove_stale_early(target: Path) -> None:
    """Leftovers may hold the very space that is needed now; but nobody waits for another's publication to end."""
    with suppress(ArtifactError), publishing_lock(lock_path(target), wait_seconds=0.0):
        journal.settle(target)
        remove_stale(target)


def _create(target: Path) -> tuple[Path, int | None]:
    while True:
        staging = target.parent / f"{journal.staging_prefix(target)}{os.getpid()}-{secrets.token_hex(4)}"
        os.mkdir(staging)  # not tempfile: the published folder keeps this mode, which must honour the umask
        if not hasattr(os, "O_DIRECTORY"):
            return staging, None
        # A cleaner that came between these two lines holds it, and removes it: make another.
        descriptor = open_locked_folder(staging)
        if descriptor is not None:
            return staging, descriptor


def _make_parents(target: Path) -> list[Path]:
    """Make the missing parents of `target`; returns those made, the innermost first."""
    missing = []
    for parent in target.parents:
        if os.path.lexists(parent):
            break
        missing.append(parent)
    with storing(target):
        os.makedirs(target.parent, exist_ok=True)
    return missing


def _remove_if_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            os.rmdir(folder)
        except OSError:
            return


def remove_stale(destination: Path, keep: Path | None = None) -> None:
    """Remove the staging folders of `destination` whose process is dead, but not `keep`.

    Call it under the publishing lock: a publisher's old folder looks dead.

    Raises:
        OSError: the folder beside it cannot be listed.
    """
    prefix = journal.staging_prefix(destination)
    for entry in sorted(os.listdir(destination.parent)):
        folder = destination.parent / entry
        if not entry.startswith(prefix) or folder == keep:
            continue
        if not hasattr(os, "O_DIRECTORY"):  # folders cannot be locked here
            if time.time() - os.stat(folder).st_mtime > _SURELY_DEAD_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
            continue
        descriptor = open_locked_folder(folder)
        if descriptor is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)
