"""The contract lies on the way from a cold process to a first output: what it may load, and how long that takes."""

from __future__ import annotations

import subprocess
import sys

_HEAVY = ("numpy", "torch", "onnx", "onnxruntime", "tokenizers", "filelock", "ctypes", "concurrent.futures")


def in_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_reading_loads_no_heavy_module() -> None:
    code = f"""
import sys
from bert_onnx.artifact import Artifact, Manifest
print([name for name in {_HEAVY!r} if name in sys.modules])
print([name for name in sys.modules if name.startswith(("bert_onnx.artifact.publish", "bert_onnx.artifact.card"))])
"""
    assert in_fresh_process(code).splitlines() == ["[]", "[]"]


def test_writing_loads_no_torch_and_no_onnx() -> None:
    code = f"""
import sys
from bert_onnx.artifact.card import model_card
from bert_onnx.artifact.publish import check_destination, publish, seal, staging_folder
print([name for name in {_HEAVY[:6]!r} if name in sys.modules])
"""
    assert in_fresh_process(code) == "[]"


def test_all_names_exist() -> None:
    code = """
import bert_onnx.artifact as artifact
print(all(getattr(artifact, name) is not None for name in artifact.__all__), hasattr(artifact, "no_such_name"))
"""
    assert in_fresh_process(code) == "True False"


def test_importing_is_quick() -> None:
    """Beyond what numpy and the standard library load anyway it takes 22 ms here; the limit forgives a busy machine."""
    code = """
import dataclasses, hashlib, json, pathlib, re, threading, typing
import time
begun = time.perf_counter()
import bert_onnx.artifact
print(time.perf_counter() - begun)
"""
    assert min(float(in_fresh_process(code)) for _ in range(3)) < 0.15
