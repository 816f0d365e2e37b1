"""Links in an artifact's folder: a hub's cache and Kubernetes keep files elsewhere in their tree; others lead out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_KUBERNETES = "..data"


@dataclass(frozen=True)
class CachedPlace:
    """Where a folder lies in a hub's cache: <cache>/models--<owner>--<name>/snapshots/<commit>."""

    cache: Path
    model: str
    commit: str


def in_cache(folder: Path) -> CachedPlace | None:
    """The place of `folder` in a hub's cache; None where it lies in none."""
    root = Path(os.path.realpath(folder))
    repository, blobs = root.parent.parent, root.parent.parent / "blobs"
    if root.parent.name != "snapshots" or not os.path.isdir(blobs) or os.path.islink(blobs):
        return None
    return CachedPlace(repository.parent, repository.name.removeprefix("models--").replace("--", "/"), root.name)


def stays_inside(folder: Path, path: Path) -> bool:
    """Whether `path` in `folder`, whatever it links to, is a file of the folder or of the tree that it belongs to.

    The tree of a hub's cache, where `folder` is <model>/snapshots/<commit>, has <model>/blobs too.
    """
    real = os.path.realpath(path)
    return any(os.path.commonpath([root, real]) == root for root in _roots(folder))


def content_folder(folder: Path) -> Path:
    """Where the files of `folder` are to be listed: of a volume of Kubernetes the folder that `..data` links to.

    There the names in `folder` are links into `..data`, which is a link to a folder beside it.
    """
    data = folder / _KUBERNETES
    if os.path.islink(data) and os.path.isdir(data) and stays_inside(folder, data):
        return Path(os.path.realpath(data))
    return folder


def strangers(folder: Path, content: Path) -> list[str]:
    """Names in a volume of Kubernetes that are neither its own nor links to the same name in `content`."""
    found = []
    for name in os.listdir(folder):
        if name == _KUBERNETES or os.path.realpath(folder / name) == str(content):
            continue
        if not os.path.islink(folder / name) or os.path.realpath(folder / name) != os.path.realpath(content / name):
            found.append(name)
    return sorted(found)


def _roots(folder: Path) -> list[str]:
    root = os.path.realpath(folder)
    return [root] if in_cache(folder) is None else [root, os.path.normpath(os.path.join(root, "../../blobs"))]
