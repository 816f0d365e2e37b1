"""One pool for all sessions: set up once, before the first of them. Each test is a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT
from toy_artifacts import save_graph

_HEAD = """
import os, sys
import numpy as np
from toy_artifacts import CONFIG, INPUTS, OUTPUTS, table
from bert_onnx.errors import UsageError
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.ort.cpu import OnnxRuntimeCpu
from runtimes.engines.ort.shared_pool import share_threads

graph = sys.argv[1]
ids = np.full((2, 3), 5)
inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}

def opened(threads=None):
    return OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS, RuntimeOptions(threads=threads))

def refused(call):
    try:
        call()
    except UsageError as error:
        return str(error)
    raise AssertionError("it was not refused")
"""


def run(graph: Path, program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HEAD + program, str(graph)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return save_graph(tmp_path / "model.onnx")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
def test_sessions_share_their_threads(graph: Path) -> None:
    run(
        graph,
        """
assert share_threads(3) == 3
assert share_threads(3) == 3
first = opened()
before = len(os.listdir("/proc/self/task"))
others = [opened(4) for _ in range(5)]
assert len(os.listdir("/proc/self/task")) == before
for runtime in (first, *others):
    np.testing.assert_allclose(runtime.run(inputs)["sentence_embedding"], [table()[5]] * 2, rtol=1e-5)
    assert runtime.describe().threads == 3
assert "its size cannot change to 2" in refused(lambda: share_threads(2))
""",
    )


def test_it_must_come_before_the_first_session(graph: Path) -> None:
    run(graph, 'opened(1)\nassert "before the first load" in refused(lambda: share_threads(2))\n')
