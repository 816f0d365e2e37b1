"""Maps between padded values [B, S, D] and packed ones [T, D], which hold the kept tokens only, row after row.

    kept     = the mask, and the first place of every row         [B, S]
    places   = NonZero(kept)                                      [T]     where each kept token stands in B * S
    columns  = places mod S                                       [T]     its position in its row
    slots    = CumSum(kept) - 1                                   [B, S]  where each place's token stands in T; padding
                                                                          points at the token before it
    shown    = CumSum(kept) * mask                                [B, S]  the same plus 1 for real tokens, 0 for padding

The first place of a row is kept whatever the mask says: heads that classify read it (Devlin et al. 2018, section 3.1),
also where a text is padded on its left. So T >= B, and no gather ever reads from nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import onnx_ir as ir

from export.passes.graph.match import constant_vector
from export.passes.graph.values import constant_array, is_operator
from export.passes.graph.writer import Writer, scope_of
from export.passes.unpadding.token_sums import TokenSum

#: Name of the axis of kept tokens, T, in annotations.
TOKENS = "tokens"


class Packing:
    """Writes the nodes that go from one form to the other; the index computations are written once, when needed.

    Args:
        graph: where the nodes go; the caller sorts it afterwards.
        mask: [B, S] int64, 1 for real tokens and 0 for padding.
        scope: what the nodes are named after.
    """

    #: Restored values need no product with the mask: they are zero at padding.
    drops_masks = False
    #: A kept first place may be padding, which nothing says that it is.
    keeps_padding = True

    def __init__(self, graph: ir.Graph, mask: ir.Value, scope: str = "unpad") -> None:
        self.op = Writer(graph, scope)
        self.mask = mask

    def enter(self, value: ir.Value) -> ir.Value:
        """[B, S, D] -> [T, D], for what all tokens come from where their ids are not packed."""
        width = value.shape[-1] if value.shape is not None else -1
        return self.pack(value, width if isinstance(width, int) else -1, scope_of(value.producer()))

    def pack_ids(self, ids: ir.Value) -> ir.Value:
        """[B, S] -> [T]."""
        flat = self.op.Reshape(ids, self.op.integers([-1]))
        return self.op.Gather(flat, self.places, axis=0)

    def pack(self, value: ir.Value, width: int, scope: str) -> ir.Value:
        """[B, S, D] -> [T, D], where D is `width`."""
        flat = self.op.Reshape(value, self.op.integers([-1, width]), _scope=scope)
        packed = self.op.Gather(flat, self.places, axis=0, _scope=scope)
        return annotated(packed, [TOKENS, width])

    def pack_positions(self, value: ir.Value, scope: str) -> ir.Value:
        """[S, D] or [1, S, D], the same for all rows of the batch -> [T, D]."""
        assert value.shape is not None
        table = table_of_first_rows(value)
        if table is not None:
            return self.op.Gather(table, self.columns, axis=0, _scope=scope)
        if len(value.shape) == 3:
            value = self.op.Squeeze(value, self.op.integers([0]), _scope=scope)
        return self.op.Gather(value, self.columns, axis=0, _scope=scope)

    def unpack(self, value: ir.Value, scope: str) -> ir.Value:
        """[T, D] -> [B, S, D], with finite numbers of no meaning at padding."""
        return self._unpacked(value, self.op.Gather(value, self.slots, axis=0, _scope=scope))

    def restore(self, value: ir.Value, scope: str) -> ir.Value:
        """[T, D] -> [B, S, D], with zeros at padding."""
        above = self.op.integers([1, 0, 0, 0])
        with_zeros = self.op.Pad(value, above, mode="constant", _scope=scope)
        return self._unpacked(value, self.op.Gather(with_zeros, self.shown, axis=0, _scope=scope))

    def first_row(self, value: ir.Value, keeps_axis: bool, scope: str) -> ir.Value:
        """[T, D] -> the token at the first place of each row, [B, 1, D] or [B, D]."""
        return self.op.Gather(value, self.first_slots_kept if keeps_axis else self.first_slots, axis=0, _scope=scope)

    def sum_tokens(self, value: ir.Value, total: TokenSum, scope: str) -> ir.Value | None:
        """[T, D] -> a weighted sum over the tokens of each text, [B, D]; None where padded values are summed."""
        return None

    def clear_queries(self, probabilities: ir.Value, scope: str) -> ir.Value:
        """[B, H, S, R] -> the same with zeros where the query is padding."""
        dtype = probabilities.dtype or ir.DataType.FLOAT
        queries = self.op.Unsqueeze(self.mask, self.op.integers([1, 3]))
        real = self.op.Cast(queries, to=dtype)
        return self.op.Mul(probabilities, real, _scope=scope)

    def clear_empty(self, value: ir.Value, scope: str) -> ir.Value:
        """[B, N] -> the same with zeros in the rows of texts without any real token."""
        dtype = value.dtype or ir.DataType.FLOAT
        count = self.op.ReduceSum(self.mask, self.op.integers([1]), keepdims=1)
        some = self.op.Cast(count, to=ir.DataType.BOOL)
        return self.op.Mul(value, self.op.Cast(some, to=dtype), _scope=scope)

    @cached_property
    def places(self) -> ir.Value:
        """[T]: where each kept token stands in B * S."""
        found = self.op.NonZero(self._kept)
        places = self.op.Reshape(found, self.op.integers([-1]))
        places.shape = ir.Shape([TOKENS])
        return places

    @cached_property
    def columns(self) -> ir.Value:
        """[T]: position of each kept token in its row."""
        length = self.op.Shape(self.mask, start=1, end=2)
        columns = self.op.Mod(self.places, length)
        columns.shape = ir.Shape([TOKENS])
        return columns

    @cached_property
    def slots(self) -> ir.Value:
        """[B, S]: where each place's token stands in T."""
        slots = self.op.Sub(self._ranks, self.op.number(1))
        slots.shape = self.mask.shape
        return slots

    @cached_property
    def shown(self) -> ir.Value:
        """[B, S]: 1 + where each real token stands in T; 0 for padding."""
        shown = self.op.Mul(self._ranks, self.mask)
        shown.shape = self.mask.shape
        return shown

    @cached_property
    def first_slots(self) -> ir.Value:
        """[B]: where the token at the first place of each row stands in T."""
        return self.op.Gather(self.slots, self.op.number(0), axis=1)

    @cached_property
    def first_slots_kept(self) -> ir.Value:
        """[B, 1]: the same."""
        return self.op.Gather(self.slots, self.op.integers([0]), axis=1)

    @cached_property
    def _kept(self) -> ir.Value:
        """[B * S]: the mask, and 1 at the first place of every row."""
        axis, last = self.op.integers([1]), self.op.integers([np.iinfo(np.int64).max])
        rest = self.op.Slice(self.mask, axis, last, axis)
        kept = self.op.Pad(rest, self.op.integers([0, 1, 0, 0]), self.op.number(1), mode="constant")
        return self.op.Reshape(kept, self.op.integers([-1]))

    @cached_property
    def _ranks(self) -> ir.Value:
        """[B, S]: how many tokens are kept up to each place, itself included. The axis of CumSum has rank 0."""
        ranks = self.op.CumSum(self._kept, self.op.number(0))
        return self.op.Reshape(ranks, self.op.Shape(self.mask))

    def _unpacked(self, packed: ir.Value, unpacked: ir.Value) -> ir.Value:
        width = packed.shape[-1] if packed.shape is not None else None
        return unpacked if self.mask.shape is None else annotated(unpacked, [*self.mask.shape, width])


def annotated(value: ir.Value, axes: Sequence[int | str | ir.SymbolicDim | None]) -> ir.Value:
    """`value` with a shape, where its element type is known: one is not written without the other."""
    if value.type is not None:
        value.shape = ir.Shape(axes)
    return value


def table_of_first_rows(value: ir.Value) -> ir.Value | None:
    """The table [P, D] of which `value` [S, D] is the first S rows, or None: its rows may be gathered directly."""
    node = value.producer()
    if node is None or not is_operator(node, "Slice") or value.shape is None or len(value.shape) != 2:
        return None
    starts, axes = constant_vector(node.inputs[1]), constant_vector(node.inputs[3]) if len(node.inputs) > 3 else [0]
    steps = constant_vector(node.inputs[4]) if len(node.inputs) > 4 else [1]
    table = constant_array(node.inputs[0])
    return node.inputs[0] if (starts, axes, steps) == ([0], [0], [1]) and table is not None else None
