"""Publishing a sealed staging folder atomically.

    with staging_folder(destination) as stage:
        ...                                     # write onnx/, config.json, tokenizer files
        seal(stage, manifest)                   # README.md, then manifest.json with a record of every file
        publish(stage, destination, force=force)

A reader that opens `destination` meanwhile gets the old artifact or the new one, complete, whichever process dies.
The lock is held for the publication alone: two exports to one folder run side by side, and publish one after the other.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from bert_onnx.artifact.contract import journal
from bert_onnx.artifact.contract.checks import check_files, read_manifest
from bert_onnx.artifact.publish.destination import check_destination, resolve_destination
from bert_onnx.artifact.publish.exchange import ExchangeUnsupportedError, exchange
from bert_onnx.artifact.publish.locking import publishing_lock
from bert_onnx.artifact.publish.staging import lock_path, remove_stale
from bert_onnx.artifact.publish.storage import storing

# Some file systems keep no order of folder entries that could be forced, and say so.
_NOTHING_TO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})


def publish(staging: str | os.PathLike[str], destination: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Let the sealed folder `staging`, a sibling of `destination`, become `destination` in one step.

    A second publisher waits for the first, then replaces it with `force` and is refused without.

    Returns:
        The published folder, resolved.

    Raises:
        ArtifactError: `staging` is not sealed, something is in the way, or another publication lasts too long.
        StorageError: the disk refuses; what was published before is untouched.
    """
    stage, target = Path(staging), resolve_destination(destination)
    with storing(target):
        check_files(stage, read_manifest(stage), check_hashes=False)
        _sync(stage)
        with publishing_lock(lock_path(target)):
            check_destination(target, force)
            journal.settle(target)
            journal.clear(target)
            remove_stale(target, keep=stage)
            _swap(stage, target)
    return target


def _swap(staging: Path, target: Path) -> None:
    """Put `staging` in the place of `target`, and delete what was there."""
    old: Path | None = None
    if not os.path.lexists(target):
        os.rename(staging, target)
    else:
        try:
            exchange(staging, target)
            old = staging
        except ExchangeUnsupportedError:
            old = _swap_by_renames(staging, target)
    with suppress(OSError):  # it is published: what fails from here on is tidied up by the next publication
        _sync_folder(target.parent)
        journal.clear(target)
        if old is not None:
            shutil.rmtree(old)


def _swap_by_renames(staging: Path, target: Path) -> Path:
    """`_swap` where folders cannot be exchanged; see journal.py. Returns where the old folder went."""
    old = journal.old_folder(staging)
    try:
        journal.write(target, staging)
        _sync_folder(target.parent)
        os.rename(target, old)
    except OSError:
        with suppress(OSError):
            journal.clear(target)
        raise
    try:
        os.rename(staging, target)
    except OSError:
        if not os.path.lexists(staging):
            return old  # a reader came between the two renames and did the second
        with suppress(OSError):  # where this fails too, the journal stays, and the next reader or publisher does it
            os.rename(old, target)
            journal.clear(target)
        raise
    return old


def _sync(folder: Path) -> None:
    """Bring every file below `folder`, and the folders themselves, to the disk before anybody can see them."""
    for base, _, files in os.walk(folder, topdown=False):
        for name in files:
            # Windows syncs only what is open for writing.
            with open(os.path.join(base, name), "rb" if os.name == "posix" else "rb+") as file:
                os.fsync(file.fileno())
        _sync_folder(Path(base))


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOTHING_TO_SYNC:
            raise
    finally:
        os.close(descriptor)
