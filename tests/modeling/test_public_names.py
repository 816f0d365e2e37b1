"""The package's public names, and that importing it is cheap."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bert_onnx

ROOT = Path(bert_onnx.__file__).parent.parent

LIGHT = """
import sys
import bert_onnx
from bert_onnx import BertConfig, InputError
BertConfig()
assert "BertForMaskedLM" in dir(bert_onnx)
heavy = {"torch", "transformers", "onnx", "onnxruntime", "safetensors"} & set(sys.modules)
assert not heavy, heavy
from bert_onnx import BertModel
assert "torch" in sys.modules
assert "transformers" not in sys.modules
"""


def test_importing_loads_no_torch() -> None:
    result = subprocess.run([sys.executable, "-c", LIGHT], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", bert_onnx.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(bert_onnx, name).__name__ == name
    assert name in dir(bert_onnx)


def test_all_is_complete() -> None:
    assert set(bert_onnx._LAZY) <= set(bert_onnx.__all__)
    assert len(set(bert_onnx.__all__)) == len(bert_onnx.__all__)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="BertForNothing"):
        _ = bert_onnx.BertForNothing


def test_version() -> None:
    assert bert_onnx.__version__ == "0.2.0"
