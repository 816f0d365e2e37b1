"""Postprocess outputs on every opset and three runtimes, against loops over numpy arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from pipeline_models import has_postprocess
from score_graphs import best_span, config_of, score_graph, score_ports, softmax

from bert_onnx.errors import UsageError
from bert_onnx.modeling.postprocess import Postprocessing
from bert_onnx.postprocess import LONGEST_ANSWER, NO_ID
from bert_onnx.sentence_modules import SCORE_ACTIVATIONS
from bert_onnx.tasks import TASKS, TaskOptions, find_task, output_ports
from export.postprocess import POSTPROCESS_OPERATORS
from export.targets import PORTABLE_OPERATORS
from runtimes.pipelines.activations import find_activation

pytestmark = pytest.mark.slow

OPSETS = (17, 18, 19, 20, 21, 22, 23)
Arrays = dict[str, np.ndarray]


def run_everywhere(path: Path, feeds: dict[str, np.ndarray], postprocessing: Postprocessing) -> dict[str, Arrays]:
    """The outputs of ONNX Runtime, OpenVINO, the reference evaluator and PyTorch."""
    import openvino
    from onnx.reference import ReferenceEvaluator

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    feeds = {value.name: feeds[value.name] for value in session.get_inputs()}
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(feeds)
    scores = {name.removeprefix("in_"): array for name, array in feeds.items() if name.startswith("in_")}
    return {
        "onnxruntime": dict(zip(names, session.run(names, feeds), strict=True)),
        "openvino": {name: compiled[name] for name in names},
        "reference": dict(zip(names, ReferenceEvaluator(str(path)).run(names, feeds), strict=True)),
        "torch": postprocessing.arrays(scores, feeds),
    }


def check(task: str, feeds: dict[str, np.ndarray], expected: Arrays, tmp_path: Path, **changes: Any) -> None:
    """Every runtime gives `expected`, in the shapes and dtypes of the task table."""
    config = config_of(task, **changes)
    _, outputs, postprocessing = score_ports(task, config)
    path = score_graph(tmp_path / "scores.onnx", task, config)
    for runtime, found in run_everywhere(path, feeds, postprocessing).items():
        for port in outputs:
            if port.name not in postprocessing.names:
                continue
            array, what = found[port.name], f"{port.name} on {runtime}"
            assert array.dtype == port.dtype, what
            if port.dtype == "int64":
                np.testing.assert_array_equal(array, expected[port.name], what)
            else:
                np.testing.assert_allclose(array, expected[port.name], atol=2e-6, err_msg=what)
    assert set(expected) == postprocessing.names


def some_scores(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 3.0, shape).astype(np.float32)


MASKS = {
    "full": lambda length: np.ones((4, length), np.int64),
    "right": lambda length: np.array([[i < n for i in range(length)] for n in _lengths(length)], np.int64),
    "left": lambda length: np.array([[i >= length - n for i in range(length)] for n in _lengths(length)], np.int64),
    "holes": lambda length: _with_holes(length),
}


def _lengths(length: int) -> tuple[int, ...]:
    return length, max(1, length // 2), max(1, length // 3), 1


def _with_holes(length: int) -> np.ndarray:
    mask = np.random.default_rng(length).integers(0, 2, (4, length))
    mask[:, length // 2] = 1
    return mask


# -- classes


@pytest.mark.parametrize("task", ["text-classification", "next-sentence-prediction"])
@pytest.mark.parametrize("batch", [1, 5])
def test_the_likeliest_class(task: str, batch: int, tmp_path: Path) -> None:
    logits = some_scores(batch, 2 if task == "next-sentence-prediction" else 3)
    expected = {
        "probabilities": softmax(logits),
        "label_ids": np.array([max(range(len(row)), key=row.__getitem__) for row in logits.tolist()]),
    }
    check(task, {"in_logits": logits, **_masks(batch, 4)}, expected, tmp_path)


@pytest.mark.parametrize("changes", [{"problem_type": "multi_label_classification"}, {"num_labels": 1}])
def test_several_labels_may_be_right(changes: dict[str, Any], tmp_path: Path) -> None:
    logits = some_scores(6, changes.get("num_labels", 3))
    logits[0] = 0.0  # a probability of exactly one half is not above it
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = {"probabilities": probabilities, "label_ids": np.array(probabilities > 0.5, np.int64)}
    assert not expected["label_ids"][0].any()
    check("text-classification", {"in_logits": logits, **_masks(6, 4)}, expected, tmp_path, **changes)


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")  # in both branches
@pytest.mark.parametrize("activation_fn", SCORE_ACTIVATIONS)
def test_scores_of_pairs(activation_fn: str, tmp_path: Path) -> None:
    options = TaskOptions(postprocess=True, activation_fn=activation_fn)
    logits = np.array([[-90.0, -6.5, -3.0], [-1.0, 0.0, 0.3], [0.7, 6.5, 21.0], [90.0, 0.1, -0.4]], np.float32)
    config = config_of("text-ranking")
    path = score_graph(tmp_path / "scores.onnx", "text-ranking", config, options=options)
    feeds = {"in_logits": logits, **_masks(4, 4)}
    expected = find_activation(activation_fn)(logits)
    postprocessing = score_ports("text-ranking", config, options)[2]
    for runtime, found in run_everywhere(path, feeds, postprocessing).items():
        np.testing.assert_allclose(found["scores"], expected, rtol=1e-5, atol=2e-6, err_msg=runtime)


@pytest.mark.parametrize("padding", MASKS)
def test_classes_of_tokens_are_none_at_padding(padding: str, tmp_path: Path) -> None:
    mask, logits = MASKS[padding](7), some_scores(4, 7, 3)
    labels, probabilities = np.full((4, 7), NO_ID), np.zeros((4, 7, 3))
    for row, token in zip(*np.nonzero(mask), strict=True):
        labels[row, token] = int(logits[row, token].argmax())
        probabilities[row, token] = softmax(logits[row, token])
    expected = {"probabilities": probabilities, "label_ids": labels}
    check("token-classification", {"in_logits": logits, **_masks(4, 7, mask)}, expected, tmp_path)


@pytest.mark.parametrize("choices", [1, 4])
def test_the_likeliest_choice(choices: int, tmp_path: Path) -> None:
    logits = some_scores(3, choices)
    ones = np.ones((3, choices, 5), np.int64)
    expected = {"probabilities": softmax(logits), "choice_ids": logits.argmax(axis=1)}
    feeds = {"in_logits": logits, "attention_mask": ones, "token_type_ids": ones}
    check("multiple-choice", feeds, expected, tmp_path)


# -- tokens


@pytest.mark.parametrize("vocabulary", [12, 3])
@pytest.mark.parametrize("padding", MASKS)
def test_the_likeliest_tokens(padding: str, vocabulary: int, tmp_path: Path) -> None:
    mask, logits = MASKS[padding](6), some_scores(4, 6, vocabulary)
    logits[0, 0, 1] = 200.0  # the probabilities of all others are 0, and their order is still that of their scores
    count = min(5, vocabulary)
    ids, probabilities = np.full((4, 6, count), NO_ID), np.zeros((4, 6, count))
    for row, token in zip(*np.nonzero(mask), strict=True):
        order = sorted(range(vocabulary), key=lambda i: -logits[row, token, i])[:count]
        ids[row, token], probabilities[row, token] = order, softmax(logits[row, token])[order]
    feeds = {"in_logits": logits, **_masks(4, 6, mask)}
    check("fill-mask", feeds, {"top_ids": ids, "top_probabilities": probabilities}, tmp_path, vocab_size=vocabulary)


def test_pretraining_has_outputs_for_both_heads(tmp_path: Path) -> None:
    words, order = some_scores(2, 3, 12), some_scores(2, 2, seed=1)
    ids = np.argsort(-words, axis=-1)[..., :5]
    expected = {
        "top_ids": ids,
        "top_probabilities": np.take_along_axis(softmax(words), ids, axis=-1),
        "seq_relationship_probabilities": softmax(order),
        "seq_relationship_label_ids": order.argmax(axis=1),
    }
    feeds = {"in_prediction_logits": words, "in_seq_relationship_logits": order, **_masks(2, 3)}
    check("pretraining", feeds, expected, tmp_path)


@pytest.mark.parametrize("padding", MASKS)
@pytest.mark.parametrize("past", [None, 0, 5])
def test_the_next_token_is_that_of_the_last_real_one(padding: str, past: int | None, tmp_path: Path) -> None:
    mask, logits = MASKS[padding](6), some_scores(4, 6, 12)
    last = [max(np.flatnonzero(row)) for row in mask]
    expected = {"next_token_ids": np.array([logits[row, token].argmax() for row, token in enumerate(last)])}
    task = "text-generation" if past is None else "text-generation-with-past"
    cached = np.random.default_rng(1).integers(0, 2, (4, past or 0))
    masks = _masks(4, 6, np.concatenate([cached, mask], axis=1))
    check(task, {"in_logits": logits, **masks}, expected, tmp_path)


# -- spans


@pytest.mark.parametrize("length", [1, 2, 3, 14, 15, 16, 40])
@pytest.mark.parametrize("padding", MASKS)
def test_the_best_span(padding: str, length: int, tmp_path: Path) -> None:
    mask, types = MASKS[padding](length), np.zeros((4, length), np.int64)
    types[:, length // 3 :] = 1
    types[1] = 1  # no question
    start, end = some_scores(4, length), some_scores(4, length, seed=1)
    rows = [best_span(start[i], end[i], types[i], mask[i], LONGEST_ANSWER) for i in range(4)]
    expected = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    feeds = {"in_start_logits": start, "in_end_logits": end, "attention_mask": mask, "token_type_ids": types}
    check("question-answering", feeds, expected, tmp_path)


def span(start: dict[int, float], end: dict[int, float], tmp_path: Path, length: int = 40) -> tuple[int, int, float]:
    """The answer of a row of `length` tokens, question up to token 4; scores are 0 where none is given."""
    scores = np.zeros((2, 1, length), np.float32)
    for row, given in zip(scores[:, 0], (start, end), strict=True):
        for place, score in given.items():
            row[place] = score
    types = np.array([[int(i > 4) for i in range(length)]])
    feeds = {"in_start_logits": scores[0], "in_end_logits": scores[1], **_masks(1, length)}
    path = score_graph(tmp_path / "scores.onnx", "question-answering", config_of("question-answering"))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = ["answer_start", "answer_end", "answer_score"]
    first, last, score = session.run(names, {**feeds, "token_type_ids": types})
    return int(first[0]), int(last[0]), float(score[0])


def test_a_span_of_the_longest_length_and_no_longer(tmp_path: Path) -> None:
    assert span({10: 9.0}, {24: 9.0}, tmp_path)[:2] == (10, 24)
    first, last, _ = span({10: 9.0}, {25: 9.0, 20: 1.0}, tmp_path)
    assert (first, last) != (10, 25)
    assert last - first < LONGEST_ANSWER


def test_a_span_never_ends_before_it_starts(tmp_path: Path) -> None:
    assert span({20: 9.0}, {10: 9.0, 22: 8.0}, tmp_path)[:2] == (20, 22)


def test_a_span_is_neither_in_the_question_nor_the_last_separator(tmp_path: Path) -> None:
    assert span({2: 50.0, 7: 5.0}, {3: 50.0, 8: 5.0, 39: 50.0}, tmp_path)[:2] == (7, 8)


def test_scores_beyond_any_model_do_not_overflow(tmp_path: Path) -> None:
    first, last, score = span({10: 3e4}, {12: 3e4}, tmp_path)
    assert (first, last, score) == (10, 12, 1.0)
    assert span(dict.fromkeys(range(40), -3e4) | {10: -1e4}, dict.fromkeys(range(40), -3e4) | {12: -1e4}, tmp_path)[
        :2
    ] == (10, 12)


def test_without_a_context_there_is_no_answer(tmp_path: Path) -> None:
    feeds = {"in_start_logits": some_scores(2, 5), "in_end_logits": some_scores(2, 5, seed=1)}
    masks = _masks(2, 5)
    masks["token_type_ids"][1, 4] = 1  # a separator without a context before it
    rows = [
        best_span(feeds["in_start_logits"][i], feeds["in_end_logits"][i], masks["token_type_ids"][i], np.ones(5), 15)
        for i in range(2)
    ]
    expected = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    assert expected["answer_score"].tolist() == expected["answer_start"].tolist() == [0, 0]
    check("question-answering", {**feeds, **masks}, expected, tmp_path)


# -- every task


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_has_the_operators(opset: int, tmp_path: Path) -> None:
    for task in TASKS:
        config = config_of(task)
        if not has_postprocess(task, config):
            continue
        path = score_graph(tmp_path / f"{task}.onnx", task, config, opset)
        onnx.checker.check_model(onnx.load(path), full_check=True)
        _, outputs, postprocessing = score_ports(task, config)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        found = {value.name: (value.type, value.shape) for value in session.get_outputs()}
        for port in outputs:
            assert found[port.name] == (_TYPES[port.dtype], list(port.axes)), port.name
        assert list(found)[-len(postprocessing.names) :] == [p.name for p in outputs if p.name in postprocessing.names]
        used = {node.op_type for node in onnx.load(path).graph.node} - {"Identity"}
        assert used <= PORTABLE_OPERATORS | POSTPROCESS_OPERATORS


_TYPES = {"int64": "tensor(int64)", "float32": "tensor(float)"}


@pytest.mark.parametrize(
    ("task", "changes", "words"),
    [
        ("feature-extraction", {}, "feature-extraction returns vectors: pooling and normalisation"),
        ("sentence-similarity", {}, "leave --postprocess out"),
        ("text-classification", {"problem_type": "regression"}, "logits are those numbers already"),
        ("question-answering", {"type_vocab_size": 1}, "cannot tell the context from the question"),
    ],
)
def test_tasks_without_postprocess_say_why(task: str, changes: dict[str, Any], words: str) -> None:
    make: Callable[[], Any] = lambda: output_ports(  # noqa: E731
        find_task(task), config_of(task, **changes), TaskOptions(postprocess=True)
    )
    with pytest.raises(UsageError, match=words):
        make()


def _masks(batch: int, length: int, mask: np.ndarray | None = None) -> dict[str, np.ndarray]:
    ones = np.ones((batch, length), np.int64)
    return {"attention_mask": ones if mask is None else mask.astype(np.int64), "token_type_ids": np.zeros_like(ones)}
