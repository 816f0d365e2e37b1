"""Postprocess outputs beside those that they should be: probabilities by difference, ids and places by what they cost.

They are compared with what PyTorch makes of the graph's own scores, in every precision: they have to follow from
the scores, and how far those may be from the model is said where they are compared themselves.

Two ids cannot be close or far. But a graph that names another id than PyTorch may still be right: where two scores are
equal but for rounding, either is the best. So an id is measured by the score that was given away: the score of the id
that should have been named less that of the one that was. Equal ids differ by 0, a tie by about 0, a mistake by as
much as it costs; what cannot be right at all (a place outside the row, an end before its start, an id at padding)
differs infinitely.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from bert_onnx import postprocess
from bert_onnx.artifact.contract.parity import OutputParity
from bert_onnx.modeling.postprocess import Postprocessing
from bert_onnx.postprocess import LONGEST_ANSWER, NO_ID, PostprocessStep
from export.verification.cases import Case

Arrays = Mapping[str, np.ndarray]

#: What an output may differ by, from its name and the largest magnitude in it.
Limit = Callable[[str, float], float]


def compare_postprocess(postprocessing: Postprocessing, actual: Arrays, case: Case, limit: Limit) -> list[OutputParity]:
    """Each postprocess output in `actual`, a graph's outputs for `case`, beside what follows from the scores in it."""
    expected = postprocessing.arrays(actual, case.inputs)
    found = []
    for step in postprocessing.steps:
        scores = {name: actual[name].astype(np.float64) for name in step.scores}
        slack = sum(limit(name, float(np.abs(array).max(initial=0.0))) for name, array in scores.items())
        alike = all(_alike(expected[output.name], actual[output.name]) for output in step.outputs)
        for output in step.outputs:
            wanted, got = expected[output.name], actual[output.name]
            # Which of two scores is the larger depends on the rounding of both.
            largest = max(1.0, float(np.abs(wanted).max(initial=0.0)))  # probabilities never exceed 1
            tolerance = limit(output.name, largest) if output.dtype == "float32" else 2 * slack
            if not alike:
                costs = np.full(got.shape, math.inf)
            elif output.dtype == "float32":
                costs = np.abs(wanted.astype(np.float64) - got)
            elif step.method == postprocess.SPAN:
                costs = _span_costs(step, scores, expected, actual)
            else:
                costs = _COSTS[step.method](scores[step.scores[0]], wanted, got, case.inputs)
            found.append(worst_place(output.name, costs, tolerance, case.name))
    return found


def worst_place(name: str, differences: np.ndarray, tolerance: float, case: str) -> OutputParity:
    """The largest of `differences`; what is not a number is infinite."""
    if differences.size == 0:
        return OutputParity(name, 0.0, tolerance, case, ())
    finite = np.where(np.isfinite(differences), differences, math.inf)
    at = np.unravel_index(int(finite.argmax()), finite.shape)
    return OutputParity(name, float(finite[at]), tolerance, case, tuple(int(i) for i in at))


def _alike(wanted: np.ndarray, got: np.ndarray) -> bool:
    return wanted.shape == got.shape and wanted.dtype == got.dtype


def _class_costs(scores: np.ndarray, wanted: np.ndarray, got: np.ndarray, inputs: Arrays) -> np.ndarray:
    """`scores` [..., N], ids [...]."""
    return _costs(scores, wanted[..., None], got[..., None])[..., 0]


def _classes_costs(scores: np.ndarray, wanted: np.ndarray, got: np.ndarray, inputs: Arrays) -> np.ndarray:
    """A label that is wrongly given or left out costs its distance from the border, 0."""
    costs = np.where(wanted == got, 0.0, np.abs(scores))
    return np.where((got == 0) | (got == 1), costs, math.inf)


def _top_costs(scores: np.ndarray, wanted: np.ndarray, got: np.ndarray, inputs: Arrays) -> np.ndarray:
    """`scores` [B, S, V], ids [B, S, K]; a list that names an id twice is none."""
    ordered = np.sort(got, axis=-1)
    twice = ((ordered[..., 1:] == ordered[..., :-1]) & (ordered[..., 1:] != NO_ID)).any(axis=-1, keepdims=True)
    return np.where(twice, math.inf, _costs(scores, wanted, got))


def _next_costs(scores: np.ndarray, wanted: np.ndarray, got: np.ndarray, inputs: Arrays) -> np.ndarray:
    """`scores` [B, S, V], ids [B]."""
    batch, length, _ = scores.shape
    real = inputs["attention_mask"][:, -length:] > 0
    last = np.where(real, np.arange(length), 0).max(axis=1)
    return _class_costs(scores[np.arange(batch), last], wanted, got, inputs)


def _costs(scores: np.ndarray, wanted: np.ndarray, got: np.ndarray) -> np.ndarray:
    """Scores at `wanted` beside those at `got`, ids [..., K] of the last axis of `scores`."""
    size = scores.shape[-1]
    best, chosen = (np.take_along_axis(scores, np.clip(ids, 0, size - 1), axis=-1) for ids in (wanted, got))
    legal = (got >= 0) & (got < size) & (wanted != NO_ID)
    return np.where(legal, np.abs(best - chosen), np.where(wanted == got, 0.0, math.inf))


def _span_costs(step: PostprocessStep, scores: Arrays, expected: Arrays, actual: Arrays) -> np.ndarray:
    """The sum of start and end score that was given away, [B]; both ends of a span are given it."""
    start, end = (scores[name] for name in step.scores)  # [B, S] each
    first_name, last_name = (output.name for output in step.outputs[:2])
    rows, size = np.arange(len(start)), start.shape[1]

    def total(arrays: Arrays) -> np.ndarray:
        first, last = (np.clip(arrays[name], 0, size - 1) for name in (first_name, last_name))
        return np.asarray(start[rows, first] + end[rows, last])

    first, last = actual[first_name], actual[last_name]
    legal = (first >= 0) & (last < size) & (last >= first) & (last - first < LONGEST_ANSWER)
    same = (first == expected[first_name]) & (last == expected[last_name])
    return np.where(same, 0.0, np.where(legal, np.abs(total(expected) - total(actual)), math.inf))


_COSTS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, Arrays], np.ndarray]] = {
    postprocess.CLASS: _class_costs,
    postprocess.TOKEN_CLASS: _class_costs,
    postprocess.CLASSES: _classes_costs,
    postprocess.TOP_TOKENS: _top_costs,
    postprocess.NEXT_TOKEN: _next_costs,
}
