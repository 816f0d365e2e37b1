"""Versions of the tools that a manifest records."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import onnxruntime
import pytest

from export import report


def test_onnxruntime_may_come_from_any_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime-gpu brings the module and no distribution of its name."""

    def without_onnxruntime(name: str) -> str:
        if name == "onnxruntime":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(report, "version", without_onnxruntime)
    found = report.tool_versions()
    assert found["onnxruntime"] == onnxruntime.__version__
    assert list(found) == ["torch", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "numpy", "tokenizers", "python"]
    assert found["numpy"] == version("numpy")
