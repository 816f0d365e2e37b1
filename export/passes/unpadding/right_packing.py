"""The maps of `packing` for padding on the right alone, in ONNX Runtime's operators for CUDA.

    lengths  = Max(ReduceSum(mask, 1), 1)                                     [B]     int32
    packed, offsets, starts, longest = RemovePadding(x [B, S, D], lengths)    packed [T, D]
    offsets  = B * S places, those of the T kept tokens first                 [B, S]  int32
    starts   = where each text begins in T, and T itself                      [B + 1] int32
    x        = RestorePadding(packed, offsets)                                [B, S, D], zeros at padding
    sums     = M packed, M[b, t] = weight of token t in its own text b, 0 in others      M [B, T]

ONNX Runtime, docs/ContribOperators.md. RemovePadding waits for the GPU, since the host must know T: it is run once, for
what all tokens come from, and whatever else has to be packed is gathered. A text without any token counts as one of
one token, so that no row begins behind the last token. What is said of such a text means nothing; runtimes refuse it.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import onnx_ir as ir

from export.passes.graph.writer import MICROSOFT, scope_of
from export.passes.unpadding.packing import TOKENS, Packing, annotated
from export.passes.unpadding.token_sums import TokenSum, is_first_token

_INT32, _INT64 = ir.DataType.INT32, ir.DataType.INT64


class RightPacking(Packing):
    """Writes RemovePadding once and RestorePadding wherever a padded value is needed."""

    drops_masks = True
    keeps_padding = False

    def __init__(self, graph: ir.Graph, mask: ir.Value) -> None:
        super().__init__(graph, mask, "remove_padding")
        self._packed: ir.Value | None = None
        self._offsets: ir.Value | None = None
        self._starts: ir.Value | None = None

    def enter(self, value: ir.Value) -> ir.Value:
        """[B, S, D] -> [T, D]."""
        if self._packed is not None:
            return super().enter(value)
        types = (value.dtype, _INT32, _INT32, _INT32)
        outputs = self.op.node(
            "RemovePadding", [value, self._lengths], {}, types, MICROSOFT, scope_of(value.producer())
        )
        self._packed, self._offsets, self._starts, longest = outputs
        self._offsets.shape, longest.shape = self.mask.shape, ir.Shape([1])
        width = value.shape[-1] if value.shape is not None else None
        return annotated(self._packed, [TOKENS, width])

    def unpack(self, value: ir.Value, scope: str) -> ir.Value:
        """[T, D] -> [B, S, D], with zeros at padding."""
        restored = self.op.RestorePadding(value, self._offsets, _domain=MICROSOFT, _scope=scope)
        return self._unpacked(value, restored)

    def restore(self, value: ir.Value, scope: str) -> ir.Value:
        """The same."""
        return self.unpack(value, scope)

    def first_row(self, value: ir.Value, keeps_axis: bool, scope: str) -> ir.Value:
        """[T, D] -> the first token of each text, [B, 1, D] or [B, D]."""
        first = super().first_row(value, keeps_axis, scope)
        if self.mask.shape is None or value.shape is None:
            return first
        return annotated(first, [self.mask.shape[0], *([1] if keeps_axis else []), value.shape[-1]])

    def sum_tokens(self, value: ir.Value, total: TokenSum, scope: str) -> ir.Value | None:
        """[T, D] -> [B, D], by one product, or by a look-up where the sum is the first token.

        2 B T D operations, at B = 128 a thousandth of the encoder's; M takes less memory than what is between the two
        products of a feed-forward for up to F / 2 texts. Padded, the sum reads or writes [B, S, D] three times.
        """
        if is_first_token(total.weights, self.mask):
            return self.first_row(value, keeps_axis=False, scope=scope)
        op, weights = self.op, total.weights
        if total.divisor is not None:
            weights = op.Div(weights, op.Unsqueeze(total.divisor, op.integers([1])), _scope=scope)
        packed = op.Gather(op.Reshape(weights, op.integers([-1]), _scope=scope), self.places, axis=0, _scope=scope)
        none = op.constant("no_weight", np.array(0, np.float32))
        shares = op.Where(self._belongs, packed, none, _scope=scope, _dtype=value.dtype)
        return op.MatMul(shares, value, _scope=scope)

    def clear_empty(self, value: ir.Value, scope: str) -> ir.Value:
        """As it is: there is no text without a token."""
        return value

    @cached_property
    def places(self) -> ir.Value:
        """[T]: where each kept token stands in B * S."""
        count = self.op.Shape(self._packed, start=0, end=1)
        flat = self.op.Reshape(self._offsets, self.op.integers([-1]))
        kept = self.op.Slice(flat, self.op.integers([0]), count)
        places = self.op.Cast(kept, to=_INT64)
        places.shape = ir.Shape([TOKENS])
        return places

    @cached_property
    def first_slots(self) -> ir.Value:
        """[B]: where the first token of each text stands in T."""
        return self.op.Slice(self._starts, self.op.integers([0]), self.op.integers([-1]))

    @cached_property
    def first_slots_kept(self) -> ir.Value:
        """[B, 1]: the same."""
        return self.op.Unsqueeze(self.first_slots, self.op.integers([1]))

    @cached_property
    def _belongs(self) -> ir.Value:
        """[B, T]: whether a token is of a text."""
        op = self.op
        count = op.Squeeze(op.Shape(self.mask, start=0, end=1))
        texts = op.Unsqueeze(op.Range(op.number(0), count, op.number(1)), op.integers([1]))  # [B, 1]
        rows = op.Reshape(op.Expand(texts, op.Shape(self.mask)), op.integers([-1]))  # [B * S]
        return op.Equal(op.Gather(rows, self.places, axis=0), texts)

    @cached_property
    def _lengths(self) -> ir.Value:
        """[B]: how many tokens each text has, at least one."""
        total = self.op.ReduceSum(self.mask, self.op.integers([1]), keepdims=0)
        return self.op.Max(self.op.Cast(total, to=_INT32), self.op.constant("one", np.array([1], np.int32)))
