"""Importing ONNX Runtime, and the names that all of its providers share."""

from __future__ import annotations

from types import ModuleType

from bert_onnx.errors import RuntimeUnavailableError

INSTALL = 'pip install "bert-onnx[cpu]"'
CPU_PROVIDER = "CPUExecutionProvider"


def import_onnxruntime() -> ModuleType:
    """The onnxruntime module.

    Raises:
        RuntimeUnavailableError: it is not installed, or does not load here.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeUnavailableError(f"onnxruntime cannot be imported ({error}); install it with {INSTALL}.") from None
    return onnxruntime
