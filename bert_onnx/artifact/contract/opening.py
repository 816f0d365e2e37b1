"""Opening an artifact: read the manifest, check every file against it, notice a replacement under way."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bert_onnx.artifact.contract import journal
from bert_onnx.artifact.contract.checks import check_files, manifest_bytes
from bert_onnx.artifact.contract.decode import decode_manifest
from bert_onnx.artifact.contract.links import in_cache
from bert_onnx.artifact.contract.manifest import Manifest, Variant
from bert_onnx.artifact.contract.names import MANIFEST_NAME
from bert_onnx.errors import ArtifactError

_ATTEMPTS = 50
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Artifact:
    """An artifact that was opened and checked.

    Args:
        folder: where it lies.
        manifest: what it says about itself.
        manifest_sha256: hash of its manifest.json, which identifies its whole content.
    """

    folder: Path
    manifest: Manifest
    manifest_sha256: str

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        *,
        check_hashes: bool = True,
        threads: int | None = None,
        partial: bool = False,
    ) -> Artifact:
        """Open the artifact in `folder`.

        Files are compared with the manifest by presence, kind and size, and by sha256 too when `check_hashes`;
        leave that out only for files that this machine made. If another artifact is published in its place
        meanwhile, the new one is opened. `threads` is how many files are hashed at once (default: the processors).
        With `partial`, graphs may be absent of a folder in a hub's cache, which holds what was asked for.

        Raises:
            ArtifactError: the folder is missing or no artifact, or a file is missing, changed, unlisted or a link
                that leaves the folder; the message names it.
        """
        path = Path(folder)
        for _ in range(_ATTEMPTS):
            journal.finish(path)
            with _pinned(path) as identity:
                try:
                    artifact = _checked(path, check_hashes, threads, partial)
                except (ArtifactError, OSError) as error:
                    missing = identity is None and journal.staged_folder(path) is not None
                    if _identity(path) == identity and not missing:
                        raise _as_artifact_error(error, path) from None
                else:
                    if _identity(path) == identity:
                        return artifact
            time.sleep(_PAUSE_SECONDS)
        staged = journal.staged_folder(path)
        if staged is not None and not os.path.lexists(path):
            # A publisher died between its two renames, and we may not write here: what it meant to publish is complete.
            return _checked(staged, check_hashes, threads, partial)
        raise ArtifactError(f"{path} is replaced faster than it can be opened; wait for the exports to finish.")

    def variant(self, name: str | None = None) -> Variant:
        """The variant called `name`; the first one, `model`, for None.

        Raises:
            ArtifactError: there is no such variant; the message lists those that there are.
        """
        return self.manifest.variant(name)

    def path(self, variant: Variant | str | None = None) -> Path:
        """The .onnx file of `variant`, given as itself or by its name."""
        found = variant if isinstance(variant, Variant) else self.variant(variant)
        return self.folder / found.file

    def is_current(self) -> bool:
        """Whether the folder still holds this artifact, and not one that was published after it was opened.

        A model and its external data are two files: a program that loads them by path asks this afterwards, and opens
        the artifact again when it is False.
        """
        try:
            return _sha256(manifest_bytes(self.folder)) == self.manifest_sha256
        except (ArtifactError, OSError):
            return False


def _checked(folder: Path, check_hashes: bool, threads: int | None, partial: bool) -> Artifact:
    text = manifest_bytes(folder)
    manifest = decode_manifest(text, str(folder / MANIFEST_NAME))
    absent = manifest.graph_files if partial and in_cache(folder) is not None else frozenset[str]()
    check_files(folder, manifest, check_hashes=check_hashes, threads=threads, absent=absent)
    return Artifact(folder, manifest, _sha256(text))


def _sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


@contextmanager
def _pinned(folder: Path) -> Iterator[tuple[int, int] | None]:
    """Yields the identity of `folder`, and holds it open so that its inode number cannot come back meanwhile."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:  # missing, or a system that opens no folders; the checks that follow tell
        yield _identity(folder)
        return
    try:
        status = os.fstat(descriptor)
        yield status.st_dev, status.st_ino
    finally:
        os.close(descriptor)


def _identity(folder: Path) -> tuple[int, int] | None:
    """Which folder lies at this path now; None where there is none."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _as_artifact_error(error: Exception, folder: Path) -> ArtifactError:
    if isinstance(error, ArtifactError):
        return error
    return ArtifactError(f"the artifact {folder} cannot be read: {getattr(error, 'strerror', None) or error}.")
