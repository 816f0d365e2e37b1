"""The comparison of postprocess outputs: equal ones pass, ties pass, and everything else is as wrong as it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from score_graphs import config_of, score_ports

from bert_onnx.artifact import OutputParity, Parity
from bert_onnx.modeling.postprocess import Postprocessing
from bert_onnx.postprocess import NO_ID
from bert_onnx.tasks import Port
from export.verification.cases import Case
from export.verification.parity import compare
from export.verification.postprocess_parity import compare_postprocess
from runtimes.engines.base import RuntimeDescription

SLACK = 1e-3
Arrays = dict[str, np.ndarray]


def judge(task: str, arrays: Arrays, inputs: Arrays, **changes: object) -> dict[str, OutputParity]:
    """What is found of `arrays`, scores and postprocess outputs, where everything may differ by `SLACK`."""
    postprocessing = score_ports(task, config_of(task, **changes))[2]
    found = compare_postprocess(postprocessing, arrays, Case("only", inputs), lambda name, largest: SLACK)
    assert {output.name for output in found} == postprocessing.names
    return {output.name: output for output in found}


def right(task: str, scores: Arrays, inputs: Arrays, **changes: object) -> Arrays:
    """`scores` with the outputs that follow from them."""
    postprocessing = score_ports(task, config_of(task, **changes))[2]
    return {**scores, **postprocessing.arrays(scores, inputs)}


def masks(batch: int, length: int) -> Arrays:
    mask = np.ones((batch, length), np.int64)
    mask[-1, -1] = 0
    types = np.zeros_like(mask)
    types[:, 2:] = 1
    return {"attention_mask": mask, "token_type_ids": types}


def scores_of(task: str) -> tuple[Arrays, Arrays]:
    """Scores whose order is plain, and masks."""
    rng, inputs = np.random.default_rng(0), masks(2, 6)
    shapes = {
        "text-classification": {"logits": (2, 3)},
        "token-classification": {"logits": (2, 6, 3)},
        "fill-mask": {"logits": (2, 6, 12)},
        "question-answering": {"start_logits": (2, 6), "end_logits": (2, 6)},
        "text-generation": {"logits": (2, 6, 12)},
    }
    return {
        name: rng.permuted(np.arange(math.prod(shape), dtype=np.float32)).reshape(shape)
        for name, shape in shapes[task].items()
    }, inputs


TASKS = ("text-classification", "token-classification", "fill-mask", "question-answering", "text-generation")


@pytest.mark.parametrize("task", TASKS)
def test_what_follows_differs_by_nothing(task: str) -> None:
    scores, inputs = scores_of(task)
    found = judge(task, right(task, scores, inputs), inputs)
    assert all(output.max_abs_diff == 0 for output in found.values())


@pytest.mark.parametrize(
    ("task", "name", "place", "value", "cost"),
    [
        ("text-classification", "label_ids", (1,), 3, math.inf),
        ("text-classification", "label_ids", (1,), -1, math.inf),
        ("token-classification", "label_ids", (1, 5), 0, math.inf),  # padding has no label
        ("token-classification", "label_ids", (0, 2), NO_ID, math.inf),
        ("fill-mask", "top_ids", (0, 1, 0), 12, math.inf),
        ("fill-mask", "top_ids", (1, 5, 0), 3, math.inf),
        ("question-answering", "answer_end", (0,), 6, math.inf),
        ("question-answering", "answer_start", (0,), -1, math.inf),
        ("question-answering", "answer_end", (0,), 0, math.inf),
        ("text-generation", "next_token_ids", (0,), 12, math.inf),
    ],
)
def test_what_cannot_be_right_differs_infinitely(
    task: str, name: str, place: tuple[int, ...], value: int, cost: float
) -> None:
    scores, inputs = scores_of(task)
    arrays = right(task, scores, inputs)
    assert arrays[name][place] != value
    arrays[name] = arrays[name].copy()
    arrays[name][place] = value
    found = judge(task, arrays, inputs)[name]
    assert found.max_abs_diff == cost
    assert found.index == place or name == "top_ids"


def test_another_class_costs_the_distance_of_its_score() -> None:
    scores, inputs = {"logits": np.array([[1.0, 4.0, 3.5], [0.0, -1.0, -9.0]], np.float32)}, masks(2, 6)
    arrays = right("text-classification", scores, inputs)
    assert arrays["label_ids"].tolist() == [1, 0]
    arrays["label_ids"] = np.array([2, 0])
    found = judge("text-classification", arrays, inputs)["label_ids"]
    assert (found.max_abs_diff, found.tolerance, found.index) == (0.5, 2 * SLACK, (0,))


def test_a_tie_may_go_either_way() -> None:
    scores, inputs = {"logits": np.array([[1.0, 4.0, 4.0 - SLACK]], np.float32)}, masks(1, 6)
    arrays = right("text-classification", scores, inputs)
    arrays["label_ids"] = np.array([2])
    found = judge("text-classification", arrays, inputs)["label_ids"]
    assert 0 < found.max_abs_diff <= found.tolerance


@pytest.mark.parametrize(("logit", "passes"), [(0.0005, True), (-0.0005, True), (0.01, False), (-0.01, False)])
def test_a_label_near_one_half_may_be_given_or_not(logit: float, passes: bool) -> None:
    changes = {"problem_type": "multi_label_classification", "num_labels": 2}
    scores, inputs = {"logits": np.array([[5.0, logit]], np.float32)}, masks(1, 6)
    arrays = right("text-classification", scores, inputs, **changes)
    arrays["label_ids"] = arrays["label_ids"].copy()
    arrays["label_ids"][0, 1] ^= 1
    found = judge("text-classification", arrays, inputs, **changes)["label_ids"]
    assert (found.max_abs_diff <= found.tolerance) is passes
    arrays["label_ids"][0, 1] = 2
    assert judge("text-classification", arrays, inputs, **changes)["label_ids"].max_abs_diff == math.inf


def test_the_order_of_tokens_counts_and_no_token_comes_twice() -> None:
    scores, inputs = scores_of("fill-mask")
    arrays = right("fill-mask", scores, inputs)
    ids = arrays["top_ids"]
    swapped = ids.copy()
    swapped[0, 0, [0, 1]] = ids[0, 0, [1, 0]]
    first, second = scores["logits"][0, 0][ids[0, 0, :2]]
    assert judge("fill-mask", {**arrays, "top_ids": swapped}, inputs)["top_ids"].max_abs_diff == first - second
    twice = ids.copy()
    twice[0, 0, 1] = ids[0, 0, 0]
    assert judge("fill-mask", {**arrays, "top_ids": twice}, inputs)["top_ids"].max_abs_diff == math.inf


def test_another_span_costs_the_sum_that_was_given_away() -> None:
    start = np.array([[0, 0, 5, 1, 0, 0]], np.float32)
    end = np.array([[0, 0, 0, 0, 4, 9]], np.float32)
    inputs = {"attention_mask": np.ones((1, 6), np.int64), "token_type_ids": np.array([[0, 0, 1, 1, 1, 1]])}
    scores = {"start_logits": start, "end_logits": end}
    arrays = right("question-answering", scores, inputs)
    assert (arrays["answer_start"], arrays["answer_end"]) == ([2], [4])
    found = judge("question-answering", {**arrays, "answer_start": np.array([3])}, inputs)
    assert found["answer_start"].max_abs_diff == found["answer_end"].max_abs_diff == 4.0
    separator = judge("question-answering", {**arrays, "answer_end": np.array([5])}, inputs)
    assert separator["answer_end"].max_abs_diff == 5.0, "a larger sum, at a place where no answer span may be"


def test_probabilities_are_compared_as_numbers() -> None:
    scores, inputs = scores_of("token-classification")
    arrays = right("token-classification", scores, inputs)
    arrays["probabilities"] = arrays["probabilities"].copy()
    arrays["probabilities"][1, 5, 2] = 0.25  # at padding
    found = judge("token-classification", arrays, inputs)["probabilities"]
    assert (found.max_abs_diff, found.tolerance, found.index) == (0.25, SLACK, (1, 5, 2))
    arrays["probabilities"][0, 0, 0] = np.nan
    assert judge("token-classification", arrays, inputs)["probabilities"].max_abs_diff == math.inf


@pytest.mark.parametrize("change", [lambda ids: ids.astype(np.int32), lambda ids: ids[None], lambda ids: ids[:1]])
def test_another_shape_or_dtype_differs_infinitely(change: object) -> None:
    scores, inputs = scores_of("text-classification")
    arrays = right("text-classification", scores, inputs)
    arrays["label_ids"] = change(arrays["label_ids"])  # type: ignore[operator]
    assert judge("text-classification", arrays, inputs)["label_ids"].max_abs_diff == math.inf


class _Fixed:
    """A runtime that returns what it was given."""

    name = "onnxruntime-cpu"
    inputs: tuple[Port, ...] = ()

    def __init__(self, outputs: Sequence[Port], arrays: Arrays) -> None:
        self.outputs = tuple(outputs)
        self.arrays = arrays

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> Arrays:
        return self.arrays

    def describe(self) -> RuntimeDescription:
        return RuntimeDescription(self.name, (), "none", 1, "none")

    def close(self) -> None:
        """Nothing to give back."""


def verdict(found: Arrays, wanted: Arrays, inputs: Arrays, precision: str) -> Parity:
    _, outputs, postprocessing = score_ports("text-classification", config_of("text-classification"))
    case = [Case("only", inputs)]
    return compare(_Fixed(outputs, found), _Fixed(outputs, wanted), case, precision, postprocessing=postprocessing)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_wrong_label_fails_the_verdict_in_every_precision(precision: str) -> None:
    scores, inputs = {"logits": np.array([[1.0, 4.0, 3.5]], np.float32)}, masks(1, 6)
    truth = right("text-classification", scores, inputs)
    assert verdict(truth, truth, inputs, precision).passed
    wrong = verdict({**truth, "label_ids": np.array([2])}, truth, inputs, precision)
    assert not wrong.passed
    assert max(wrong.outputs, key=lambda output: output.max_abs_diff / output.tolerance).name == "label_ids"


def test_labels_follow_the_scores_of_the_graph_not_those_of_the_model() -> None:
    """In 8 bits the best of two close labels may change, and then the graph says so in both of its outputs."""
    inputs = masks(1, 6)
    truth = right("text-classification", {"logits": np.array([[1.0, 4.0, 3.9]], np.float32)}, inputs)
    moved = right("text-classification", {"logits": np.array([[1.0, 3.9, 4.0]], np.float32)}, inputs)
    assert verdict(moved, truth, inputs, "int8").passed
    assert not verdict({**moved, "label_ids": truth["label_ids"]}, truth, inputs, "int8").passed
    assert not verdict(moved, truth, inputs, "fp32").passed


def test_scores_that_are_not_finite_fail_before_postprocess_is_looked_at() -> None:
    inputs = masks(1, 6)
    truth = right("text-classification", {"logits": np.array([[1.0, 4.0, 3.9]], np.float32)}, inputs)
    for logits in (np.array([[1.0, np.nan, 2.0]], np.float32), np.zeros((1, 2), np.float32)):
        assert not verdict({**truth, "logits": logits}, truth, inputs, "fp32").passed


def test_a_graph_without_postprocess_has_none_to_compare() -> None:
    nothing = Postprocessing((), 5)
    assert nothing.names == frozenset()
    assert compare_postprocess(nothing, {}, Case("only", {}), lambda name, largest: 1.0) == []
