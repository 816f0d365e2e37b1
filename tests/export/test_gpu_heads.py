"""Every head, with its postprocess outputs, on a real GPU; the same check on the CPU shows that it can fail."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes.util import find_library
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from cuda_graphs import CUDA_TARGETS, make_graph, tasks_of
from cuda_placement import kernels

from bert_onnx.tasks import RIGHT_PADDING
from export.onnx_file.save import save
from export.quantization.int8.dynamic import quantize_dynamic
from export.quantization.isa import ISAS
from export.reference.load import Eager
from export.reference.runtime import Reference
from export.targets import TARGETS
from export.verification.cases import verification_cases
from export.verification.parity import real_tokens
from export.verification.postprocess_parity import compare_postprocess
from export.verification.tolerances import find_tolerance
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.ort.cpu import OnnxRuntimeCpu
from runtimes.engines.ort.tensorrt import OnnxRuntimeTensorRt
from runtimes.engines.ort.tensorrt_options import TensorRtOptions
from runtimes.machine.nvidia import attention_problem

pytestmark = pytest.mark.slow

#: CUDA sums in another order than a CPU; nobody has measured by how much that differs here.
_SLACK = 10


def misses(runtime: Any, eager: Eager, precision: str) -> Iterator[str]:
    """Outputs that differ by more than they may, with the case."""
    reference, postprocessing = Reference(eager), eager.module.postprocessing
    judge = "onnxruntime-cpu" if precision == "fp32" else "emulated"

    def limit(name: str, largest: float) -> float:
        return _SLACK * find_tolerance(precision, judge, name).limit(largest)

    for case in verification_cases(eager.task, eager.config, eager.module.inputs, (RIGHT_PADDING,)):
        expected, found = reference.run(case.inputs), runtime.run(case.inputs)
        for port in eager.module.outputs:
            if port.name in postprocessing.names:
                continue
            mask = real_tokens(port, expected[port.name].shape, case.inputs["attention_mask"])
            difference = float(np.abs((found[port.name] - expected[port.name]) * mask).max(initial=0.0))
            if difference > limit(port.name, float(np.abs(expected[port.name]).max(initial=0.0))):
                yield f"{port.name} differs by {difference:.3g} in {case.name}"
        for output in compare_postprocess(postprocessing, found, case, limit):
            if output.max_abs_diff > output.tolerance:
                yield f"{output.name} differs by {output.max_abs_diff:.3g} in {case.name}"


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("target", "task", "precision"),
    [
        (target, task, precision)
        for target in CUDA_TARGETS
        for task in tasks_of(target)
        for precision in TARGETS[target].precisions
    ],
)
def test_every_head_on_a_real_gpu(target: str, task: str, precision: str, tmp_path: Path) -> None:
    from runtimes.engines.ort.cuda import OnnxRuntimeCuda

    eager = make_graph(task, target, precision, tmp_path / "model.onnx")
    with OnnxRuntimeCuda.open(tmp_path / "model.onnx", eager.module.inputs, eager.module.outputs) as runtime:
        assert list(misses(runtime, eager, precision)) == []


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("target", "kernel"), [("ort-cuda", "CUDNN_FLASH_ATTENTION"), ("ort-cuda-unpadded", "FLASH_ATTENTION")]
)
def test_fp16_attention_writes_no_scores_to_memory(
    target: str, kernel: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As docs/cuda-check.md expects it."""
    if attention_problem():
        pytest.skip(attention_problem())
    sizes = {"hidden_size": 64, "num_attention_heads": 2, "max_position_embeddings": 160}
    eager = make_graph("feature-extraction", target, "fp16", tmp_path / "model.onnx", **sizes)
    found = kernels(tmp_path / "model.onnx", eager.module.inputs, capfd, {"batch_size": 4, "sequence_length": 128})
    assert set(found.values()) == {kernel}


@pytest.mark.gpu
@pytest.mark.skipif(
    find_spec("tensorrt_libs") is None and find_library("nvinfer") is None,
    reason='TensorRT is not installed (pip install "tensorrt<11")',
)
def test_tensorrt_takes_our_int8(tmp_path: Path) -> None:
    path, cases = tmp_path / "model.onnx", []
    eager = make_graph("feature-extraction", "ort-tensorrt", "fp32", path, hidden_size=64, num_attention_heads=2)
    save(quantize_dynamic(ir.load(path), ISAS["tensorrt"]).model, path)
    ports, options = (eager.module.inputs, eager.module.outputs), TensorRtOptions(precision="int8", cache=tmp_path)
    with (
        OnnxRuntimeCpu.open(path, *ports, RuntimeOptions(exact_integers=True)) as cpu,
        OnnxRuntimeTensorRt.open(path, *ports, RuntimeOptions(tensorrt=options), eager.config) as gpu,
    ):
        for case in verification_cases(eager.task, eager.config, eager.module.inputs):
            real = case.inputs["attention_mask"] > 0
            found, expected = (one.run(case.inputs)["last_hidden_state"][real] for one in (gpu, cpu))
            cases.append(float((found * expected).sum() / (np.linalg.norm(found) * np.linalg.norm(expected))))
        assert not any("MatMul" in note for note in gpu.describe().notes), "products are TensorRT's"
    assert min(cases) > 0.999, "TensorRT multiplies what is left in float32 with 10 bits of mantissa"


def test_the_check_passes_a_right_graph_and_fails_a_wrong_one(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    eager = make_graph("token-classification", "ort-cuda", "fp32", path)
    with OnnxRuntimeCpu.open(path, eager.module.inputs, eager.module.outputs) as runtime:
        assert list(misses(runtime, eager, "fp32")) == []
        bias = list(eager.module.parameters())[-1]  # the classifier's: the model moves, the graph does not
        bias.data[0] += 0.01
        assert any("logits differs by" in line for line in misses(runtime, eager, "fp32"))
