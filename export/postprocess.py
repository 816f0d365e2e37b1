"""Appends the postprocess outputs to a finished graph: a few standard operators that read the graph's own outputs.

    logits                    ->  probabilities = Softmax(logits), label_ids = ArgMax(logits)           a class
    logits                    ->  top_ids = TopK(logits), top_probabilities = Softmax(logits)[top_ids]  likeliest tokens
    logits                    ->  scores = Sigmoid(logits), or another activation                       a ranking
    start_logits, end_logits  ->  answer_start, answer_end, answer_score, no_answer_score               a span
    logits                    ->  next_token_ids = ArgMax(logits at the last real token)                the next token

It comes after every pass and after the precision, so that they are the same nodes, in float32, in every variant,
whatever the variant does with padding. All operators mean the same from opset 13 to 23.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import onnx_ir as ir

from bert_onnx import postprocess
from bert_onnx.modeling.postprocess import Postprocessing
from bert_onnx.postprocess import CONTEXT_TYPE, LONGEST_ANSWER, NO_ID
from bert_onnx.tasks import Port
from export.passes.base import PassContext
from export.passes.cleanup.finish import finish
from export.score_activations import SCORES, FloatWriter

#: What it brings, beside the operators of the portable target.
POSTPROCESS_OPERATORS = frozenset({"ArgMax", "GatherElements", "Not", "Pad", "TopK"})

_FLOAT, _INT = ir.DataType.FLOAT, ir.DataType.INT64

#: Below every sum of two scores, and far from the smallest float32: what stands where no answer span may be.
_LOWEST = -1e30

#: More than any place in a text; numbers up to it are exact in float32. The length itself would lie on the host: a GPU
#: has to copy that for each call, and a CUDA graph cannot.
_BEYOND = 1 << 20


def append_postprocess(model: ir.Model, asked: Postprocessing, outputs: Sequence[Port]) -> int:
    """Add the outputs of `asked` to `model`, behind those that it has.

    Args:
        model: a finished graph whose outputs are float32; it is changed.
        outputs: ports of the graph as it is to be: the axes of the new outputs.

    Returns:
        How many nodes were added.
    """
    before = model.graph.num_nodes()
    scores = {value.name: value for value in model.graph.outputs}
    ports = {port.name: port for port in outputs}
    for step in asked.steps:
        writer = _Writer(model.graph, asked.count)
        values = _METHODS[step.method](writer, *(scores[name] for name in step.scores))
        for output, value in zip(step.outputs, values, strict=True):
            value.name, value.shape = output.name, ir.Shape(ports[output.name].axes)
            model.graph.outputs.append(value)
    finish(model, PassContext(model.graph.opset_imports[""]))
    return model.graph.num_nodes() - before


class _Writer(FloatWriter):
    """Appends the nodes of one step.

    Args:
        count: how many tokens are given for each place.
    """

    def __init__(self, graph: ir.Graph, count: int) -> None:
        super().__init__(graph, "answers")
        self.inputs: Mapping[str, ir.Value] = {value.name or "": value for value in graph.inputs}
        self.count = count

    def length(self, value: ir.Value, axis: int) -> ir.Value:
        """The length of an axis, [1]."""
        return self.Gather(self.Shape(value), self.integers([axis]), axis=0)

    def places(self, value: ir.Value) -> ir.Value:
        """0, 1 ... of the second axis of `value`, [S]."""
        length = self.Squeeze(self.length(value, 1), self.integers([0]))
        return self.Range(self.number(0), length, self.number(1))

    def real(self) -> ir.Value:
        """Which tokens are real: the mask as booleans."""
        return self.Greater(self.inputs["attention_mask"], self.number(0))

    def argmax(self, values: ir.Value, keepdims: int = 0) -> ir.Value:
        """Index of the largest along the last axis."""
        return self.ArgMax(values, axis=-1, keepdims=keepdims)

    def first(self, among: ir.Value, places: ir.Value) -> ir.Value:
        """Place of the first token for which `among` [B, S] is true, [B, 1]; no two candidates are equal."""
        return self._extreme(among, self.Sub(self.number(_BEYOND), places))

    def last(self, among: ir.Value, places: ir.Value) -> ir.Value:
        """Place of the last one, [B, 1]."""
        return self._extreme(among, self.Add(places, self.number(1)))

    def _extreme(self, among: ir.Value, rank: ir.Value) -> ir.Value:
        ranked = self.Mul(self.Cast(among, to=_FLOAT), self.Cast(rank, to=_FLOAT))
        return self.argmax(ranked, keepdims=1)

    def at(self, values: ir.Value, place: ir.Value) -> ir.Value:
        """`values` [B, S] at `place` [B, 1]: [B, 1]."""
        return self.GatherElements(values, place, axis=1)

    def flat(self, value: ir.Value) -> ir.Value:
        """[B, 1] -> [B]."""
        return self.Squeeze(value, self.integers([1]))


def _class(op: _Writer, logits: ir.Value) -> Sequence[ir.Value]:
    return op.Softmax(logits, axis=-1), op.argmax(logits)


def _token_class(op: _Writer, logits: ir.Value) -> Sequence[ir.Value]:
    real = op.real()  # [B, S]
    ids = op.Where(real, op.argmax(logits), op.number(NO_ID))
    real_rows = op.Unsqueeze(real, op.integers([2]))
    return op.Where(real_rows, op.Softmax(logits, axis=-1), op.float(0.0)), ids


def _classes(op: _Writer, logits: ir.Value) -> Sequence[ir.Value]:
    probabilities = op.Sigmoid(logits)
    return probabilities, op.Cast(op.Greater(logits, op.float(0.0)), to=_INT)


def _top_tokens(op: _Writer, logits: ir.Value) -> Sequence[ir.Value]:
    attributes = {"axis": -1, "largest": 1, "sorted": 1}
    _, ids = op.node("TopK", [logits, op.integers([op.count])], attributes, (None, _INT))
    best = op.GatherElements(op.Softmax(logits, axis=-1), ids, axis=2)
    real = op.Unsqueeze(op.real(), op.integers([2]))  # [B, S, 1]
    return (
        op.Where(real, ids, op.number(NO_ID)),
        op.Where(real, best, op.float(0.0)),
    )


def _span(op: _Writer, start: ir.Value, end: ir.Value) -> Sequence[ir.Value]:
    """The best start is that of the largest sum with the best end within reach; then its end is looked for."""
    places, real, lowest = op.places(start), op.real(), op.float(_LOWEST)
    second = op.Equal(op.inputs["token_type_ids"], op.number(CONTEXT_TYPE))
    segment = op.And(real, second)  # [B, S]
    closing = op.Equal(places, op.last(segment, places))  # [SEP]
    context = op.And(segment, op.Not(closing))
    some = op.ReduceSum(op.Cast(context, to=_FLOAT), op.integers([1]), keepdims=1)
    some = op.Greater(some, op.float(0.0))  # [B, 1]

    starts, ends = (op.Where(context, scores, lowest) for scores in (start, end))
    reachable = op.Add(starts, _largest_ahead(op, ends))
    first = op.Where(some, op.argmax(reachable, keepdims=1), op.number(0))  # [B, 1]
    beyond = op.Add(first, op.number(LONGEST_ANSWER))
    after = op.GreaterOrEqual(places, first)
    before = op.Less(places, beyond)
    within = op.And(after, before)
    last = op.argmax(op.Where(within, ends, op.float(2 * _LOWEST)), keepdims=1)
    last = op.Where(some, last, op.number(0))

    opening = op.first(real, places)  # [CLS], which stands for "no answer"
    outside = op.Not(op.Equal(places, opening))
    illegal = op.And(outside, op.Not(context))
    shares = [op.Softmax(op.Where(illegal, lowest, scores), axis=-1) for scores in (start, end)]
    score, nothing = (
        op.Mul(*(op.at(share, place) for share, place in zip(shares, pair, strict=True)))
        for pair in ((first, last), (opening, opening))
    )
    score = op.Where(some, score, op.float(0.0))
    return op.flat(first), op.flat(last), op.flat(score), op.flat(nothing)


def _largest_ahead(op: _Writer, values: ir.Value) -> ir.Value:
    """For each place of [B, S] the largest value from there on, `LONGEST_ANSWER` places at most.

    The stretch that is looked at doubles with each step: 1, 2, 4, 8, 15.
    """
    pads = op.integers([0, 0, 0, LONGEST_ANSWER - 1])
    largest = op.Pad(values, pads, op.float(_LOWEST))
    seen = 1
    while seen < LONGEST_ANSWER:
        step = min(seen, LONGEST_ANSWER - seen)
        here, there = (
            op.Slice(largest, op.integers([a]), op.integers([b]), op.integers([1]))
            for a, b in ((0, -step), (step, np.iinfo(np.int64).max))
        )
        largest = op.Max(here, there)
        seen += step
    return largest


def _next_token(op: _Writer, logits: ir.Value) -> Sequence[ir.Value]:
    length, everything = op.length(logits, 1), op.integers([np.iinfo(np.int64).max])
    begin = op.Sub(op.integers([0]), length)  # with a cache the mask covers what is in it, too
    mask = op.Slice(op.inputs["attention_mask"], begin, everything, op.integers([1]))
    real = op.Greater(mask, op.number(0))  # [B, S]
    last = op.flat(op.last(real, op.places(logits)))  # [B]
    count, step = (op.Squeeze(size, op.integers([0])) for size in (op.Mul(op.length(logits, 0), length), length))
    rows = op.Range(op.number(0), count, step)  # where each text begins; sizes alone are its inputs, as for `_BEYOND`
    width = op.Concat(op.integers([-1]), op.length(logits, 2), axis=0)
    tokens = op.Reshape(logits, width)  # [B * S, V]
    return (op.argmax(op.Gather(tokens, op.Add(rows, last), axis=0)),)


def _score(activation_fn: str, op: _Writer, logits: ir.Value) -> Sequence[ir.Value]:
    return (SCORES[activation_fn](op, logits),)


_METHODS: dict[str, Callable[..., Sequence[ir.Value]]] = {
    **{postprocess.score_method(name): partial(_score, name) for name in SCORES},
    postprocess.CLASS: _class,
    postprocess.TOKEN_CLASS: _token_class,
    postprocess.CLASSES: _classes,
    postprocess.TOP_TOKENS: _top_tokens,
    postprocess.SPAN: _span,
    postprocess.NEXT_TOKEN: _next_token,
}
