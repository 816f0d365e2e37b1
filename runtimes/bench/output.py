"""Where a result may be written, asked before anything is measured."""

from __future__ import annotations

import os
from pathlib import Path

from bert_onnx.errors import UsageError


def check_output(output: str | os.PathLike[str], artifact: str | os.PathLike[str] | None = None) -> None:
    """Refuse a file that cannot be written, or would make `artifact` damaged.

    Raises:
        UsageError: its folder is missing, it is a folder itself, or it lies inside the artifact.
    """
    path = Path(output).absolute()
    if not path.parent.is_dir():
        raise UsageError(f"the folder of {output} does not exist.")
    if path.is_dir():
        raise UsageError(f"{output} is a folder; name a file.")
    if artifact is not None and Path(artifact).resolve() in path.resolve().parents:
        raise UsageError(f"{output} lies inside the artifact, whose files are all in its manifest; write it elsewhere.")
