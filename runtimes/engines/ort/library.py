"""Importing ONNX Runtime, and the names that all of its providers share."""

from __future__ import annotations

import os
from types import ModuleType

from bert_onnx.errors import RuntimeUnavailableError

INSTALL = 'pip install "bert-onnx[cpu]"'
CPU_PROVIDER = "CPUExecutionProvider"


def import_onnxruntime() -> ModuleType:
    """The onnxruntime module; it sends no telemetry, unless the environment asks for it (ORT_DISABLE_TELEMETRY=0).

    Raises:
        RuntimeUnavailableError: it is not installed, or does not load here.
    """
    # Read at its import: from 1.31 on, releases for Linux send events, and keep them in ~/.cache/Microsoft until then.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeUnavailableError(f"onnxruntime cannot be imported ({error}); install it with {INSTALL}.") from None
    return onnxruntime
