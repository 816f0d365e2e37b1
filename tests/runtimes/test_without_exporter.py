"""An edge install has no torch, no onnx and no transformers: loading and answering work where importing them fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT
from toy_artifacts import CONFIG, publish_toy

#: What loading may not even look for; other runtimes it may.
HEAVY = {"torch", "onnx", "onnx_ir", "onnxscript", "transformers"}

#: Imports that fail as they do where the package is not installed, whoever tries, and a list of who tried.
_BLOCK = """
import sys

MISSING = {"torch", "onnx", "onnx_ir", "onnxscript", "transformers", "safetensors", "huggingface_hub", "requests",
           "rich", "filelock", "optimum", "openvino", "sentence_transformers"}
tried = []

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            tried.append(name)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_toy(tmp_path_factory.mktemp("toy") / "artifact")


def _run(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _BLOCK + program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_texts_are_embedded(artifact: Path) -> None:
    program = f"""
import json
import numpy
from runtimes import load
with load({str(artifact)!r}) as model:
    vectors = model.embed(["hello world", "good night ."])
    print(json.dumps({{"shape": vectors.shape, "finite": bool(numpy.isfinite(vectors).all()),
                      "tried": sorted({HEAVY!r} & set(tried))}}))
"""
    done = _run(program)
    assert done.stderr == ""
    assert json.loads(done.stdout) == {"shape": [2, CONFIG.hidden_size], "finite": True, "tried": []}


def test_the_command_line_answers(artifact: Path) -> None:
    done = _run(
        f"from bert_onnx.cli.main import main\nsys.exit(main(['run', {str(artifact)!r}, 'hello world', '--json']))"
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)[0]["vector"]) == CONFIG.hidden_size


def test_a_name_on_a_hub_says_what_to_install() -> None:
    done = _run("from bert_onnx.cli.main import main\nsys.exit(main(['run', 'somebody/toy', 'hello world']))")
    assert done.returncode == 9
    assert "there is no folder somebody/toy here, and" in done.stderr
    assert 'pip install "bert-onnx[hub]"' in done.stderr
