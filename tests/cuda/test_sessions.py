"""Sessions of onnxruntime-gpu without a GPU: they run to their end, and give nothing worth reading."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_graphs import make_graph
from cuda_placement import KERNEL_VARIABLE, libraries_without

from bert_onnx.errors import InferenceError, InputError
from export.reference.load import Eager
from runtimes.engines.base import RuntimeOptions, ran_out_of_memory
from runtimes.engines.ort.cpu import OnnxRuntimeCpu
from runtimes.engines.ort.cuda import OnnxRuntimeCuda
from runtimes.engines.ort.cuda_options import CudaOptions
from runtimes.engines.ort.library import import_onnxruntime
from runtimes.machine import nvidia

pytestmark = pytest.mark.cuda


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Eager]:
    """float32, whose attention needs no cuDNN."""
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    return path, make_graph("sentence-similarity", "ort-cuda", "fp32", path)


def opened(graph: tuple[Path, Eager], **options: Any) -> OnnxRuntimeCuda:
    path, eager = graph
    ports = (eager.module.inputs, eager.module.outputs)
    return OnnxRuntimeCuda.open(path, *ports, RuntimeOptions(cuda=CudaOptions(**options)), eager.config)


def arrays(batch: int = 3, length: int = 9) -> dict[str, np.ndarray]:
    ids = np.ones((batch, length), np.int64)
    return {"input_ids": ids, "attention_mask": ids, "token_type_ids": ids * 0}


@pytest.mark.parametrize("options", [{}, {"pad_shapes": True}, {"cuda_graphs": True, "batches": (1, 2, 4)}])
def test_a_run_ends(graph: tuple[Path, Eager], options: dict[str, Any]) -> None:
    with opened(graph, **options) as runtime:
        for batch in (3, 1, 3, 5):  # with CUDA graphs: captured, captured, replayed, beyond the buckets
            results = runtime.run(arrays(batch))
            assert results["last_hidden_state"].shape == (batch, 9, 32)
            assert results["sentence_embedding"].shape == (batch, 32)


@pytest.mark.parametrize("options", [{}, {"stream": 0}, {"cuda_graphs": True}])
def test_tensors_on_the_gpu_are_bound_once(graph: tuple[Path, Eager], options: dict[str, Any]) -> None:
    library = import_onnxruntime()
    tensors = {
        name: library.OrtValue.ortvalue_from_numpy(array, "cuda", 0)._ortvalue for name, array in arrays().items()
    }
    with opened(graph, **options) as runtime:
        bound = runtime.bind_device(tensors, ["sentence_embedding"])
        for wait in (None, True, False):
            results = bound.run(wait)
            assert list(results) == ["sentence_embedding"]
            assert results["sentence_embedding"].device_name().lower() == "cuda"
            assert results["sentence_embedding"].shape() == [3, 32]
        again = runtime.run_device(tensors, checked=False)
        assert again["last_hidden_state"].shape() == [3, 9, 32]


def test_nothing_is_missing_for_fast_kernels(graph: tuple[Path, Eager]) -> None:
    assert nvidia.attention_problem() == ""
    with opened(graph) as runtime:
        assert runtime.describe().notes == ("1 Concat on CPUExecutionProvider",)


_ONE_RUN = """
import sys
import numpy as np
from bert_onnx.errors import BertOnnxError
from bert_onnx.tasks import Port
from runtimes.engines.ort.cuda import OnnxRuntimeCuda
axes = ("batch_size", "sequence_length")
inputs = [Port(name, "int64", axes) for name in ("input_ids", "attention_mask", "token_type_ids")]
outputs = [Port("last_hidden_state", "float32", (*axes, 64)), Port("pooler_output", "float32", ("batch_size", 64))]
ids = np.ones((2, 16), np.int64)
try:
    with OnnxRuntimeCuda.open(sys.argv[1], inputs, outputs) as runtime:
        print(runtime.describe().notes)
        runtime.run({"input_ids": ids, "attention_mask": ids, "token_type_ids": ids * 0})
except BertOnnxError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("half") / "model.onnx"
    make_graph("feature-extraction", "ort-cuda", "fp16", path, hidden_size=64, num_attention_heads=2)
    return path


def one_run(path: Path, libraries: Path, **environment: str) -> str:
    """What a process of its own says that opens and runs the graph."""
    settings = {
        "LD_LIBRARY_PATH": str(libraries),
        "PYTHONPATH": os.pathsep.join(sys.path),
        KERNEL_VARIABLE: "1",
    }
    command = [sys.executable, "-c", _ONE_RUN, str(path)]
    done = subprocess.run(command, env=os.environ | settings | environment, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, ""),
        ({"STAND_IN_CUDNN": "90300"}, ""),
        ({"STAND_IN_CUDNN": "90201"}, "cuDNN is 9.2.1, and 9.3 or newer is needed"),
        ({"STAND_IN_CUDNN": "91000"}, "cuDNN is 9.10.0, and 9.3 or newer is needed, but for 9.10.0 and 9.10.1"),
        ({"STAND_IN_CUDNN": "91001"}, "cuDNN is 9.10.1"),
        ({"STAND_IN_CUDNN": "91002"}, ""),
    ],
)
def test_slow_attention_is_said_where_onnxruntime_takes_it(half: Path, settings: dict[str, str], reason: str) -> None:
    said = one_run(half, Path(os.environ["BERT_ONNX_CUDA_CHECK"]) / "lib", **settings)
    assert f"DataType=fp16 SdpaKernel={'MATH' if reason else 'CUDNN_FLASH_ATTENTION'}" in said
    assert ("attention of fp16 and bf16 files is slow here" in said) is bool(reason)
    assert reason in said


@pytest.mark.parametrize("capability", ["75", "80", "89"])
def test_before_9_0_bf16_is_slow_and_fp16_has_kernels_of_its_own(half: Path, tmp_path: Path, capability: str) -> None:
    libraries = Path(os.environ["BERT_ONNX_CUDA_CHECK"]) / "lib"
    said = one_run(half, libraries, STAND_IN_CAPABILITY=capability)
    assert f"attention of bf16 files is slow here: GPU 0 has compute capability {capability[0]}.{capability[1]}" in said
    assert "SdpaKernel=MATH" not in said, "it loads the fused kernel, for which the stand-in has no driver"
    assert "CUDADriverWrapper" in said
    path = tmp_path / "model.onnx"
    make_graph("feature-extraction", "ort-cuda", "bf16", path, hidden_size=64, num_attention_heads=2)
    assert "DataType=bf16 SdpaKernel=MATH" in one_run(path, libraries, STAND_IN_CAPABILITY=capability)


def test_without_cudnn_it_is_refused_before_the_first_run(half: Path, tmp_path: Path) -> None:
    """onnxruntime-gpu opens the graph, and fails when attention first runs."""
    said = one_run(half, libraries_without("cudnn", tmp_path))
    assert "RuntimeUnavailableError CUDAExecutionProvider needs cuDNN for attention" in said
    assert "SdpaKernel" not in said


# Bad input: as on the CPU.


def wrong_inputs() -> dict[str, dict[str, np.ndarray]]:
    left, empty, holes = (arrays() for _ in range(3))
    left["attention_mask"] = np.tile((np.arange(9) > 3).astype(np.int64), (3, 1))
    empty["attention_mask"] = np.array([[1], [0], [1]]).repeat(9, 1)
    holes["attention_mask"] = np.tile(np.arange(9) % 2, (3, 1))
    beyond, unknown = arrays(), arrays()
    beyond["input_ids"] = beyond["input_ids"] * 40
    del unknown["token_type_ids"]
    return {"left": left, "empty": empty, "holes": holes, "long": arrays(1, 41), "beyond": beyond, "unknown": unknown}


@pytest.mark.parametrize("target", ["ort-cuda", "ort-cuda-unpadded"])
def test_what_the_cpu_refuses_is_refused_in_the_same_words(target: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    eager = make_graph("sentence-similarity", target, "fp32", path)
    reference = tmp_path / "twin.onnx"  # which the CPU can open, with the same demand on padding
    make_graph("sentence-similarity", "ort-cuda", "fp32", reference)
    ports, shown = (eager.module.inputs, eager.module.outputs), dict[str, set[str]]()
    cpu = OnnxRuntimeCpu.open(reference, *ports, limits=eager.config)
    every = [{}, {"pad_shapes": True}, *([] if "unpadded" in target else [{"cuda_graphs": True}])]
    for runtime in (cpu, *(opened((path, eager), **options) for options in every)):
        for name, inputs in wrong_inputs().items():
            with pytest.raises(InputError) as raised:
                runtime.run(inputs)
            shown.setdefault(name, set()).add(str(raised.value))
        runtime.close()
    assert {name: len(messages) for name, messages in shown.items()} == dict.fromkeys(wrong_inputs(), 1)
    assert "is a real token after padding; this variant needs padding on the right" in shown["left"].pop()
    assert "every row needs at least one real token" in shown["empty"].pop()


@pytest.mark.parametrize("options", [{}, {"pad_shapes": True}, {"cuda_graphs": True, "batches": (8192,)}])
def test_a_batch_beyond_memory_says_so_and_the_next_one_runs(
    graph: tuple[Path, Eager], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_MEMORY", "4")
    with opened(graph, **options) as runtime:
        for _ in range(2):
            with pytest.raises(InferenceError, match=r"model\.onnx ran out of memory; use a smaller batch") as raised:
                runtime.run(arrays(8000, 16))
            assert ran_out_of_memory(raised.value)
        assert runtime.run(arrays(3))["sentence_embedding"].shape == (3, 32) if not options.get("cuda_graphs") else True


def test_tensors_on_the_gpu_beyond_memory(graph: tuple[Path, Eager], monkeypatch: pytest.MonkeyPatch) -> None:
    library = import_onnxruntime()
    inputs = arrays(20000, 40)  # the process has one more arena for such tensors, with some room left
    tensors = {name: library.OrtValue.ortvalue_from_numpy(array, "cuda", 0)._ortvalue for name, array in inputs.items()}
    monkeypatch.setenv("STAND_IN_MEMORY", "4")
    with opened(graph) as runtime, pytest.raises(InferenceError, match="ran out of memory; use a smaller batch"):
        runtime.bind_device(tensors)
