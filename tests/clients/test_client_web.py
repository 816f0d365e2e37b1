"""The browser: the page works in a real Chromium, its answers are Python's, and it says what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from client_tools import EXAMPLES, SCREENSHOTS, assert_close, read, spoil_graph

pytestmark = pytest.mark.clients


@pytest.fixture
def seen(node: str, chromium: str, page_server: str) -> dict[str, Any]:
    """What the browser saw."""
    command = [node, "browser.mjs", chromium, page_server]
    if folder := os.environ.get(SCREENSHOTS):
        command.append(str(Path(folder).resolve() / "page"))
    done = subprocess.run(command, cwd=EXAMPLES / "test", capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_the_page_in_a_browser(
    seen: dict[str, Any], artifact: Path, measured: Callable[..., None], variants_for: Callable[..., list[str]]
) -> None:
    measured("chromium", seen["variants"])
    assert [result["variant"] for result in seen["variants"]] == variants_for("portable", "web", anywhere=True)
    assert_close(seen["variants"], 8)
    shown = seen["shown"]
    assert shown["status"] == "Ready. Edit either sentence."
    assert 0.3 < float(shown["similarity"]) < 1
    assert float(shown["milliseconds"]) > 0
    web = next(v for v in read(artifact, "manifest.json")["variants"] if v["target"] == "web")
    assert f" · {web['name']} · {web['precision']} · " in shown["model"]
    assert float(seen["same"]) == 1
    assert seen["empty"] == "Write something into both fields."
    assert seen["long"] == "Only the first 256 tokens of a text are read; one is longer."
    assert abs(float(seen["small"]["similarity"]) - float(shown["similarity"])) < 0.02
    assert " · model_quantized · int8 · " in seen["small"]["model"]
    assert seen["refusals"] == [
        'The artifact has no variant "none".',
        "The artifact has no variant in fp8 for the web.",
    ]
    assert seen["overflow"] == 0
    assert seen["isolated"] is True
    assert seen["complaints"] == []


def test_a_changed_file_is_refused(
    node: str, chromium: str, serve: Callable[[Path], str], altered: Callable[..., Path]
) -> None:
    def change(document: dict[str, Any]) -> None:
        document["files"]["onnx/model_quantized.onnx"]["sha256"] = "0" * 64

    url = serve(altered(manifest=change))
    command = [node, "refusal.mjs", chromium, f"{url}?precision=int8"]
    done = subprocess.run(command, cwd=EXAMPLES / "test", capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout == "onnx/model_quantized.onnx is not what manifest.json says; it was changed or damaged.\n"


def test_a_graph_with_wrong_weights_is_passed_by(
    node: str, chromium: str, serve: Callable[[Path], str], artifact: Path, altered: Callable[..., Path], tmp_path: Path
) -> None:
    """The manifest vouches for its bytes: the numbers alone tell. This browser has no WebGPU, which is said, too."""
    wrong = Path(shutil.copyfile(artifact / "onnx" / "model_q4.onnx", tmp_path / "wrong.onnx"))
    spoil_graph(wrong)

    def vouch(document: dict[str, Any]) -> None:
        content = wrong.read_bytes()
        document["files"]["onnx/model_q4.onnx"] = {"sha256": sha256(content).hexdigest(), "size": len(content)}

    folder = altered(manifest=vouch)
    (folder / "onnx" / "model_q4.onnx").unlink()
    shutil.move(wrong, folder / "onnx" / "model_q4.onnx")
    command = [node, "device.mjs", chromium, f"{serve(folder)}?device=webgpu&dtype=q4"]
    if shots := os.environ.get(SCREENSHOTS):
        command.append(str(Path(shots).resolve() / "page-device"))
    done = subprocess.run(command, cwd=EXAMPLES / "test", capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    no_webgpu, numbers = seen["notes"]
    assert no_webgpu == "q4 on webgpu does not run (this browser offers no WebGPU); trying q4 on wasm."
    assert numbers.startswith("q4 on wasm gives wrong outputs (cosine ")
    assert numbers.endswith("; trying q8 on wasm.")
    assert " · model_quantized · int8 · " in seen["model"]
    assert " · wasm, " in seen["model"]
    assert seen["status"] == "Ready. Edit either sentence."
    assert seen["overflow"] == 0


@pytest.mark.parametrize(("arguments", "status"), [((), 2), (("missing",), 2)])
def test_the_server_wants_an_artifact(node: str, arguments: tuple[str, ...], status: int) -> None:
    command = [node, "serve.mjs", *arguments]
    done = subprocess.run(command, cwd=EXAMPLES / "web", capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == status
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(
        "missing is not an artifact" if arguments else "usage: node serve.mjs ARTIFACT [PORT]"
    )


@pytest.mark.parametrize(
    "path",
    [
        "/../package-lock.json",
        "/..%2fpackage-lock.json",
        "/%2e%2e/node/embed.mjs",
        "/model/..%2f..%2f..%2f..%2fetc%2fpasswd",
    ],
)
def test_the_server_stays_in_its_folders(page_server: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(page_server.rstrip("/") + path, timeout=10)
    assert refused.value.code == 404


def test_the_server_isolates_the_page(page_server: str) -> None:
    with urllib.request.urlopen(page_server, timeout=10) as answer:
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert answer.headers["Content-Type"].startswith("text/html")
