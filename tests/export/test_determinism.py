"""The same input gives the same bytes: two exports in fresh processes, with other hash seeds, are identical."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from export_samples import save_checkpoint

pytestmark = pytest.mark.long


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "text-generation-with-past")
    artifacts = []
    for seed in ("1", "2"):
        output = tmp_path / f"artifact{seed}"
        command = [sys.executable, "-m", "bert_onnx", "export", str(checkpoint), "--output", str(output)]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONHASHSEED": seed})
        artifacts.append(_files(output))
    first, second = artifacts
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_nothing_of_this_machine_is_in_the_files(tmp_path: Path) -> None:
    from export.pipeline import export
    from export.request import ExportRequest

    checkpoint = save_checkpoint(tmp_path / "checkpoint", "feature-extraction")
    folder = export(ExportRequest(str(checkpoint), output=str(tmp_path / "artifact"))).artifact.folder
    secrets = (str(tmp_path).encode(), str(Path.cwd()).encode(), os.path.dirname(os.__file__).encode())
    for name, content in _files(folder).items():
        assert not any(secret in content for secret in secrets), name
