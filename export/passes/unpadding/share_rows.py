"""Lets several short texts share a row of attention, so that it skips most of the padding, too. Runs after `unpad`.

    Attention(q[slots], k[slots], v[slots], KeyMask(mask)), slots [B, S]
        ->
    Attention(q[slots'], k[slots'], v[slots'], bias'), slots' [R, S], R <= B, bias' [R, 1, S, S]

Where attention runs, and what it sees, is a matter of indices alone: the nodes stay, their indices change. A text of
n tokens takes a slot of S / 2^l tokens, the smallest that it fits. Slots are given out largest first, one after the
other; a slot then always begins at a multiple of its own size, and so never crosses the end of a row (the argument of
a buddy allocator, Knuth, The Art of Computer Programming 1, section 2.5):

    n [B] sorted down;  w = 2^(U - l), l = the largest with n 2^l <= S;  begin = CumSum(w) - w
    row = begin / 2^U,  offset = (begin mod 2^U) S / 2^U

The bias hides every key of another text, every empty place, and every token that the mask hides. Softmax gives those
exactly zero. Rows as wide as the longest text, never more of them than texts: attention on R S places instead of B S,
about 1.4 T where lengths differ much, B S where all are equal.

Refuses, per attention: a bias that is more than a key mask (relative or causal positions would have to be laid out as
well), queries that were narrowed to the first row, probabilities that are used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from export.passes.base import PassContext, PassOutcome, Refusal
from export.passes.graph import canonical
from export.passes.graph.canonical import BIAS, CONTEXT, KEY_MASK, VALUE
from export.passes.graph.values import is_operator
from export.passes.graph.writer import Writer, is_needed, optional_input, scope_of

#: U: slots of S / 2^U tokens are the smallest. 1,024 texts of one token would share a row.
_SMALLEST_SLOT = 10

_POWERS = tuple(2**power for power in range(1, _SMALLEST_SLOT + 1))

#: Name of the axis of shared rows, R, in annotations.
_ROWS = "rows"

#: Marks of empty places and of tokens that nobody may see; texts are numbered from 0.
_NOBODY, _HIDDEN = -1, -2


@dataclass(frozen=True)
class _Padded:
    """An attention between gathers of `unpad`.

    Args:
        node: the attention.
        slots: [B, S], the index that queries, keys and values are gathered by.
        places: [T], the index that its context is gathered by.
        key_mask: the KeyMask that is its bias.
    """

    node: ir.Node
    slots: ir.Value
    places: ir.Value
    key_mask: ir.Node


def share_rows(model: ir.Model, context: PassContext) -> PassOutcome:
    """Counts the attentions whose rows are shared."""
    refusals, found = [], []
    for node in model.graph:
        if is_operator(node, canonical.ATTENTION, domain=canonical.DOMAIN):
            padded = _find(node)
            if isinstance(padded, str):
                refusals.append(Refusal(node.name or "", padded))
            else:
                found.append(padded)
    layouts: dict[tuple[ir.Value, ir.Value, ir.Node], _Layout] = {}
    for padded in found:
        key = (padded.slots, padded.places, padded.key_mask)
        if key not in layouts:
            layouts[key] = _Layout(model.graph, padded)
        _move(padded, layouts[key])
    if found:
        model.graph.sort()
    return PassOutcome(len(found), tuple(refusals))


def _find(node: ir.Node) -> _Padded | str:
    """`node` between its gathers, or why its rows cannot be shared."""
    gathers = [value.producer() if value is not None else None for value in node.inputs[: VALUE + 1]]
    if not all(is_operator(gather, "Gather") for gather in gathers):
        return "it does not run between packed tokens"
    slots = {gather.inputs[1] for gather in gathers if gather is not None}
    index = slots.pop()
    if slots or index is None or index.shape is None or len(index.shape) != 2:
        return "its queries are not gathered as its keys and values are"
    bias = optional_input(node, BIAS)
    key_mask = bias.producer() if bias is not None else None
    if key_mask is None or not is_operator(key_mask, KEY_MASK, domain=canonical.DOMAIN):
        return "its bias is more than a key mask"
    if any(is_needed(node, position) for position in range(1, len(node.outputs))):
        return "its cache or its probabilities are used"
    places = _places(node.outputs[CONTEXT])
    return "its context is not packed" if places is None else _Padded(node, index, places, key_mask)


def _places(context: ir.Value) -> ir.Value | None:
    """The index that all readers of `context` [B, S, D] gather it by, as [B * S, D]; None if there are others."""
    places: set[ir.Value | None] = set()
    for user, _ in context.uses():
        if not is_operator(user, "Reshape"):
            return None
        readers = [reader for reader, _ in user.outputs[0].uses()]
        places |= {reader.inputs[1] if is_operator(reader, "Gather") else None for reader in readers}
    return places.pop() if len(places) == 1 and not context.is_graph_output() else None


def _move(padded: _Padded, layout: _Layout) -> None:
    """Put the new indices and the new bias in the place of the old ones."""
    node = padded.node
    for position in range(VALUE + 1):
        old = node.inputs[position]
        assert old is not None
        node.replace_input_with(position, layout.unpack(old))
    node.replace_input_with(BIAS, layout.bias)
    context = node.outputs[CONTEXT]
    if context.shape is not None:
        context.shape = ir.Shape([_ROWS, padded.slots.shape[1] if padded.slots.shape else None, context.shape[2]])
    for user, _ in context.uses():
        for reader, _ in user.outputs[0].uses():
            reader.replace_input_with(1, layout.places)


class _Layout:
    """Where each token stands in [R, S], computed once for all layers.

    Args:
        graph: the graph.
        padded: one of the attentions that will use it.
    """

    def __init__(self, graph: ir.Graph, padded: _Padded) -> None:
        self.op = Writer(graph, "share_rows")
        self.mask = padded.key_mask.inputs[0]
        self.old = padded
        self.gathered: dict[ir.Value, ir.Value] = {}
        op = self.op
        shape = op.Shape(padded.slots)
        self.texts = op.Gather(shape, op.integers([0]), axis=0)  # [1]: B
        self.length = op.Gather(shape, op.integers([1]), axis=0)  # [1]: S
        self.places, self.size = self._place_tokens()
        self.shape = op.Concat(op.integers([-1]), self.length, axis=0)
        count = op.Shape(self.places)
        numbers = op.Range(op.number(0), op.Squeeze(count), op.number(1))
        self.slots = self._lay_out(numbers, 0)
        self.bias = self._bias()

    def unpack(self, old: ir.Value) -> ir.Value:
        """What `old` gathered as [B, S, D], gathered as [R, S, D]."""
        if old not in self.gathered:
            gather = old.producer()
            assert gather is not None
            new = self.op.Gather(gather.inputs[0], self.slots, axis=0, _scope=scope_of(gather))
            if old.shape is not None and new.type is not None:
                new.shape = ir.Shape([_ROWS, *old.shape[1:]])
            self.gathered[old] = new
        return self.gathered[old]

    def _place_tokens(self) -> tuple[ir.Value, ir.Value]:
        """[T]: where each token stands in R * S; [1]: R * S."""
        op = self.op
        starts = op.Gather(self.old.slots, op.integers([0]), axis=1)  # [B, 1]
        behind = op.Sub(self.old.slots, starts)  # [B, S]: how far behind the first token of its text
        lengths = op.Add(op.Gather(behind, op.number(-1), axis=1), op.number(1))  # [B]
        sorted_lengths, order = op.node("TopK", [lengths, self.texts], {"axis": 0}, (None, None))
        begin, unit = self._begin(sorted_lengths), op.number(2**_SMALLEST_SLOT)
        rows = op.Div(begin, unit)
        offsets = op.Div(op.Mul(op.Mod(begin, unit), self.length), unit)
        first_rows = op.Mul(rows, self.length)
        sorted_bases = op.Add(first_rows, offsets)  # [B]
        size = op.Add(op.Gather(first_rows, op.integers([-1]), axis=0), self.length)  # [1]
        bases = op.ScatterElements(order, order, sorted_bases, axis=0)  # [B], in the order of the batch
        standing = op.Add(behind, op.Unsqueeze(bases, op.integers([1])))  # [B, S]
        flat = op.Reshape(standing, op.integers([-1]))
        return op.Gather(flat, self.old.places, axis=0), size

    def _begin(self, lengths: ir.Value) -> ir.Value:
        """[B]: where the slot of each text begins, in units of S / 2^U, from lengths that are sorted down."""
        op = self.op
        doubled = op.Mul(op.Unsqueeze(lengths, op.integers([1])), op.integers(_POWERS))  # [B, U]
        fits = op.LessOrEqual(doubled, self.length)
        halvings = op.ReduceSum(op.Cast(fits, to=ir.DataType.INT64), op.integers([1]), keepdims=0)
        weights = op.Gather(op.integers((*reversed(_POWERS), 1)), halvings, axis=0)
        return op.CumSum(weights, op.number(0), exclusive=1)

    def _lay_out(self, values: ir.Value, empty: int) -> ir.Value:
        """Values [T] of the tokens -> [R, S] with `empty` where no token stands."""
        op = self.op
        blank = op.Expand(op.number(empty), self.size)
        laid_out = op.Reshape(op.ScatterElements(blank, self.places, values, axis=0), self.shape)
        length = self.old.slots.shape[1] if self.old.slots.shape is not None else None
        laid_out.shape = ir.Shape([_ROWS, length])
        return laid_out

    def _bias(self) -> ir.Value:
        """[R, 1, S, S]: 0 where query and key are of one text and the mask shows the key, else the mask's fill."""
        op = self.op
        texts = op.Div(self.old.places, self.length)  # [T]: number of each token's text
        flat = op.Reshape(self.mask, op.integers([-1]))
        real = op.Cast(op.Gather(flat, self.old.places, axis=0), to=ir.DataType.BOOL)
        seen = op.Where(real, texts, op.number(_HIDDEN))
        queries = op.Unsqueeze(self._lay_out(texts, _NOBODY), op.integers([1, 3]))  # [R, 1, S, 1]
        keys = op.Unsqueeze(self._lay_out(seen, _HIDDEN), op.integers([1, 2]))  # [R, 1, 1, S]
        same = op.Equal(queries, keys)
        output = self.old.key_mask.outputs[0]
        dtype = output.dtype or ir.DataType.FLOAT
        lowest = float(np.finfo(dtype.numpy()).min)
        fill = max(self.old.key_mask.attributes["fill"].as_float(), lowest)
        zero, hidden = (
            op.constant(name, np.array(value, dtype.numpy())) for name, value in (("zero", 0.0), ("fill", fill))
        )
        bias = op.Where(same, zero, hidden)
        length = self.old.slots.shape[1] if self.old.slots.shape is not None else None
        bias.shape = ir.Shape([_ROWS, 1, length, length])
        return bias
