"""`pip install .[cpu]` into a fresh environment: nothing heavy comes along, and its answers are the model's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from client_tools import read

from benchmarks.edge import HEAVY, install, source

pytestmark = [pytest.mark.clients, pytest.mark.slow]


def test_an_edge_install_answers(artifact: Path, tmp_path: Path, measured: Callable[..., None]) -> None:
    installed = install(tmp_path / "venv", f"{source(tmp_path)}[cpu]")
    names = {name.lower() for name in installed.packages}
    assert {"bert-onnx", "numpy", "onnxruntime", "tokenizers"} <= names
    assert not names & set(HEAVY)
    case = next(case for case in read(artifact, "vectors.json")["cases"] if case["name"] == "padded")
    program = f"""
import json
from runtimes import load
with load({str(artifact)!r}, variant="model") as model:
    print(json.dumps(model.embed({case["texts"]!r}).ravel().tolist()))
"""
    command = [str(installed.python), "-I", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    wanted = case["outputs"]["sentence_embedding"]["values"]
    difference = max(abs(a - b) for a, b in zip(json.loads(done.stdout), wanted, strict=True))
    assert difference <= 1e-4
    measured("edge install", [{"variant": "model", "precision": "fp32", "texts": 3, "difference": difference}])
