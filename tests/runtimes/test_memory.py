"""Memory stays flat while batch sizes and lengths vary; runtimes in one process do not disturb each other."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from repository import ROOT
from toy_artifacts import CONFIG, INPUTS, OUTPUTS, save_graph

from runtimes.engines.base import RuntimeOptions
from runtimes.engines.ort.cpu import OnnxRuntimeCpu

pytestmark = pytest.mark.slow

#: Runs a graph in calls of many shapes, and prints resident kilobytes after a third and at the end.
_PROGRAM = """
import sys
import numpy as np
from pathlib import Path
from toy_artifacts import INPUTS, OUTPUTS
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.table import find_runtime

def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])

name, graph, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
random = np.random.default_rng(0)
runtime = find_runtime(name).load_class().open(graph, INPUTS, OUTPUTS, RuntimeOptions(threads=1, spinning=False))
sizes = []
for call in range(calls):
    batch, length = int(random.integers(1, 17)), int(random.integers(1, 65))
    if call == 0:
        batch, length = 16, 64  # the largest comes first: what it takes is no growth
    ids = random.integers(0, 12, (batch, length))
    runtime.run({"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)})
    if call in (calls // 3, calls - 1):
        sizes.append(resident())
print(*sizes)
"""


def _growth(name: str, graph: Path, calls: int) -> int:
    """Kilobytes by which the process grew over the last two thirds of `calls`."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, name, str(graph), str(calls)],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=500,
    )  # fmt: skip
    early, late = map(int, done.stdout.split())
    return late - early


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("name", ["onnxruntime-cpu", "openvino", "tract"])
def test_memory_stays_flat_while_shapes_vary(name: str, tmp_path: Path) -> None:
    graph = save_graph(tmp_path / "model.onnx", np.ones((CONFIG.vocab_size, 4), np.float32))
    assert _growth(name, graph, 600) < 8 << 10


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("name", ["onnxruntime-cpu", "openvino", "tract"])
def test_memory_stays_flat_over_ten_thousand_calls(name: str, tmp_path: Path) -> None:
    graph = save_graph(tmp_path / "model.onnx", np.ones((CONFIG.vocab_size, 4), np.float32))
    assert _growth(name, graph, 10_000) < 16 << 10


def test_a_closed_runtime_gives_its_memory_back_to_the_next(tmp_path: Path) -> None:
    """Opening and closing again and again holds one graph at a time."""
    graph = save_graph(tmp_path / "model.onnx", np.ones((CONFIG.vocab_size, 4), np.float32))
    for _ in range(3):
        runtime = OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS, RuntimeOptions(threads=1))
        session = weakref.ref(runtime._engine)
        assert session() is not None
        runtime.close()
        gc.collect()
        assert session() is None


def test_many_runtimes_answer_side_by_side(tmp_path: Path) -> None:
    graphs = [
        save_graph(tmp_path / f"model_{value}.onnx", np.full((CONFIG.vocab_size, 4), value, np.float32))
        for value in range(1, 5)
    ]
    options = RuntimeOptions(threads=1, spinning=False)
    opened = [OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS, options) for graph in graphs]
    failures: list[BaseException] = []

    def work(value: int, runtime: OnnxRuntimeCpu) -> None:
        try:
            for length in (1, 7, 3, 16) * 10:
                ids = np.full((2, length), 5)
                inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
                np.testing.assert_allclose(runtime.run(inputs)["sentence_embedding"], value)
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(value, runtime)) for value, runtime in enumerate(opened, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for runtime in opened:
        runtime.close()
    assert not failures
