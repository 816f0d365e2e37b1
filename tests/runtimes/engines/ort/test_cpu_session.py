"""ONNX Runtime behind the protocol: answers, options, and every failure as one sentence."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from toy_artifacts import CONFIG, INPUTS, OUTPUTS, embedding_graph, save_graph, table

from bert_onnx.errors import ArtifactError, InferenceError, InputError, RuntimeUnavailableError, UsageError
from bert_onnx.tasks import Port
from runtimes.engines.base import OPTIMIZATIONS, RuntimeOptions
from runtimes.engines.ort.cpu import OnnxRuntimeCpu


def arrays() -> dict[str, np.ndarray]:
    return {
        "input_ids": np.array([[2, 5, 6, 3], [2, 5, 3, 0]]),
        "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]]),
        "token_type_ids": np.zeros((2, 4), np.int64),
    }


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return save_graph(tmp_path / "model.onnx")


def test_it_returns_every_output_in_order_or_those_asked_for(graph: Path) -> None:
    with OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS, limits=CONFIG) as runtime:
        everything = runtime.run(arrays())
        assert list(everything) == ["last_hidden_state", "sentence_embedding"]
        np.testing.assert_array_equal(everything["last_hidden_state"], table()[arrays()["input_ids"]])
        expected = table()[[2, 5, 3]].mean(axis=0)
        np.testing.assert_allclose(everything["sentence_embedding"][1], expected, rtol=1e-6)
        assert list(runtime.run(arrays(), ["sentence_embedding"])) == ["sentence_embedding"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names, or other ways to open them")
@pytest.mark.parametrize("name", [b"m\xf6dels", "modèles".encode()])
def test_a_folder_whose_name_is_not_utf8(graph: Path, tmp_path: Path, name: bytes) -> None:
    """onnxruntime takes names in UTF-8 alone. What is opened for it is closed again, also where there is no graph."""
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    path = Path(shutil.copy(graph, folder))
    before = os.listdir("/proc/self/fd")
    with OnnxRuntimeCpu.open(path, INPUTS, OUTPUTS) as runtime:
        found = runtime.run(arrays(), ["last_hidden_state"])["last_hidden_state"]
    np.testing.assert_array_equal(found, table()[arrays()["input_ids"]])
    path.write_bytes(b"no graph")
    with pytest.raises(ArtifactError, match="is not a graph"):
        OnnxRuntimeCpu.open(path, INPUTS, OUTPUTS)
    assert os.listdir("/proc/self/fd") == before


def test_it_leaves_its_inputs_alone(graph: Path) -> None:
    given = {name: array.astype(np.int32) for name, array in arrays().items()}
    with OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS) as runtime:
        runtime.run(given)
    for name, array in arrays().items():
        assert given[name].dtype == np.int32
        np.testing.assert_array_equal(given[name], array)


@pytest.mark.parametrize("optimization", OPTIMIZATIONS)
@pytest.mark.parametrize("spinning", [True, False])
def test_options_do_not_change_answers(graph: Path, optimization: str, spinning: bool) -> None:
    options = RuntimeOptions(threads=1, spinning=spinning, optimization=optimization)
    with OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS, options) as runtime:
        result = runtime.run(arrays(), ["sentence_embedding"])["sentence_embedding"]
    np.testing.assert_allclose(result[1], table()[[2, 5, 3]].mean(axis=0), rtol=1e-6)


def test_it_writes_a_profile_where_asked(graph: Path, tmp_path: Path) -> None:
    options = RuntimeOptions(profile=tmp_path / "profile")
    with OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS, options) as runtime:
        runtime.run(arrays())
    assert list(tmp_path.glob("profile*.json"))


def test_it_describes_itself(graph: Path) -> None:
    import onnxruntime

    with OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS, RuntimeOptions(threads=3)) as runtime:
        assert runtime.describe().to_dict() == {
            "name": "onnxruntime-cpu",
            "providers": ["CPUExecutionProvider"],
            "library": f"onnxruntime {onnxruntime.__version__}",
            "threads": 3,
            "model": "model.onnx",
            "notes": [],
        }


def test_threads_share_a_runtime(graph: Path) -> None:
    answers: list[np.ndarray] = []
    with OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS, RuntimeOptions(threads=1)) as runtime:
        expected = runtime.run(arrays())["sentence_embedding"]

        def work() -> None:
            for _ in range(50):
                answers.append(runtime.run(arrays())["sentence_embedding"])

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert len(answers) == 200
    assert all((answer == expected).all() for answer in answers)


def test_inputs_are_checked_first(graph: Path) -> None:
    inputs = arrays()
    inputs["input_ids"][1, 1] = CONFIG.vocab_size
    with (
        OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS, limits=CONFIG) as runtime,
        pytest.raises(InputError, match=r"input_ids\[1, 1\] is 12"),
    ):
        runtime.run(inputs)


def test_an_id_beyond_a_table_is_one_sentence_even_without_limits(graph: Path) -> None:
    inputs = arrays()
    inputs["input_ids"][1, 1] = 10**6
    with (
        OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS) as runtime,
        pytest.raises(InferenceError, match=r"onnxruntime failed in model\.onnx: .*Gather"),
    ):
        runtime.run(inputs)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_an_answer_that_is_not_finite_is_an_error(tmp_path: Path, value: float) -> None:
    graph = save_graph(tmp_path / "model.onnx", table("world", value))
    with OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS) as runtime:
        with pytest.raises(InferenceError, match=r"model\.onnx returned .* in last_hidden_state\[0, 2, 1\]"):
            runtime.run(arrays())
        fine = {name: array[1:] for name, array in arrays().items()}
        assert np.isfinite(runtime.run(fine)["last_hidden_state"]).all()


def test_an_unknown_output_is_refused(graph: Path) -> None:
    with (
        OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS) as runtime,
        pytest.raises(UsageError, match="no output 'logits'; this model returns last_hidden_state, sentence_embedding"),
    ):
        runtime.run(arrays(), ["logits"])


def test_a_closed_runtime_says_so(graph: Path) -> None:
    runtime = OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS)
    runtime.close()
    runtime.close()
    with pytest.raises(UsageError, match="is closed"):
        runtime.run(arrays())


@pytest.mark.parametrize("damage", ["cut", "zeros", "text", "empty"])
def test_a_damaged_file_is_an_artifact_error(graph: Path, damage: str, capfd: pytest.CaptureFixture[str]) -> None:
    content = graph.read_bytes()
    damaged = {"cut": content[:-40], "zeros": bytes(200), "text": b"not a graph", "empty": b""}
    graph.write_bytes(damaged[damage])
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS)
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_is_an_artifact_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"model\.onnx is missing"):
        OnnxRuntimeCpu.open(tmp_path / "model.onnx", INPUTS, OUTPUTS)


def test_other_ports_than_the_manifests_are_refused(graph: Path) -> None:
    more = (*INPUTS, Port("position_ids", "int64", ("batch_size", "sequence_length")))
    with pytest.raises(ArtifactError, match="not what its manifest says"):
        OnnxRuntimeCpu.open(graph, more, OUTPUTS)
    with pytest.raises(ArtifactError, match="not what its manifest says"):
        OnnxRuntimeCpu.open(graph, INPUTS, (*OUTPUTS, Port("logits", "float32", ("batch_size", 2))))


def test_a_graph_of_the_future_names_the_library(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(embedding_graph(table(), opset=99), path)
    with pytest.raises(RuntimeUnavailableError, match=r"onnxruntime .* cannot run model\.onnx: .*newer onnxruntime"):
        OnnxRuntimeCpu.open(path, INPUTS, OUTPUTS)


def test_without_onnxruntime_the_message_has_the_command(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeUnavailableError, match=r'pip install "bert-onnx\[cpu\]"'):
        OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS)


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": -1}, {"threads": 1.5}, {"optimization": "most"}])
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        RuntimeOptions(**options)  # type: ignore[arg-type]


def residual_graph(path: Path) -> Path:
    """y = LayerNormalization(x + x) of x [batch_size, sequence_length, 8]."""
    ones = onnx.numpy_helper.from_array(np.ones(8, np.float32), "ones")
    nodes = [
        onnx.helper.make_node("Add", ["x", "x"], ["sum"]),
        onnx.helper.make_node("LayerNormalization", ["sum", "ones", "ones"], ["y"], axis=-1),
    ]
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch_size", "sequence_length", 8])
        for name in "xy"
    )
    graph = onnx.helper.make_graph(nodes, "residual", [x], [y], [ones])
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def test_sums_before_norms_are_not_fused_to_what_takes_longer(tmp_path: Path) -> None:
    import onnxruntime

    path = residual_graph(tmp_path / "model.onnx")
    port = Port("x", "float32", ("batch_size", "sequence_length", 8))
    for ours in (True, False):
        folder = tmp_path / f"{ours}"
        folder.mkdir()
        x = {"x": np.ones((2, 3, 8), np.float32)}
        if ours:
            options = RuntimeOptions(profile=folder / "profile")
            with OnnxRuntimeCpu.open(path, [port], [replace(port, name="y")], options) as runtime:
                runtime.run(x)
        else:
            settings = onnxruntime.SessionOptions()
            settings.enable_profiling, settings.profile_file_prefix = True, str(folder / "profile")
            session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
            session.run(None, x)
            session.end_profiling()
        (profile,) = folder.glob("profile*.json")
        assert ("SkipLayerNormalization" in profile.read_text()) != ours


def test_memory_is_not_planned_for_one_shape(graph: Path) -> None:
    with OnnxRuntimeCpu.open(graph, INPUTS, OUTPUTS) as runtime:
        settings = runtime._engine.get_session_options()
    assert not settings.enable_mem_pattern
    assert settings.enable_cpu_mem_arena
