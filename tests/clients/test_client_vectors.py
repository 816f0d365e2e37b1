"""Python itself against vectors.json, on this machine, without the exporter."""

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
from client_tools import ROOT, assert_close, read, spoil

pytestmark = pytest.mark.clients

HERE = Path(__file__).parent


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
