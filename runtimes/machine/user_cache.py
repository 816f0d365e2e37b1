"""The user's cache folder: what can be measured or built again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

#: Names another folder.
VARIABLE = "BERT_ONNX_CACHE"


def cache_folder(name: str) -> Path:
    """The folder for the cache called `name`, as the system's conventions have it; it need not exist yet."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen) / name
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "bert-onnx" / name
