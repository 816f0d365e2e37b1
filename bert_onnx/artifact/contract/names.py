"""Which names a file of an artifact may have, and which unlisted files are harmless.

A listed name is a relative POSIX path. The rules are stricter than any file system's, so that an artifact can be
copied to every machine and a name can never leave its folder.
"""

from __future__ import annotations

import re

from bert_onnx.errors import ArtifactError

MANIFEST_NAME = "manifest.json"
CARD_NAME = "README.md"

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_MAX_NAME = 240
_MAX_DEPTH = 8
# Windows opens a device instead of a file for these, whatever their suffix.
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})

# What operating systems and download tools drop into a folder: nobody misses it, and no tool loads a model from it.
_DROPPINGS = frozenset({".gitattributes", ".gitignore", ".DS_Store", "Thumbs.db", "desktop.ini"})
_DROPPING_PREFIXES = ("._", ".nfs")
_DROPPING_FOLDERS = (".cache/",)


def check_name(name: str, where: str) -> str:
    """`name`, if it may be the name of a file in an artifact; `where` says where it was read.

    Raises:
        ArtifactError: the name is absolute, leaves the folder, or is not portable.
    """
    parts = name.split("/")
    if not 0 < len(name) <= _MAX_NAME or len(parts) > _MAX_DEPTH:
        raise ArtifactError(f"{where} has a file name of {len(name)} characters and {len(parts)} parts; it is refused.")
    for part in parts:
        portable = _PART.fullmatch(part) and not part.endswith(".")
        if not portable or part.split(".")[0].casefold() in _DEVICES:
            raise ArtifactError(
                f"{where} names the file {name!r}, which is not a plain name within the folder; "
                "such an artifact is refused."
            )
    return name


def printable(name: str) -> str:
    """`name` for a message: escaped where a terminal would not show it as it is."""
    return name if name.isprintable() else repr(name)


def is_dropping(name: str) -> bool:
    """Whether an unlisted file `name` (relative, with forward slashes) may be deleted with an artifact."""
    base = name.rsplit("/", 1)[-1]
    return name.startswith(_DROPPING_FOLDERS) or base in _DROPPINGS or base.startswith(_DROPPING_PREFIXES)


def is_harmless(name: str) -> bool:
    """Whether an unlisted file `name` (relative, with forward slashes) may lie in an artifact that is opened."""
    return is_dropping(name) or name.startswith(".git/") or name.endswith(".md")
