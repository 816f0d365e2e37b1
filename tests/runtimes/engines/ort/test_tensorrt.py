"""The TensorRT runtime on a fake GPU: profiles, provider options, the key of the cache."""

from __future__ import annotations

from ctypes.util import find_library
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from fake_cuda import CPU, CUDA, TENSORRT, FakeGpu, install
from hypothesis import given
from hypothesis import strategies as st
from toy_artifacts import CONFIG, INPUTS, OUTPUTS, save_graph, table

from bert_onnx.errors import InputError, RuntimeUnavailableError, StorageError, UsageError
from bert_onnx.tasks import Port
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.graph_file import GraphFile
from runtimes.engines.ort.shape_profile import Profile, profile_options, shape_profile
from runtimes.engines.ort.tensorrt import OnnxRuntimeTensorRt, cache_key, provider_options
from runtimes.engines.ort.tensorrt_options import TensorRtOptions


@given(st.dictionaries(st.integers(1, 64), st.integers(0, 1000), max_size=20), st.integers(1, 64))
def test_one_profile_takes_every_shape(histogram: dict[int, int], batch: int) -> None:
    profile = shape_profile(histogram, batch, 64)
    assert (profile.least, profile.most) == ((1, 1), (batch, 64))
    assert profile.usual[0] == batch
    assert 1 <= profile.usual[1] <= 64


def test_it_is_tuned_for_the_length_with_most_tokens() -> None:
    assert shape_profile({8: 1000, 16: 600, 128: 60, 256: 1, 300: 0}, 32, 512) == Profile((1, 1), (32, 16), (32, 512))
    assert shape_profile({8: 2, 16: 1}, 32, 512).usual == (32, 16), "of two, the longer one"
    assert shape_profile({}, 4, 512).usual == (4, 512)


@pytest.mark.parametrize("arguments", [({600: 1}, 1, 512), ({0: 1}, 1, 512), ({}, 0, 512), ({}, 1, 0)])
def test_profiles_out_of_range_are_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(UsageError):
        shape_profile(*arguments)


def test_a_profile_is_written_as_the_provider_reads_it() -> None:
    assert profile_options(Profile((1, 1), (8, 16), (8, 512)), ["input_ids", "attention_mask"]) == {
        "trt_profile_min_shapes": "input_ids:1x1,attention_mask:1x1",
        "trt_profile_opt_shapes": "input_ids:8x16,attention_mask:8x16",
        "trt_profile_max_shapes": "input_ids:8x512,attention_mask:8x512",
    }


def test_provider_options(tmp_path: Path) -> None:
    graph = GraphFile(save_graph(tmp_path / "model.onnx"), INPUTS, OUTPUTS, CONFIG)
    options = TensorRtOptions(1, 8, None, {4: 10}, "fp32", 1 << 30, 5, tmp_path / "cache")
    values = provider_options(graph, onnxruntime, RuntimeOptions(compute="fp16", tensorrt=options))
    assert (values["device_id"], values["trt_fp16_enable"], values["trt_bf16_enable"]) == ("1", "True", "False")
    assert (values["trt_builder_optimization_level"], values["trt_max_workspace_size"]) == ("5", str(1 << 30))
    assert "input_ids:8x16" in values["trt_profile_max_shapes"]  # the toy model's own limit
    for name in ("trt_engine_cache_path", "trt_timing_cache_path"):
        assert Path(values[name]).is_dir()
        assert Path(values[name]).is_relative_to(tmp_path / "cache")


@pytest.mark.parametrize(
    ("compute", "precision", "enabled"),
    [
        ("fp32", "fp32", ()),
        ("bf16", "fp32", ("bf16_enable",)),
        ("fp16", "fp32", ("fp16_enable", "layer_norm_fp32_fallback")),
        ("fp32", "fp16", ("fp16_enable", "layer_norm_fp32_fallback")),
        ("fp32", "int8", ("int8_enable",)),
        ("fp16", "int8", ("fp16_enable", "int8_enable", "layer_norm_fp32_fallback")),
    ],
)
def test_kernels_that_tensorrt_may_take(compute: str, precision: str, enabled: tuple[str, ...], tmp_path: Path) -> None:
    graph = GraphFile(save_graph(tmp_path / "model.onnx"), INPUTS, OUTPUTS, CONFIG)
    tensorrt = TensorRtOptions(precision=precision, cache=tmp_path)
    values = provider_options(graph, onnxruntime, RuntimeOptions(compute=compute, tensorrt=tensorrt))
    names = ("fp16_enable", "bf16_enable", "int8_enable", "layer_norm_fp32_fallback")
    assert {name for name in names if values[f"trt_{name}"] == "True"} == set(enabled)


def test_an_engine_is_kept_by_content(tmp_path: Path) -> None:
    graph = save_graph(tmp_path / "model.onnx")
    first = cache_key(graph, onnxruntime, [("a", "1")])
    assert cache_key(graph, onnxruntime, [("a", "1")]) == first
    assert cache_key(graph, onnxruntime, [("a", "2")]) != first
    (tmp_path / "model.onnx_data").write_bytes(b"weights")
    with_data = cache_key(graph, onnxruntime, [("a", "1")])
    (tmp_path / "model.onnx_data").write_bytes(b"weighty")
    assert len({first, with_data, cache_key(graph, onnxruntime, [("a", "1")])}) == 3
    save_graph(graph, table() * 2)
    (tmp_path / "model.onnx_data").unlink()
    assert cache_key(graph, onnxruntime, [("a", "1")]) != first


def test_a_cache_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    graph = GraphFile(save_graph(tmp_path / "model.onnx"), INPUTS, OUTPUTS, CONFIG)
    (tmp_path / "file").touch()
    options = TensorRtOptions(cache=tmp_path / "file")
    with pytest.raises(StorageError, match=r"cache folder .* cannot be made"):
        provider_options(graph, onnxruntime, RuntimeOptions(tensorrt=options))


def test_tensorrt_comes_first_then_cuda_then_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gpu = install(monkeypatch)
    graph = save_graph(tmp_path / "model.onnx")
    options = RuntimeOptions(tensorrt=TensorRtOptions(cache=tmp_path))
    with OnnxRuntimeTensorRt.open(graph, INPUTS, OUTPUTS, options, CONFIG) as runtime:
        ids = np.full((1, 3), 5)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        np.testing.assert_allclose(runtime.run(inputs)["sentence_embedding"], [table()[5]], rtol=1e-5)
        assert runtime.describe().name == "onnxruntime-tensorrt"
    assert [item if isinstance(item, str) else item[0] for item in gpu.sessions[0]] == [TENSORRT, CUDA, CPU]


def test_a_call_of_more_rows_than_the_engine_is_for_runs_in_several(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpu = install(monkeypatch)
    graph = save_graph(tmp_path / "model.onnx")
    options = RuntimeOptions(tensorrt=TensorRtOptions(batch=2, longest=5, cache=tmp_path))
    ids = 2 + np.arange(5)[:, None] + np.zeros((1, 4), np.int64)
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    with OnnxRuntimeTensorRt.open(graph, INPUTS, OUTPUTS, options, CONFIG) as runtime:
        results = runtime.run(inputs)
        np.testing.assert_allclose(results["sentence_embedding"], table()[ids[:, 0]], rtol=1e-5)
        assert results["last_hidden_state"].shape == (5, 4, CONFIG.hidden_size)
        assert gpu.shapes == [(2, 4), (2, 4), (1, 4)]
        longer = {name: np.tile(array, (1, 2)) for name, array in inputs.items()}
        with pytest.raises(InputError, match=r"have 8 tokens, and this engine is for 5 at most.*longest="):
            runtime.run(longer)


def test_a_session_that_went_to_cuda_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, FakeGpu(loads=False))
    graph = save_graph(tmp_path / "model.onnx")
    options = RuntimeOptions(tensorrt=TensorRtOptions(cache=tmp_path))
    with pytest.raises(RuntimeUnavailableError, match="could not load TensorrtExecutionProvider"):
        OnnxRuntimeTensorRt.open(graph, INPUTS, OUTPUTS, options, CONFIG)


def test_inputs_of_other_shapes_and_options_out_of_range_are_refused(tmp_path: Path) -> None:
    graph = save_graph(tmp_path / "model.onnx")
    choices = (Port("input_ids", "int64", ("batch_size", "num_choices", "sequence_length")),)
    with pytest.raises(UsageError, match="use onnxruntime-cuda"):
        OnnxRuntimeTensorRt.open(graph, choices, OUTPUTS)
    for options in ({"level": 6}, {"batch": 0}, {"longest": 0}, {"precision": "int4"}):
        with pytest.raises(UsageError):
            TensorRtOptions(**options)  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(
    find_spec("tensorrt_libs") is None and find_library("nvinfer") is None,
    reason='TensorRT is not installed (pip install "tensorrt<11")',
)
def test_a_real_gpu_builds_an_engine_and_answers(tmp_path: Path) -> None:
    graph = save_graph(tmp_path / "model.onnx")
    options = RuntimeOptions(tensorrt=TensorRtOptions(cache=tmp_path))
    with OnnxRuntimeTensorRt.open(graph, INPUTS, OUTPUTS, options, CONFIG) as runtime:
        ids = np.full((2, 3), 5)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        np.testing.assert_allclose(runtime.run(inputs)["sentence_embedding"], [table()[5]] * 2, atol=1e-5)
