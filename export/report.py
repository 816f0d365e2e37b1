"""What an export says: its steps while it works, what it did, and with which tools."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from bert_onnx.artifact import Artifact
from runtimes.engines.ort.library import import_onnxruntime

#: Called with the name of each step as it begins, and with the share of the whole that is done by then, 0 to 1.
Progress = Callable[[str, float], None]

#: Packages whose versions the manifest records: those that had a hand in the bytes or in the verdict.
_TOOLS = ("torch", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "numpy", "tokenizers")


def no_progress(step: str, share: float) -> None:
    """Progress that nobody watches."""


def within(progress: Progress, begin: float, end: float) -> Progress:
    """Progress of a part, which is the share from `begin` to `end` of the whole."""
    return lambda step, share: progress(step, begin + (end - begin) * share)


@dataclass(frozen=True)
class ExportReport:
    """What an export did.

    Args:
        artifact: the published artifact.
        warnings: what the user should know.
        seconds: wall time.
    """

    artifact: Artifact
    warnings: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON form for programs."""
        return {
            "folder": str(self.artifact.folder),
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
            "manifest": json.loads(self.artifact.manifest.to_json()),
        }


def tool_versions(text_input: bool = False) -> dict[str, str]:
    """Versions of what had a hand in the bytes or in the verdict, by name; `text_input`: graphs that take text, too.

    onnxruntime's is the module's own: several distributions bring it, onnxruntime-gpu among them.
    """
    names = (*_TOOLS, "onnxruntime-extensions") if text_input else _TOOLS
    own = {"onnxruntime": str(import_onnxruntime().__version__)}
    return {name: own.get(name) or version(name) for name in names} | {"python": platform.python_version()}
