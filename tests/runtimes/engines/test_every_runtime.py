"""What every runtime that opens files must do alike: answers, checks, errors, threads. One test, each runtime."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from toy_artifacts import CONFIG, INPUTS, OUTPUTS, embedding_graph, save_graph, table

from bert_onnx.errors import ArtifactError, InferenceError, InputError, RuntimeUnavailableError, UsageError
from bert_onnx.tasks import REQUIRES, RIGHT_PADDING, Port
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.table import RUNTIMES, find_runtime

pytestmark = pytest.mark.slow


def _offers_openvino() -> bool:
    """OpenVINO's plugin for ONNX Runtime serves Intel's processors only; test_onnxruntime_openvino emulates one."""
    from runtimes.engines.ort.openvino import computes_in

    try:
        return bool(computes_in())
    except RuntimeUnavailableError:
        return False


#: Those that the development install has; the others are tested where their provider is.
HERE = ("onnxruntime-cpu", "openvino", "reference", "tract", *(("onnxruntime-openvino",) if _offers_openvino() else ()))
ONE = RuntimeOptions(threads=1)


@pytest.fixture(params=HERE)
def opener(request: pytest.FixtureRequest) -> Any:
    return find_runtime(request.param).load_class().open


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return save_graph(tmp_path / "model.onnx")


def arrays(**changes: Any) -> dict[str, np.ndarray]:
    inputs = {
        "input_ids": np.array([[2, 5, 6, 3], [2, 5, 3, 0]]),
        "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]]),
        "token_type_ids": np.zeros((2, 4), np.int64),
    }
    return {**inputs, **changes}


def same(array: np.ndarray) -> dict[str, np.ndarray]:
    """Every input is `array`."""
    return {port.name: array for port in INPUTS}


def test_answers_come_by_name_all_or_those_asked_for(opener: Any, graph: Path) -> None:
    with opener(graph, INPUTS, OUTPUTS, ONE, CONFIG) as runtime:
        everything = runtime.run(arrays())
        assert list(everything) == ["last_hidden_state", "sentence_embedding"]
        assert all(array.dtype == np.float32 for array in everything.values())
        np.testing.assert_allclose(everything["last_hidden_state"], table()[arrays()["input_ids"]], rtol=1e-6)
        np.testing.assert_allclose(everything["sentence_embedding"][1], table()[[2, 5, 3]].mean(axis=0), rtol=1e-5)
        assert list(runtime.run(arrays(), ["sentence_embedding"])) == ["sentence_embedding"]


def test_an_answer_outlives_the_next_call(opener: Any, graph: Path) -> None:
    with opener(graph, INPUTS, OUTPUTS, ONE) as runtime:
        first = runtime.run(arrays())["last_hidden_state"]
        kept = first.copy()
        runtime.run(arrays(input_ids=np.full((2, 4), 7)))
        np.testing.assert_array_equal(first, kept)


def test_shapes_may_change_from_call_to_call(opener: Any, graph: Path) -> None:
    with opener(graph, INPUTS, OUTPUTS, ONE) as runtime:
        for shape in ((1, 1), (3, 7), (2, 2), (1, 16)):
            ids = np.full(shape, 5)
            inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
            np.testing.assert_allclose(runtime.run(inputs)["sentence_embedding"], [table()[5]] * shape[0], rtol=1e-5)


def test_it_says_what_it_is(opener: Any, graph: Path) -> None:
    with opener(graph, INPUTS, OUTPUTS, ONE) as runtime:
        described = runtime.describe()
    assert described.name in RUNTIMES
    assert described.model == "model.onnx"
    assert described.threads == 1
    assert any(character.isdigit() for character in described.library)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input_ids": np.array([[2, 12, 6, 3], [2, 5, 3, 0]])}, r"input_ids\[0, 1\] is 12"),
        ({"input_ids": np.array([[2, -1, 6, 3], [2, 5, 3, 0]])}, r"input_ids\[0, 1\] is -1"),
        ({"attention_mask": np.array([[1, 1, 1, 1], [0, 0, 0, 0]])}, r"attention_mask\[1\] is all 0"),
        ({"token_type_ids": np.zeros((2, 3), np.int64)}, "token_type_ids"),
        ({"input_ids": np.array([[2.5] * 4] * 2)}, "input_ids"),
        ({"input_ids": np.array([2, 5, 6, 3])}, r"input_ids has the shape \[4\]; it needs 2 axes"),
        (same(np.zeros((0, 4), np.int64)), "input_ids is empty: its axis batch_size has length 0"),
        (same(np.ones((1, 0), np.int64)), "input_ids is empty: its axis sequence_length has length 0"),
        (same(np.ones((1, 17), np.int64)), "the sequence has 17 tokens and the model has 16 positions"),
        ({"token_type_ids": np.full((2, 4), 2)}, r"token_type_ids\[0, 0\] is 2"),
        ({"surplus": np.zeros(1)}, "unknown surplus"),
    ],
)
def test_inputs_are_checked_first(opener: Any, graph: Path, changes: dict[str, np.ndarray], words: str) -> None:
    with opener(graph, INPUTS, OUTPUTS, ONE, CONFIG) as runtime, pytest.raises(InputError, match=words):
        runtime.run(arrays(**changes))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_an_answer_that_is_not_finite_is_an_error(opener: Any, tmp_path: Path, value: float) -> None:
    graph = save_graph(tmp_path / "model.onnx", table("world", value))
    with opener(graph, INPUTS, OUTPUTS, ONE) as runtime:
        with pytest.raises(InferenceError, match=r"model\.onnx returned .* in last_hidden_state\[0, 2, 1\]"):
            runtime.run(arrays())
        assert np.isfinite(
            runtime.run({name: array[1:] for name, array in arrays().items()})["last_hidden_state"]
        ).all()


def test_a_graph_that_wants_right_padding_gets_no_other(opener: Any, tmp_path: Path) -> None:
    model = embedding_graph(table())
    entry = model.metadata_props.add()
    entry.key, entry.value = REQUIRES, RIGHT_PADDING
    onnx.save(model, tmp_path / "model.onnx")
    with opener(tmp_path / "model.onnx", INPUTS, OUTPUTS, ONE) as runtime:
        runtime.run(arrays())
        with pytest.raises(InputError, match="is a real token after padding"):
            runtime.run(arrays(attention_mask=np.array([[1, 1, 1, 1], [1, 0, 1, 1]])))


def test_an_unknown_output_and_a_closed_runtime_are_usage_errors(opener: Any, graph: Path) -> None:
    runtime = opener(graph, INPUTS, OUTPUTS, ONE)
    with pytest.raises(UsageError, match="no output 'logits'; this model returns last_hidden_state"):
        runtime.run(arrays(), ["logits"])
    runtime.close()
    runtime.close()
    with pytest.raises(UsageError, match="is closed"):
        runtime.run(arrays())


def test_threads_share_a_runtime(opener: Any, graph: Path) -> None:
    failures: list[BaseException] = []
    with opener(graph, INPUTS, OUTPUTS, ONE) as runtime:

        def work(token: int) -> None:
            inputs = arrays(input_ids=np.full((2, 4), token))
            try:
                for _ in range(25):
                    answer = runtime.run(inputs)["sentence_embedding"]
                    np.testing.assert_allclose(answer, [table()[token]] * 2, rtol=1e-5)
            except BaseException as error:
                failures.append(error)

        workers = [threading.Thread(target=work, args=(token,)) for token in range(4, 8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert not failures


@pytest.mark.parametrize("damage", ["cut", "zeros", "text", "missing"])
def test_a_file_that_is_no_graph_is_an_artifact_error(opener: Any, graph: Path, damage: str) -> None:
    damaged = {"cut": graph.read_bytes()[:-40], "zeros": bytes(200), "text": b"not a graph", "missing": None}[damage]
    graph.unlink()
    if damaged is not None:
        graph.write_bytes(damaged)
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        opener(graph, INPUTS, OUTPUTS, ONE)


def test_other_ports_than_the_manifests_are_refused(opener: Any, graph: Path) -> None:
    more = (*INPUTS, Port("position_ids", "int64", ("batch_size", "sequence_length")))
    for inputs, outputs in ((more, OUTPUTS), (INPUTS, (*OUTPUTS, Port("logits", "float32", ("batch_size", 2))))):
        with pytest.raises(ArtifactError, match="its manifest says"):
            opener(graph, inputs, outputs, ONE)


@pytest.mark.parametrize("name", HERE)
def test_without_its_library_the_message_has_the_command(
    name: str, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = find_runtime(name)
    for module in row.needs:
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(RuntimeUnavailableError, match="install it with pip install"):
        row.load_class().open(graph, INPUTS, OUTPUTS, ONE)


def test_a_precision_that_a_runtime_cannot_compute_in_is_refused(graph: Path) -> None:
    for name in ("onnxruntime-cpu", "reference", "tract"):
        with pytest.raises(UsageError, match="computes a float32 file in fp32, not in bf16"):
            find_runtime(name).load_class().open(graph, INPUTS, OUTPUTS, RuntimeOptions(threads=1, compute="bf16"))
    with pytest.raises(UsageError, match="precision 'int7' is unknown"):
        RuntimeOptions(compute="int7")


def test_openvino_computes_in_bf16_where_the_processor_does(graph: Path) -> None:
    import openvino

    opener = find_runtime("openvino").load_class().open
    options = RuntimeOptions(threads=1, compute="bf16")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(RuntimeUnavailableError, match="does not compute in bf16 on this processor"):
            opener(graph, INPUTS, OUTPUTS, options)
        return
    with opener(graph, INPUTS, OUTPUTS, options) as runtime:
        assert runtime.describe().notes == ("computes in bf16",)
        answer = runtime.run(arrays())["sentence_embedding"]
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer[1], table()[[2, 5, 3]].mean(axis=0), atol=0.03)


def test_every_row_is_complete_and_known_targets_only() -> None:
    from export.targets import TARGETS

    for row in RUNTIMES.values():
        assert set(row.targets) <= set(TARGETS)
        assert len(set(row.targets)) == len(row.targets)
        assert callable(row.load_class().open)
        assert row.install.startswith("pip ")
    with pytest.raises(UsageError, match="the runtime 'abacus' is unknown; choose one of onnxruntime-cuda"):
        find_runtime("abacus")
