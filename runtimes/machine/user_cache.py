"""The user's cache folder: what can be measured or built again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

#: Names another folder.
VARIABLE = "BERT_ONNX_CACHE"


def cache_folder(name: str) -> Path:
    """The folder for the cache called `name`, as the system's conventions have it; it need not exist yet.

    A user without a home gets a place that holds nothing and takes nothing: `BERT_ONNX_CACHE` names another.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen) / name
    if sys.platform == "darwin":
        base = _home() / "Library" / "Caches"
    elif os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache")
    return base / "bert-onnx" / name


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and a user id that the system does not know, as in many containers
        return Path(os.devnull)
