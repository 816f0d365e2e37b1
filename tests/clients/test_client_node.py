"""Node: the example gives what Python gives, notices when it does not, and transformers.js opens the artifact."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from client_tools import EXAMPLES, assert_close, spoil

pytestmark = pytest.mark.clients

#: Targets whose graphs onnxruntime-node runs.
ON_NODE = ("portable", "ort-cpu", "ort-cpu-unpadded", "web", "openvino")
FOLDER = EXAMPLES / "node"


def _node(node: str, *arguments: object, folder: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    command = [node, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_every_variant_gives_what_python_gives(
    node: str, artifact: Path, measured: Callable[..., None], variants_for: Callable[..., list[str]]
) -> None:
    done = _node(node, "test.mjs", artifact, "--json")
    assert all(line.startswith("left out: ") for line in done.stderr.splitlines())
    results: list[dict[str, Any]] = json.loads(done.stdout)
    measured("node", results)
    assert [result["variant"] for result in results] == variants_for(*ON_NODE)
    assert_close(results, 8)
    assert done.returncode == 0


def test_a_wrong_answer_fails(node: str, altered: Callable[..., Path]) -> None:
    done = _node(node, "test.mjs", altered(vectors=spoil), "--json")
    assert done.returncode == 1
    assert {result["passed"] for result in json.loads(done.stdout)} == {False}


@pytest.mark.parametrize(("noise", "status"), [(5e-4, 0), (3e-3, 1)])
def test_int8_is_judged_by_cosine_with_pythons_answer(
    node: str, as_int8: Callable[[str, float], Path], noise: float, status: int
) -> None:
    done = _node(node, "test.mjs", as_int8("model_web", noise), "--json")
    result = next(result for result in json.loads(done.stdout) if result["variant"] == "model_web")
    assert result["difference"] > 1e-4
    assert (result["cosine"] >= 0.9995) is (status == 0)
    assert done.returncode == status


def test_the_program_prints_similarities(node: str, artifact: Path) -> None:
    texts = ["The cat sat on the mat.", "A cat is on a rug.", "Stocks fell sharply."]
    done = _node(node, "embed.mjs", artifact, *texts)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split("  ", 1)[1] for line in lines[1:]] == texts[1:]
    near, far = (float(line.split()[0]) for line in lines[1:])
    assert far < near < 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("embed.mjs", "missing", "a", "b"), "missing is not an artifact of bert-onnx: manifest.json cannot be read"),
        (("embed.mjs", "ARTIFACT", "a"), "usage: node embed.mjs FOLDER TEXT TEXT..."),
    ],
)
def test_a_wrong_call_is_one_sentence(node: str, artifact: Path, arguments: tuple[str, ...], said: str) -> None:
    done = _node(node, *(str(artifact) if word == "ARTIFACT" else word for word in arguments))
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("(await Embedder.open(folder)).embed(['a', 42])", "text 1 is a number; it must be a string."),
        ("(await Embedder.open(folder)).embed([])", "texts must be an array of at least one."),
        ("Embedder.open(folder, { variant: 'none' })", 'there is no variant "none"; the artifact has model, '),
    ],
)
def test_a_wrong_input_is_named(node: str, artifact: Path, call: str, said: str) -> None:
    program = f"""
        import {{ Embedder }} from "./embed.mjs";
        const folder = {json.dumps(str(artifact))};
        try {{ await ({call}); }} catch (error) {{ console.log(error.message); }}
    """
    done = _node(node, "--input-type=module", "-e", program)
    assert done.stdout.startswith(said)


def test_transformers_js_opens_the_folder(node: str, artifact: Path, measured: Callable[..., None]) -> None:
    done = _node(node, "transformers.mjs", artifact, folder=EXAMPLES / "test")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["texts"] == 7
    assert result["difference"] <= 1e-4
    measured("transformers.js", [result | {"variant": "model", "precision": "fp32"}])
