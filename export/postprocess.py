"""Appends the postprocess outputs to a finished graph: a few standard operators that read the graph's own outputs.

    logits                    ->  probabilities = Softmax(logits), label_ids = ArgMax(logits)           a class
    logits                    ->  top_ids = TopK(logits), top_probabilities = Softmax(logits)[top_ids]  likeliest tokens
    start_logits, end_logits  ->  answer_start, answer_end, answer_score, no_answer_score               a span
    logits                    ->  next_token_ids = ArgMax(logits at the last real token)                the next token

It comes after every pass and after the precision, so that they are the same nodes, in float32, in every variant,
whatever the variant does with padding. All operators mean the same from opset 13 to 23.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from bert_onnx import postprocess
from bert_onnx.modeling.postprocess import Postprocessing
from bert_onnx.postprocess import CONTEXT_TYPE, LONGEST_ANSWER, NO_ID
from bert_onnx.tasks import Port
from export.passes.base import PassContext
from export.passes.cleanup.finish import finish
from export.passes.graph.append import Appender
from export.passes.graph.values import add_constant

#: What it brings, beside the operators of the portable target.
POSTPROCESS_OPERATORS = frozenset({"ArgMax", "GatherElements", "Not", "Pad", "TopK"})

_FLOAT, _BOOL, _INT = ir.DataType.FLOAT, ir.DataType.BOOL, ir.DataType.INT64

#: Below every sum of two scores, and far from the smallest float32: what stands where no answer span may be.
_LOWEST = -1e30


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


class _Writer(Appender):
    """Appends the nodes of one step.

    Args:
        count: how many tokens are given for each place.
    """

    def __init__(self, graph: ir.Graph, count: int) -> None:
        super().__init__(graph, "answers")
        self.inputs: Mapping[str, ir.Value] = {value.name or "": value for value in graph.inputs}
        self.count = count

    def float(self, number: float) -> ir.Value:
        """A constant float32 scalar."""
        return add_constant(self.graph, "real_number", np.array(number, np.float32))

    def cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        return self.add("Cast", [value], {"to": int(dtype)}, dtype)

    def length(self, value: ir.Value, axis: int) -> ir.Value:
        """The length of an axis, [1]."""
        return self.add("Gather", [self.add("Shape", [value]), self.integers([axis])], {"axis": 0})

    def places(self, value: ir.Value) -> ir.Value:
        """0, 1 ... of the second axis of `value`, [S]."""
        length = self.add("Squeeze", [self.length(value, 1), self.integers([0])])
        return self.add("Range", [self.number(0), length, self.number(1)])

    def real(self) -> ir.Value:
        """Which tokens are real: the mask as booleans."""
        return self.add("Greater", [self.inputs["attention_mask"], self.number(0)], dtype=_BOOL)

    def softmax(self, scores: ir.Value) -> ir.Value:
        return self.add("Softmax", [scores], {"axis": -1}, _FLOAT)

    def argmax(self, values: ir.Value, keepdims: int = 0) -> ir.Value:
        """Index of the largest along the last axis."""
        return self.add("ArgMax", [values], {"axis": -1, "keepdims": keepdims})

    def where(self, condition: ir.Value, then: ir.Value, otherwise: ir.Value, dtype: ir.DataType) -> ir.Value:
        return self.add("Where", [condition, then, otherwise], dtype=dtype)

    def first(self, among: ir.Value, places: ir.Value) -> ir.Value:
        """Place of the first token for which `among` [B, S] is true, [B, 1]; no two candidates are equal."""
        length = self.length(among, 1)
        return self._extreme(among, self.add("Sub", [length, places]))

    def last(self, among: ir.Value, places: ir.Value) -> ir.Value:
        """Place of the last one, [B, 1]."""
        return self._extreme(among, self.add("Add", [places, self.number(1)]))

    def _extreme(self, among: ir.Value, rank: ir.Value) -> ir.Value:
        ranked = self.add("Mul", [self.cast(among, _FLOAT), self.cast(rank, _FLOAT)], dtype=_FLOAT)
        return self.argmax(ranked, keepdims=1)

    def at(self, values: ir.Value, place: ir.Value) -> ir.Value:
        """`values` [B, S] at `place` [B, 1]: [B, 1]."""
        return self.add("GatherElements", [values, place], {"axis": 1}, _FLOAT)

    def flat(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """[B, 1] -> [B]."""
        return self.add("Squeeze", [value, self.integers([1])], dtype=dtype)


def _class(write: _Writer, logits: ir.Value) -> Sequence[ir.Value]:
    return write.softmax(logits), write.argmax(logits)


def _token_class(write: _Writer, logits: ir.Value) -> Sequence[ir.Value]:
    real = write.real()  # [B, S]
    ids = write.where(real, write.argmax(logits), write.number(NO_ID), _INT)
    real_rows = write.add("Unsqueeze", [real, write.integers([2])], dtype=_BOOL)
    return write.where(real_rows, write.softmax(logits), write.float(0.0), _FLOAT), ids


def _classes(write: _Writer, logits: ir.Value) -> Sequence[ir.Value]:
    probabilities = write.add("Sigmoid", [logits], dtype=_FLOAT)
    return probabilities, write.cast(write.add("Greater", [logits, write.float(0.0)], dtype=_BOOL), _INT)


def _top_tokens(write: _Writer, logits: ir.Value) -> Sequence[ir.Value]:
    attributes = {"axis": -1, "largest": 1, "sorted": 1}
    _, ids = write.add_node("TopK", [logits, write.integers([write.count])], (_FLOAT, _INT), attributes)
    best = write.add("GatherElements", [write.softmax(logits), ids], {"axis": 2}, _FLOAT)
    real = write.add("Unsqueeze", [write.real(), write.integers([2])], dtype=_BOOL)  # [B, S, 1]
    return (
        write.where(real, ids, write.number(NO_ID), _INT),
        write.where(real, best, write.float(0.0), _FLOAT),
    )


def _span(write: _Writer, start: ir.Value, end: ir.Value) -> Sequence[ir.Value]:
    """The best start is that of the largest sum with the best end within reach; then its end is looked for."""
    places, real, lowest = write.places(start), write.real(), write.float(_LOWEST)
    second = write.add("Equal", [write.inputs["token_type_ids"], write.number(CONTEXT_TYPE)], dtype=_BOOL)
    segment = write.add("And", [real, second], dtype=_BOOL)  # [B, S]
    closing = write.add("Equal", [places, write.last(segment, places)], dtype=_BOOL)  # [SEP]
    context = write.add("And", [segment, write.add("Not", [closing], dtype=_BOOL)], dtype=_BOOL)
    some = write.add("ReduceSum", [write.cast(context, _FLOAT), write.integers([1])], {"keepdims": 1}, _FLOAT)
    some = write.add("Greater", [some, write.float(0.0)], dtype=_BOOL)  # [B, 1]

    starts, ends = (write.where(context, scores, lowest, _FLOAT) for scores in (start, end))
    reachable = write.add("Add", [starts, _largest_ahead(write, ends)], dtype=_FLOAT)
    first = write.where(some, write.argmax(reachable, keepdims=1), write.number(0), _INT)  # [B, 1]
    beyond = write.add("Add", [first, write.number(LONGEST_ANSWER)])
    after = write.add("GreaterOrEqual", [places, first], dtype=_BOOL)
    before = write.add("Less", [places, beyond], dtype=_BOOL)
    within = write.add("And", [after, before], dtype=_BOOL)
    last = write.argmax(write.where(within, ends, write.float(2 * _LOWEST), _FLOAT), keepdims=1)
    last = write.where(some, last, write.number(0), _INT)

    opening = write.first(real, places)  # [CLS], which stands for "no answer"
    outside = write.add("Not", [write.add("Equal", [places, opening], dtype=_BOOL)], dtype=_BOOL)
    illegal = write.add("And", [outside, write.add("Not", [context], dtype=_BOOL)], dtype=_BOOL)
    shares = [write.softmax(write.where(illegal, lowest, scores, _FLOAT)) for scores in (start, end)]
    score, nothing = (
        write.add("Mul", [write.at(share, place) for share, place in zip(shares, pair, strict=True)], dtype=_FLOAT)
        for pair in ((first, last), (opening, opening))
    )
    score = write.where(some, score, write.float(0.0), _FLOAT)
    return write.flat(first, _INT), write.flat(last, _INT), write.flat(score, _FLOAT), write.flat(nothing, _FLOAT)


def _largest_ahead(write: _Writer, values: ir.Value) -> ir.Value:
    """For each place of [B, S] the largest value from there on, `LONGEST_ANSWER` places at most.

    The stretch that is looked at doubles with each step: 1, 2, 4, 8, 15.
    """
    pads = write.integers([0, 0, 0, LONGEST_ANSWER - 1])
    largest = write.add("Pad", [values, pads, write.float(_LOWEST)], dtype=_FLOAT)
    seen = 1
    while seen < LONGEST_ANSWER:
        step = min(seen, LONGEST_ANSWER - seen)
        here, there = (
            write.add("Slice", [largest, write.integers([a]), write.integers([b]), write.integers([1])], dtype=_FLOAT)
            for a, b in ((0, -step), (step, np.iinfo(np.int64).max))
        )
        largest = write.add("Max", [here, there], dtype=_FLOAT)
        seen += step
    return largest


def _next_token(write: _Writer, logits: ir.Value) -> Sequence[ir.Value]:
    length, everything = write.length(logits, 1), write.integers([np.iinfo(np.int64).max])
    begin = write.add("Sub", [write.integers([0]), length])  # with a cache the mask covers what is in it, too
    mask = write.add("Slice", [write.inputs["attention_mask"], begin, everything, write.integers([1])])
    real = write.add("Greater", [mask, write.number(0)], dtype=_BOOL)  # [B, S]
    last = write.flat(write.last(real, write.places(logits)), _INT)  # [B]
    batch = write.add("Squeeze", [write.length(logits, 0), write.integers([0])])
    rows = write.add("Mul", [write.add("Range", [write.number(0), batch, write.number(1)]), length])
    width = write.add("Concat", [write.integers([-1]), write.length(logits, 2)], {"axis": 0})
    tokens = write.add("Reshape", [logits, width], dtype=_FLOAT)  # [B * S, V]
    return (write.argmax(write.add("Gather", [tokens, write.add("Add", [rows, last])], {"axis": 0}, _FLOAT)),)


_METHODS: dict[str, Callable[..., Sequence[ir.Value]]] = {
    postprocess.CLASS: _class,
    postprocess.TOKEN_CLASS: _token_class,
    postprocess.CLASSES: _classes,
    postprocess.TOP_TOKENS: _top_tokens,
    postprocess.SPAN: _span,
    postprocess.NEXT_TOKEN: _next_token,
}
