"""Python itself against vectors.json, on this machine and on ARM64 under emulation, without the exporter."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from client_tools import ROOT, assert_close, lack, read, spoil

pytestmark = pytest.mark.clients

HERE = Path(__file__).parent
#: What is run under emulation, where a token takes a tenth of a second: fp32, the fused and the unpadded graph, the
#: int8 file for ARM and the one that is right everywhere; the text of 256 tokens by `make arm64` alone.
ON_ARM = ("model", "model_ort_cpu", "model_ort_cpu_unpadded", "model_ort_cpu_unpadded_qint8_arm64", "model_quantized")
LONGEST_ON_ARM = 128


def _check(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HERE / "check_vectors.py"), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def _results(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_variant_here(
    artifact: Path, measured: Callable[..., None], variants_for: Callable[..., list[str]]
) -> None:
    done = _check(artifact)
    results = _results(done)
    measured("Python", results)
    assert [result["variant"] for result in results] == variants_for("portable", "ort-cpu", "ort-cpu-unpadded", "web")
    assert_close(results, 8)
    assert done.returncode == 0


def test_a_wrong_answer_fails(artifact: Path, altered: Callable[..., Path]) -> None:
    folder = altered(vectors=spoil)
    manifest = read(folder, "manifest.json")
    content = (folder / "vectors.json").read_bytes()
    manifest["files"]["vectors.json"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    for path in list(folder.rglob("*")):  # an artifact holds no links that leave it
        if path.is_symlink():
            target = path.resolve()
            path.unlink()
            shutil.copyfile(target, path)
    done = _check(folder, "model")
    assert done.returncode == 1, done.stderr
    assert [result["passed"] for result in _results(done)] == [False]


@pytest.mark.slow
@pytest.mark.emulated
@pytest.mark.timeout(1200)
def test_arm64_under_emulation(artifact: Path, measured: Callable[..., None]) -> None:
    for tool, package in (("qemu-aarch64-static", "qemu-user-static"), ("mmdebstrap", "mmdebstrap")):
        if shutil.which(tool) is None:
            lack(f"{tool} is not installed (Debian: {package})")
    variants = [entry["name"] for entry in read(artifact, "manifest.json")["variants"] if entry["name"] in ON_ARM]
    command = [str(HERE / "arm64.sh"), str(artifact), *variants, "--longest", str(LONGEST_ON_ARM)]
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1100, check=False)
    results = _results(done)
    measured("Python, ARM64", results)
    assert [result["variant"] for result in results] == variants, done.stderr
    assert {result["machine"] for result in results} == {"aarch64"}
    assert_close(results, 7)
    assert done.returncode == 0
