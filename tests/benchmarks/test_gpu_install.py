"""`make gpu` on a machine without an index: which wheels it wants, what it installs, and what it says without them."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from repository import ROOT

from benchmarks.gpu.gpu_tests import FILES
from benchmarks.gpu.parts import PARTS

LISTS = ROOT / "benchmarks" / "gpu"
#: The machine's own; the sample's wheel names sentence-transformers, which its files do not need.
OF_THE_MACHINE = {"torch"}


def listed(name: str) -> dict[str, Requirement]:
    lines = (line.partition("#")[0].strip() for line in (LISTS / name).read_text().splitlines())
    return {canonicalize_name(found.name): found for line in lines if line for found in [Requirement(line)]}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS")}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def needs(distribution: str) -> set[str]:
    found = (Requirement(line) for line in requires(distribution) or [])
    return {canonicalize_name(one.name) for one in found if one.marker is None or one.marker.evaluate({"extra": ""})}


# -- the lists


def test_the_list_is_complete() -> None:
    """`--no-deps` takes nothing else: what a listed package needs is listed, or the machine's."""
    wanted = listed("wheels.txt")
    for name in wanted:
        distribution = "onnxruntime" if name == "onnxruntime-gpu" else name
        try:
            missing = needs(distribution) - set(wanted) - OF_THE_MACHINE
        except PackageNotFoundError:
            pytest.fail(f"{name} is not installed here, so nobody knows what it needs")
        assert not missing, f"{name} needs {missing}"


def test_the_list_has_what_the_project_needs_to_export_and_to_run() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["export"]]
    wanted, machine = listed("wheels.txt"), OF_THE_MACHINE | {"bert-onnx"}
    for line in map(Requirement, lines):
        if canonicalize_name(line.name) not in machine:
            assert wanted[canonicalize_name(line.name)].specifier == line.specifier


def test_nothing_is_pinned() -> None:
    """A machine keeps what it has, as long as it is new enough."""
    for name, requirement in (listed("wheels.txt") | listed("wheels-cuda.txt")).items():
        assert not {one.operator for one in requirement.specifier} & {"==", "~=", "==="}, name


def test_every_test_that_needs_a_gpu_is_in_the_files_that_make_gpu_runs() -> None:
    sources = {path.relative_to(ROOT).as_posix(): gpu_tests(path) for path in ROOT.glob("tests/**/test_*.py")}
    assert set(FILES) == {path for path, names in sources.items() if names}


def test_make_gpu_hands_its_part_on() -> None:
    assert (
        '-m benchmarks.gpu --part "bench-16" --budget "99"'
        in make("--dry-run", "gpu", "PART=bench-16", "BUDGET=99").stdout
    )


def test_the_docs_tell_what_each_test_shows_and_what_each_part_does() -> None:
    page = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    defined = {f"{Path(file).name}::{name}" for file in FILES for name in gpu_tests(ROOT / file)}
    assert set(re.findall(r"`(test_\w+\.py::\w+)`", page)) == defined
    table = page[page.index("| part |") : page.index("| `all` |")]
    assert re.findall(r"`([\w-]+)`", table) == list(PARTS)


def gpu_tests(path: Path) -> set[str]:
    """Names of the tests of a file that have the mark, by themselves or by the file's `pytestmark`."""
    source = path.read_text(encoding="utf-8")
    if "mark.gpu" not in source:
        return set()
    tree = ast.parse(source)
    whole = any(isinstance(node, ast.Assign) and "mark.gpu" in ast.unparse(node) for node in tree.body)
    tests = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return {test.name for test in tests if whole or any("mark.gpu" in ast.unparse(d) for d in test.decorator_list)}


# -- collecting


def test_wheels_are_collected_for_the_python_that_is_asked_for() -> None:
    shown = make("--dry-run", "gpu-wheels", "PYTHON_VERSION=3.13", "OFFLINE=/there").stdout
    for words in (
        "--python-version 3.13",
        '--dest "/there"',
        "--no-deps",
        "--only-binary=:all:",
        "manylinux_2_28_x86_64",
    ):
        assert words in shown
    assert "wheels-cuda.txt" not in shown
    assert "-r benchmarks/gpu/wheels-cuda.txt" in make("--dry-run", "gpu-wheels", "CUDA=1").stdout


# -- installing


def wheel(folder: Path, name: str, version: str) -> None:
    """A wheel that holds a module of one line."""
    folder.mkdir(exist_ok=True)
    info, module = f"{name}-{version}.dist-info", "onnxruntime/__init__.py"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(module, f"__version__ = {version!r}\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", f"{module},,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


def install(tmp_path: Path, wheels: Path) -> subprocess.CompletedProcess[str]:
    """As on a machine whose packages are those of this process, but onnxruntime-gpu."""
    return make(
        f"{tmp_path}/venv/gpu.stamp", f"GPU_VENV={tmp_path}/venv", f"OFFLINE={wheels}", f"PYTHON={sys.executable}"
    )


def test_an_offline_install_adds_what_is_missing_to_what_the_machine_has(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", "onnxruntime_gpu", "9.9")
    done = install(tmp_path, tmp_path / "wheels")
    assert done.returncode == 0, done.stderr
    program = "import onnxruntime, torch, msgspec; print(onnxruntime.__version__, torch.__file__, sep='\\n')"
    said = subprocess.run(
        [tmp_path / "venv/bin/python", "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout.splitlines()
    assert said[0] == "9.9", "the wheel comes before the machine's own onnxruntime"
    assert not said[1].startswith(str(tmp_path)), "torch is the machine's"
    (own,) = (tmp_path / "venv").glob("lib/*/site-packages")
    assert {path.name for path in own.iterdir() if path.suffix == ".dist-info"} == {"onnxruntime_gpu-9.9.dist-info"}
    assert "up to date" in install(tmp_path, tmp_path / "wheels").stdout


@pytest.mark.parametrize("version", [None, "1.0"])
def test_a_wheel_that_is_missing_or_too_old_is_named(tmp_path: Path, version: str | None) -> None:
    if version is not None:
        wheel(tmp_path / "wheels", "onnxruntime_gpu", version)
    done = install(tmp_path, tmp_path / "wheels")
    assert done.returncode != 0
    assert "No matching distribution found for onnxruntime-gpu" in done.stderr
    assert not (tmp_path / "venv" / "gpu.stamp").exists()


def test_an_offline_install_asks_no_index_and_builds_nothing() -> None:
    shown = make("--dry-run", ".venv-gpu/gpu.stamp", "--always-make", "OFFLINE=/there").stdout
    (pip,) = (line for line in shown.replace("\\\n", " ").splitlines() if " -m pip " in line)
    for option in ("--no-index", "--no-deps", "--only-binary=:all:", '--find-links "/there"'):
        assert option in pip
    assert "constraint" not in pip
