"""The checks of an artifact folder: its manifest is safe to read, and its files are what the manifest records."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Container
from pathlib import Path

from bert_onnx.artifact.contract.decode import decode_manifest
from bert_onnx.artifact.contract.hashing import hash_files
from bert_onnx.artifact.contract.links import content_folder, stays_inside, strangers
from bert_onnx.artifact.contract.manifest import Manifest
from bert_onnx.artifact.contract.names import MANIFEST_NAME, is_harmless, printable
from bert_onnx.errors import ArtifactError

_MAX_MANIFEST = 16 << 20


def read_manifest(folder: Path) -> Manifest:
    """The manifest of `folder`, without a look at its other files.

    Raises:
        ArtifactError: the folder or its manifest is missing or damaged.
    """
    return decode_manifest(manifest_bytes(folder), str(folder / MANIFEST_NAME))


def manifest_bytes(folder: Path) -> bytes:
    """Content of manifest.json, after the checks that let it be read without harm."""
    if not os.path.isdir(folder):
        what = "is not a folder" if os.path.lexists(folder) else "does not exist"
        raise ArtifactError(f"the artifact {folder} {what}; name a folder that bert-onnx export has written.")
    path = folder / MANIFEST_NAME
    try:
        status = os.stat(path) if stays_inside(folder, path) else os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(
            f"{folder} has no {MANIFEST_NAME}, so it is not an artifact; make one with bert-onnx export."
        ) from None
    # A pipe would block for ever, a link could lead anywhere.
    if not stat.S_ISREG(status.st_mode):
        raise ArtifactError(f"{path} is not a regular file; the artifact is refused.")
    if status.st_size > _MAX_MANIFEST:
        raise ArtifactError(f"{path} has {status.st_size} bytes, more than any manifest needs; it is refused.")
    with open(path, "rb") as file:
        return file.read(_MAX_MANIFEST + 1)


def check_files(
    folder: Path,
    manifest: Manifest,
    *,
    check_hashes: bool = True,
    threads: int | None = None,
    absent: Container[str] = (),
) -> None:
    """Compare the files of `folder` with the records of `manifest`; those of `absent` need not be there.

    Raises:
        ArtifactError: naming the first file that is missing, changed, unlisted or a link that leaves the folder.
        OSError: a file could not be read.
    """
    there = {n: record for n, record in manifest.files.items() if n not in absent or os.path.lexists(folder / n)}
    for name, record in there.items():
        _check_kind_and_size(folder, name, record.size)
    for name in unlisted_files(folder, manifest.files, is_harmless):
        raise ArtifactError(
            f"{folder} holds {printable(name)}, which its manifest does not list; "
            "a tool could load it, so remove it or export again."
        )
    if not check_hashes:
        return
    measured = hash_files([folder / name for name in there], threads)
    for name, record in there.items():
        if measured[folder / name] != record:
            raise ArtifactError(
                f"{folder / name} was changed since it was published (its sha256 differs); export it again."
            )


def _check_kind_and_size(folder: Path, name: str, size: int) -> None:
    path = folder / name
    if not stays_inside(folder, path):
        raise ArtifactError(
            f"{path} is a link that leaves the artifact; "
            "copy the folder with its links resolved (cp -rL) and open that."
        )
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{path} is missing; export it again or copy the whole folder.") from None
    if not stat.S_ISREG(status.st_mode):
        raise ArtifactError(f"{path} is not a regular file; the artifact is refused.")
    if status.st_size != size:
        raise ArtifactError(
            f"{path} has {status.st_size} bytes but was published with {size}; export it again or copy it completely."
        )


def unlisted_files(folder: Path, listed: Container[str], allowed: Callable[[str], bool]) -> list[str]:
    """Names of what lies in `folder`, is neither `listed` nor manifest.json nor `allowed`; sorted.

    Links to folders count as files: nothing in an artifact is reached through one.

    Raises:
        OSError: a folder could not be read.
    """
    found: list[str] = []
    content = content_folder(folder)
    if content != folder:
        found += strangers(folder, content)
    for base, folders, files in os.walk(content, onerror=_raise):
        links = [name for name in folders if os.path.islink(os.path.join(base, name))]
        for entry in (*files, *links):
            name = Path(base, entry).relative_to(content).as_posix()
            if name not in listed and name != MANIFEST_NAME and not allowed(name):
                found.append(name)
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error
