"""onnxruntime-gpu's TensorRT provider without TensorRT: it reads its options, and all nodes are kept from it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from cuda_graphs import make_graph
from cuda_placement import libraries_without

from bert_onnx.errors import ArtifactError
from export.reference.load import Eager
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.ort import tensorrt
from runtimes.engines.ort.cuda_session import PROVIDER as CUDA_PROVIDER
from runtimes.engines.ort.tensorrt import PROVIDER, OnnxRuntimeTensorRt
from runtimes.engines.ort.tensorrt_options import TensorRtOptions

pytestmark = pytest.mark.cuda
Open = Callable[..., OnnxRuntimeTensorRt]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Eager]:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    return path, make_graph("sentence-similarity", "ort-tensorrt", "fp32", path)


@pytest.fixture
def opened(graph: tuple[Path, Eager], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens the graph with options of ours, and with `more` of the provider's own: TensorRT gets no node, since its
    stand-in cannot say which it takes."""
    path, eager = graph
    operators = sorted({node.op_type for node in onnx.load(path).graph.node})
    ours = tensorrt.provider_options

    def opening(compute: str = "fp32", more: dict[str, str] | None = None, **options: object) -> OnnxRuntimeTensorRt:
        def with_more(*arguments: object) -> dict[str, str]:
            return {**ours(*arguments), "trt_op_types_to_exclude": ",".join(operators), **(more or {})}  # type: ignore[arg-type]

        monkeypatch.setattr(tensorrt, "provider_options", with_more)
        chosen = TensorRtOptions(cache=tmp_path, **options)  # type: ignore[arg-type]
        ports = (eager.module.inputs, eager.module.outputs)
        return OnnxRuntimeTensorRt.open(path, *ports, RuntimeOptions(compute=compute, tensorrt=chosen), eager.config)

    return opening


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("compute", ["fp32", "fp16", "bf16"])
def test_the_provider_reads_our_options(opened: Open, compute: str, precision: str) -> None:
    with opened(compute, precision=precision, histogram={8: 3}, workspace=1 << 30, level=5) as runtime:
        assert runtime.describe().providers[:2] == (PROVIDER, CUDA_PROVIDER)
        assert any(note.endswith(f"MatMul on {CUDA_PROVIDER}") for note in runtime.describe().notes)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"trt_no_such_option": "1"}, "Invalid TensorRT EP option: trt_no_such_option"),
        ({"trt_int8_enable": "1"}, "'trt_int8_enable' should be 'True' or 'False'"),
    ],
)
def test_other_options_are_refused(opened: Open, more: dict[str, str], reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        opened(more=more)


def test_tensorrt_that_is_missing_is_named(graph: tuple[Path, Eager], tmp_path: Path) -> None:
    program = f"""
from runtimes.engines.ort.tensorrt import OnnxRuntimeTensorRt
from bert_onnx.errors import RuntimeUnavailableError
try:
    OnnxRuntimeTensorRt.open({str(graph[0])!r}, [], [])
except RuntimeUnavailableError as error:
    print(error)
"""
    settings = {"LD_LIBRARY_PATH": str(libraries_without("nvinfer", tmp_path)), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | settings, capture_output=True, text=True, timeout=120
    )
    assert "TensorrtExecutionProvider cannot be loaded: libnvinfer.so.10 is missing" in done.stdout
