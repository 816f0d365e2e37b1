"""onnxruntime-gpu itself on every graph for CUDA, without a GPU: see prepare.py; docs/cuda-check.md has the table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from cuda_graphs import CUDA_TARGETS, make_graph, tasks_of
from cuda_page import row
from cuda_placement import kernels, packed_kernels, place, shape_nodes

from bert_onnx.errors import RuntimeUnavailableError, UsageError
from bert_onnx.tasks import BATCH, SEQUENCE
from export.reference.load import Eager
from export.targets import TARGETS
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.ort.cuda import OnnxRuntimeCuda
from runtimes.engines.ort.cuda_options import CudaOptions
from runtimes.engines.ort.cuda_session import PROVIDER
from runtimes.engines.ort.library import CPU_PROVIDER, import_onnxruntime
from runtimes.engines.ort.session import open_session, session_options

pytestmark = pytest.mark.cuda

GRAPHS = [
    (task, target, precision)
    for target in CUDA_TARGETS
    for task in tasks_of(target)
    for precision in TARGETS[target].precisions
]
#: All options that are off by default, on.
CHANGED = CudaOptions(memory_limit=1 << 30, grow_exactly=False, convolution_search="exhaustive", tf32=True)
LENGTHS = {
    "batch_size": 4,
    "sequence_length": 128,
    "num_choices": 2,
    "past_sequence_length": 8,
    "total_sequence_length": 136,
}
#: Heads of 32: cuDNN wants a multiple of 8.
CHANGES: dict[str, Any] = {"hidden_size": 64, "num_attention_heads": 2, "max_position_embeddings": 160}


#: What PackedMultiHeadAttention takes at 128 tokens; in fp32 from 256 on it is EFFICIENT_ATTENTION.
_PACKED = {"fp16": "FLASH_ATTENTION", "fp32": "MATH"}


def operators_of(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path, load_external_data=False).graph.node}


def open_every_way(path: Path, eager: Eager) -> None:
    """With default options, with others, and for CUDA graphs where the inputs allow it."""
    ports = (eager.module.inputs, eager.module.outputs)
    every = [CudaOptions(), CHANGED]
    if all(port.axes == (BATCH, SEQUENCE) for port in ports[0]) and "RemovePadding" not in operators_of(path):
        every.append(CudaOptions(cuda_graphs=True))
    for options in every:
        OnnxRuntimeCuda.open(path, *ports, RuntimeOptions(cuda=options), eager.config).close()


@pytest.mark.parametrize(("task", "target", "precision"), GRAPHS, ids="-".join)
def test_every_graph_is_on_the_gpu(
    task: str,
    target: str,
    precision: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    path, attention = tmp_path / "model.onnx", list[str]()
    for layers in (1, 2):  # of two, cuDNN's stand-in ends the run after the first; the last one may be another operator
        eager = make_graph(task, target, precision, path, num_hidden_layers=layers, **CHANGES)
        attention[:0] = list(kernels(path, eager.module.inputs, capfd, LENGTHS).values())[:1]
    packed = list(packed_kernels(path, tmp_path, capfd, LENGTHS).values())
    assert packed == ([_PACKED[precision]] if "PackedMultiHeadAttention" in operators_of(path) else [])
    attention[:0] = packed
    open_every_way(path, eager)
    placed, sizes = place(path, tmp_path), shape_nodes(path)
    assert set(placed.on_cpu) <= set(sizes)
    assert placed.copies == 0
    graph = (task, target, precision)
    record_property("cuda-check row", row(graph, placed, sizes, list(dict.fromkeys(attention)), GRAPHS.index(graph)))
    record_property("cuda-check rows", len(GRAPHS))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("position", ["relative_key", "relative_key_query"])
def test_relative_positions_are_on_the_gpu(position: str, precision: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    eager = make_graph("feature-extraction", "ort-cuda", precision, path, position_embedding_type=position)
    open_every_way(path, eager)
    placed = place(path, tmp_path)
    assert set(placed.on_cpu) <= set(shape_nodes(path))
    assert placed.copies == 0


def test_graphs_for_other_runtimes_show_that_the_check_can_fail(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    eager = make_graph("feature-extraction", "openvino-unpadded", "fp16", path)
    placed = place(path, tmp_path)
    assert not set(placed.on_cpu) <= set(shape_nodes(path))
    assert placed.copies > 0
    ports = (eager.module.inputs, eager.module.outputs)
    with pytest.raises(UsageError, match=r"CUDA graphs want every node on the GPU, and model\.onnx has others"):
        OnnxRuntimeCuda.open(path, *ports, RuntimeOptions(cuda=CudaOptions(cuda_graphs=True)))
    with pytest.raises(
        RuntimeUnavailableError, match=r"in part on the CPU: .* Pad on CPUExecutionProvider.*for ort-cuda"
    ):
        OnnxRuntimeCuda.open(path, *ports, RuntimeOptions(cuda=CudaOptions(allow_cpu_nodes=False)))


@pytest.mark.parametrize("task", ["feature-extraction", "sentence-similarity", "text-generation-with-past"])
def test_sizes_may_be_computed_on_the_cpu_where_other_nodes_may_not(task: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    eager = make_graph(task, "ort-cuda", "fp16", path)
    options = RuntimeOptions(cuda=CudaOptions(allow_cpu_nodes=False))
    with OnnxRuntimeCuda.open(path, eager.module.inputs, eager.module.outputs, options) as runtime:
        assert runtime.describe().providers[0] == PROVIDER


def test_a_graph_that_waits_for_the_gpu_is_not_captured(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    eager = make_graph("feature-extraction", "ort-cuda-unpadded", "fp16", path)
    ports = (eager.module.inputs, eager.module.outputs)
    with pytest.raises(UsageError, match=r"model\.onnx has RemovePadding, which waits for the GPU"):
        OnnxRuntimeCuda.open(path, *ports, RuntimeOptions(cuda=CudaOptions(cuda_graphs=True)))


def test_an_option_that_there_is_not_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    make_graph("feature-extraction", "ort-cuda", "fp32", path)
    library = import_onnxruntime()
    options = session_options(library, RuntimeOptions(), threads=1)
    with pytest.raises(Exception, match="no_such_option"):
        open_session(library, path, options, [(PROVIDER, {"no_such_option": "1"}), CPU_PROVIDER])
