"""Graphs in a hub's cache, whose files are links: some engines refuse weights that lie behind a link.

OpenVINO, tract, onnx and some versions of ONNX Runtime want external data in the graph's own folder, so that no graph
can read other files. A cache keeps graph and data as links into its folder of blobs, which the artifact's checks allow.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DATA = "*_data"


@contextmanager
def without_links(path: Path, hard_links: bool = True) -> Iterator[Path]:
    """A path of the same graph beside whose file its data lies as a file, while it is opened.

    Where the data are links, that is in a folder made for the purpose: with hard links, which take no room, or with
    copies where the engine or the file system refuses those.
    """
    data = [file for file in path.parent.glob(_DATA) if os.path.islink(file)]
    if not data:
        yield path
        return
    with _folder_beside(Path(os.path.realpath(data[0]))) as folder:
        for file in (path, *data):
            _place(os.path.realpath(file), folder / file.name, hard_links)
        yield folder / path.name


def _place(file: str, name: Path, hard_link: bool) -> None:
    if hard_link:
        try:
            return os.link(file, name)
        except OSError:  # another file system, or one without hard links
            pass
    shutil.copyfile(file, name)


@contextmanager
def _folder_beside(file: Path) -> Iterator[Path]:
    """A folder on the file system of `file`, where hard links can be made; elsewhere if that cannot be written."""
    try:
        made = tempfile.TemporaryDirectory(prefix=".bert-onnx-", dir=file.parent.parent)
    except OSError:
        made = tempfile.TemporaryDirectory(prefix="bert-onnx-")
    with made as folder:
        yield Path(folder)
