"""C++ on OpenVINO: the example builds without warnings, gives what Python gives, and notices when it does not."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from client_tools import EXAMPLES, assert_close, lack, spoil

from runtimes.machine.processor import this_processor

pytestmark = pytest.mark.clients

_JSON_HEADER = "nlohmann/json.hpp"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built example."""
    for tool, package in (("cmake", "cmake"), ("g++", "g++")):
        if shutil.which(tool) is None:
            lack(f"{tool} is not installed (Debian: {package})")
    if not any((Path(root) / _JSON_HEADER).is_file() for root in ("/usr/include", "/usr/local/include")):
        lack(f"{_JSON_HEADER} is not installed (Debian: nlohmann-json3-dev)")
    openvino = pytest.importorskip("openvino.utils", reason="OpenVINO's wheel is not installed")
    build = tmp_path_factory.mktemp("cpp")
    configure = ["cmake", "-S", str(EXAMPLES / "cpp"), "-B", str(build), "-DCMAKE_CXX_FLAGS=-Werror"]
    _run([*configure, f"-DOpenVINO_DIR={openvino.get_cmake_path()}", "-DCMAKE_BUILD_TYPE=Release"])
    _run(["cmake", "--build", str(build)])
    return build / "embed"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _embed(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_every_variant_gives_what_python_gives(
    program: Path, artifact: Path, measured: Callable[..., None], variants_for: Callable[..., list[str]]
) -> None:
    done = _embed(program, artifact, "--json")
    results: list[dict[str, Any]] = json.loads(done.stdout)
    measured("C++ (OpenVINO)", results)
    assert [result["variant"] for result in results] == variants_for("portable", "web", "openvino", "openvino-unpadded")
    assert_close(results, 9)
    assert done.returncode == 0


def test_a_wrong_answer_fails(program: Path, altered: Callable[..., Path]) -> None:
    done = _embed(program, altered(vectors=spoil), "--json", "model", "model_quantized")
    assert done.returncode == 1
    assert [result["passed"] for result in json.loads(done.stdout)] == [False, False]


@pytest.mark.parametrize(("noise", "status"), [(5e-4, 0), (3e-3, 1)])
def test_int8_is_judged_by_cosine_with_pythons_answer(
    program: Path, as_int8: Callable[[str, float], Path], noise: float, status: int
) -> None:
    done = _embed(program, as_int8("model_openvino", noise), "--json", "model_openvino")
    result = next(result for result in json.loads(done.stdout) if result["variant"] == "model_openvino")
    assert result["difference"] > 1e-4
    assert (result["mean"] >= 0.9995) is (status == 0)
    assert done.returncode == status


def test_the_program_prints_similarities(program: Path, artifact: Path) -> None:
    lines = _embed(program, artifact, "model").stdout.splitlines()
    far, near = (float(line.split()[0]) for line in lines[1:3])
    assert far < near < 1
    assert "passport" in lines[2]


def test_a_changed_file_and_no_argument(program: Path, altered: Callable[..., Path]) -> None:
    def grow(document: dict[str, Any]) -> None:
        document["files"]["onnx/model.onnx"]["size"] += 1

    done = _embed(program, altered(manifest=grow))
    assert done.returncode == 2
    assert done.stderr == "onnx/model.onnx is missing, or is not what manifest.json says; export the model again.\n"
    done = _embed(program)
    assert (done.returncode, done.stderr) == (2, "usage: embed ARTIFACT [--json] [VARIANT...]\n")


@pytest.mark.parametrize("isa", ["avx512_vnni", "avx2", "arm64", None])
def test_what_would_saturate_is_left_out(program: Path, altered: Callable[..., Path], isa: str | None) -> None:
    def lay_out(document: dict[str, Any]) -> None:
        variant = next(entry for entry in document["variants"] if entry["name"] == "model_quantized")
        variant["quantization"]["isa"] = isa

    done = _embed(program, altered(manifest=lay_out), "--json", "model", "model_quantized")
    left_out = "model_quantized" not in {result["variant"] for result in json.loads(done.stdout)}
    assert left_out is this_processor().saturates(isa)
    assert ("left out: onnx/model_quantized.onnx would saturate" in done.stderr) is left_out
    assert done.returncode == 0


def test_a_missing_folder_and_an_unknown_token_are_named(program: Path, altered: Callable[..., Path]) -> None:
    done = _embed(program, "missing")
    assert (done.returncode, done.stderr) == (
        2,
        "missing/manifest.json cannot be opened; name a folder that bert-onnx export has written.\n",
    )

    def unknown(document: dict[str, Any]) -> None:
        document["cases"][0]["inputs"]["input_ids"]["values"][1] = 10**6

    done = _embed(program, altered(vectors=unknown), "--json", "model")
    assert done.returncode == 2
    assert done.stderr.startswith("the token id 1000000 is not in the vocabulary; ids run from 0 to ")
