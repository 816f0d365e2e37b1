"""sha256 of the files of an artifact, several at once."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from bert_onnx.artifact.contract.manifest import FileRecord

#: Large, so that a hashing thread asks for the interpreter lock seldom while others import.
_CHUNK = 8 << 20
# A thread costs about as much as hashing this many bytes.
_WORTH_A_THREAD = 4 << 20


def hash_file(path: Path) -> FileRecord:
    """Hash and size of what can be read from `path`; memory stays at 8 MiB.

    Raises:
        OSError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with open(path, "rb", buffering=0) as file:
        view = memoryview(bytearray(min(_CHUNK, max(1, os.fstat(file.fileno()).st_size))))
        while count := file.readinto(view):
            digest.update(view[:count])
            size += count
    return FileRecord(digest.hexdigest(), size)


def hash_files(paths: Iterable[Path], threads: int | None = None) -> dict[Path, FileRecord]:
    """Records of `paths`. hashlib and read release the interpreter lock, so that threads run side by side.

    Args:
        paths: regular files.
        threads: how many to use; None means one per processor, up to eight.

    Raises:
        OSError: the first that occurred.
    """
    sizes = {path: os.stat(path).st_size for path in paths}
    # The largest first: otherwise it may start last and run alone.
    waiting = sorted(sizes, key=lambda path: sizes[path])
    results: dict[Path, FileRecord] = {}
    errors: list[OSError] = []

    def work() -> None:
        while waiting and not errors:
            try:
                path = waiting.pop()
            except IndexError:
                return
            try:
                results[path] = hash_file(path)
            except OSError as error:
                errors.append(error)

    limit = threads if threads is not None else min(8, os.cpu_count() or 1)
    useful = sum(size >= _WORTH_A_THREAD for size in sizes.values())
    helpers = [threading.Thread(target=work, daemon=True) for _ in range(min(limit, useful) - 1)]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]
    return results
