"""What tests of clusters and object stores need: skipped where it is missing, but for `make scale`, which has it."""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from typing import Any

import pytest

#: Set by `make scale`: what is missing is a failure then, not a reason to skip.
REQUIRED_VARIABLE = "BERT_ONNX_SCALE_REQUIRED"


def need(module: str) -> Any:
    """The module, or skip the test; fail it where everything was promised."""
    return import_module(module) if os.environ.get(REQUIRED_VARIABLE) else pytest.importorskip(module)


def need_java() -> None:
    """Skip the test where Spark would find no Java."""
    if not os.environ.get("JAVA_HOME") and not shutil.which("java"):
        pytest.skip("Spark needs Java, and there is none here")
