"""Node: the example gives what Python gives, and notices when it does not; LangChain.js opens the artifact."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_tools import EXAMPLES, LARGEST_DIFFERENCE, assert_close, read, spoil

from runtimes.machine.processor import this_processor

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
    done = _node(node, "test.mjs", altered(vectors=spoil), "model", "model_quantized", "--json")
    assert done.returncode == 1
    assert [result["passed"] for result in json.loads(done.stdout)] == [False, False]


@pytest.mark.parametrize(("noise", "status"), [(5e-4, 0), (3e-3, 1)])
def test_int8_is_judged_by_cosine_with_pythons_answer(
    node: str, as_int8: Callable[[str, float], Path], noise: float, status: int
) -> None:
    done = _node(node, "test.mjs", as_int8("model_web", noise), "model_web", "--json")
    result = next(result for result in json.loads(done.stdout) if result["variant"] == "model_web")
    assert result["difference"] > 1e-4
    assert (result["mean"] >= 0.9995) is (status == 0)
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
        (("embed.mjs",), "usage: node embed.mjs FOLDER [--precision fp32|int8] [--variant NAME] TEXT TEXT..."),
        (("embed.mjs", "ARTIFACT", "a"), "usage: node embed.mjs FOLDER "),
        (("embed.mjs", "ARTIFACT", "--precison", "int8", "a", "b"), "Unknown option '--precison'"),
        (
            ("embed.mjs", "ARTIFACT", "--precision", "fp8", "a", "b"),
            "no fp8 variant is for onnxruntime-node; the artifact",
        ),
        (("test.mjs",), "usage: node test.mjs FOLDER [VARIANT...] [--json]"),
        (("test.mjs", "missing"), "missing is not an artifact of bert-onnx: manifest.json cannot be read"),
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
        ("Embedder.open(folder, { variant: 'none' })", 'there is no variant "none"; the artifact has model (fp32), '),
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


def test_a_changed_file_is_refused(node: str, altered: Callable[..., Path]) -> None:
    def change(document: dict[str, Any]) -> None:
        document["files"]["onnx/model.onnx"]["sha256"] = "0" * 64

    done = _node(node, "embed.mjs", altered(manifest=change), "a", "b")
    assert done.returncode == 2
    assert done.stderr == (
        "onnx/model.onnx is not what manifest.json says; it was changed or damaged. Export the model again.\n"
    )


def test_a_long_text_is_cut_and_said_to_be(node: str, artifact: Path) -> None:
    text = "The river rises in the hills above the town. " * 60
    done = _node(node, "embed.mjs", artifact, "The river rises in the hills.", text)
    assert (done.returncode, done.stderr) == (0, "text 2 is cut: the model reads 256 tokens.\n")


VARIANTS = [
    {"name": "model", "target": "portable", "precision": "fp32", "quantization": None},
    {"name": "vnni", "target": "portable", "precision": "int8", "quantization": {"isa": "avx512_vnni"}},
    {"name": "avx2", "target": "portable", "precision": "int8", "quantization": {"isa": "avx2"}},
    {"name": "arm", "target": "portable", "precision": "int8", "quantization": {"isa": "arm64"}},
    {"name": "cuda", "target": "ort-cuda", "precision": "fp16", "quantization": None},
]


@pytest.mark.parametrize(
    ("architecture", "vnni", "wanted", "chosen"),
    [
        ("x64", True, {}, "model"),
        ("x64", True, {"precision": "int8"}, "vnni"),
        ("x64", False, {"precision": "int8"}, "avx2"),
        ("arm64", False, {"precision": "int8"}, "arm"),
        ("x64", True, {"variant": "arm"}, "arm"),
        ("x64", False, {"variant": "vnni"}, "the sums of vnni would saturate on this processor, which has no VNNI; "),
        ("x64", False, {"variant": "arm"}, "the sums of arm would saturate"),
        ("x64", False, {"variant": "cuda"}, "no cuda variant is for onnxruntime-node"),
        ("x64", True, {"variant": "none"}, 'there is no variant "none"; the artifact has model (fp32), vnni (int8)'),
    ],
)
def test_the_variant_fits_the_processor(
    node: str, architecture: str, vnni: bool, wanted: dict[str, str], chosen: str
) -> None:
    """As `runtimes.load` chooses: never what would saturate, the fastest of the others."""
    processor = json.dumps({"architecture": architecture, "vnni": vnni})
    program = f"""
        import {{ chooseVariant }} from "./variants.mjs";
        const manifest = {json.dumps({"variants": VARIANTS})};
        try {{ console.log(chooseVariant(manifest, {json.dumps(wanted)}, {processor}).name); }}
        catch (error) {{ console.log(error.message); }}
    """
    assert _node(node, "--input-type=module", "-e", program).stdout.startswith(chosen)


@pytest.mark.parametrize(
    ("flags", "vnni"),
    [
        ("fpu avx2 avx512f avx512_vnni", True),
        ("avx2 avx_vnni", True),
        ("avx512f amx_int8", True),
        ("avx2 avx512f avx_vnni_int16", False),
        ("avx2", False),
        ("", False),
    ],
)
def test_node_sees_what_python_sees(node: str, tmp_path: Path, flags: str, vnni: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: avx512_vnni\n", encoding="utf-8")
    program = f"""
        import {{ thisProcessor }} from "./variants.mjs";
        console.log(thisProcessor({json.dumps(str(cpuinfo))}).vnni);
    """
    assert _node(node, "--input-type=module", "-e", program).stdout.strip() == str(vnni).lower()
    assert this_processor(cpuinfo, "x86_64").saturates("avx512_vnni") is not vnni


def test_langchain_js_gives_the_models_vectors(node: str, artifact: Path) -> None:
    """A program of npm that takes a local model: LangChain.js over transformers.js."""
    case = next(case for case in read(artifact, "vectors.json")["cases"] if case["name"] == "padded")
    done = _node(node, "langchain.mjs", artifact, *case["texts"], folder=EXAMPLES / "test")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = case["outputs"]["sentence_embedding"]
    np.testing.assert_allclose(np.ravel(found["documents"]), expected["values"], atol=LARGEST_DIFFERENCE)
    np.testing.assert_allclose(found["query"], expected["values"][-expected["shape"][1] :], atol=LARGEST_DIFFERENCE)
