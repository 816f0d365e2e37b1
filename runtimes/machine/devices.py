"""Is there a GPU? Asked whenever an artifact is opened, so this imports next to nothing."""

from __future__ import annotations

import os


def has_gpu(devices: str | os.PathLike[str] = "/dev") -> bool:
    """Whether NVIDIA's driver shows a GPU to this process; looks at the names of device files only."""
    try:
        names = os.listdir(devices)
    except OSError:
        return False
    return any(name == "dxg" or (name.startswith("nvidia") and name[6:7].isdigit()) for name in names)
