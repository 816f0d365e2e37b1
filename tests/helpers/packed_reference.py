"""ONNX Runtime's operators of the graphs for CUDA in numpy, for onnx's ReferenceEvaluator.

Written from docs/ContribOperators.md of ONNX Runtime, text by text in plain loops: as far as can be from the operators
that `export.verification.packed_operators` puts in their place. Sums run in float32; results have the input's type.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

_erf = np.vectorize(math.erf, otypes=[np.float64])


class _Microsoft(OpRun):
    op_domain = "com.microsoft"


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32)


def _layer_norm(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, epsilon: float) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return centred / np.sqrt(variance + epsilon) * _wide(scale) + _wide(bias)


def _softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def _heads(states: np.ndarray, count: int) -> np.ndarray:
    """[S, D] -> [H, S, K]."""
    return _wide(states).reshape(len(states), count, -1).transpose(1, 0, 2)


def _attend(query: np.ndarray, key: np.ndarray, value: np.ndarray, heads: int, scale: float, bias: Any) -> np.ndarray:
    """One text: [S, D], [R, D], [R, D] and what is added to the scores -> [S, D]."""
    q, k, v = (_heads(states, heads) for states in (query, key, value))
    context = _softmax(q @ k.transpose(0, 2, 1) * (scale or 1 / math.sqrt(q.shape[-1])) + bias) @ v
    return context.transpose(1, 0, 2).reshape(len(query), -1)


def _attend_in_texts(states: Sequence[np.ndarray], starts: np.ndarray, heads: int, scale: float) -> np.ndarray:
    """Queries, keys and values [T, D] of texts that begin at `starts`, each of which attends to itself -> [T, D]."""
    texts = [
        _attend(*(state[begin:end] for state in states), heads, scale, 0.0)
        for begin, end in pairwise(starts)
        if end > begin
    ]
    return np.concatenate(texts)


class RemovePadding(_Microsoft):
    def _run(self, x: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, ...]:
        batch, length, _ = x.shape
        tokens = [row * length + place for row in range(batch) for place in range(counts[row])]
        padding = [row * length + place for row in range(batch) for place in range(counts[row], length)]
        offsets = np.array(tokens + padding, np.int32).reshape(batch, length)
        starts = [int(counts[:row].sum()) for row in range(batch + 1)]
        packed = np.stack([x[token // length, token % length] for token in tokens])
        return packed, offsets, np.array(starts, np.int32), counts.max(keepdims=True)


class RestorePadding(_Microsoft):
    def _run(self, x: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, ...]:
        batch, length = offsets.shape
        restored = np.zeros((batch, length, x.shape[1]), x.dtype)
        for token, place in zip(x, offsets.reshape(-1), strict=False):
            restored[place // length, place % length] = token
        return (restored,)


class PackedMultiHeadAttention(_Microsoft):
    def _run(
        self,
        query: np.ndarray,
        key: np.ndarray,
        value: np.ndarray,
        bias: np.ndarray | None,
        offsets: np.ndarray,
        starts: np.ndarray,
        mask_filter_value: Any = None,
        num_heads: Any = None,
        scale: Any = None,
    ) -> tuple[np.ndarray, ...]:
        states = [_wide(query), _wide(key), _wide(value)]
        if bias is not None:
            parts = np.split(_wide(bias), np.cumsum([part.shape[1] for part in states[:2]]))
            states = [state + part for state, part in zip(states, parts, strict=True)]
        return (_attend_in_texts(states, starts, num_heads, scale).astype(query.dtype),)


class PackedAttention(_Microsoft):
    """What ONNX Runtime's own converter writes; ours writes the one above."""

    def _run(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        bias: np.ndarray,
        offsets: np.ndarray,
        starts: np.ndarray,
        added: np.ndarray | None = None,
        num_heads: Any = None,
        qkv_hidden_sizes: Any = None,
        scale: Any = None,
    ) -> tuple[np.ndarray, ...]:
        assert added is None
        parts = np.split(_wide(x) @ _wide(weights) + _wide(bias), 3, axis=-1)
        return (_attend_in_texts(parts, starts, num_heads, scale).astype(x.dtype),)


class MultiHeadAttention(_Microsoft):
    def _run(
        self,
        query: np.ndarray,
        key: np.ndarray,
        value: np.ndarray,
        bias: np.ndarray | None = None,
        mask: np.ndarray | None = None,
        added: np.ndarray | None = None,
        mask_filter_value: Any = None,
        num_heads: Any = None,
        scale: Any = None,
    ) -> tuple[np.ndarray, ...]:
        assert bias is None
        rows = []
        for row in range(len(query)):
            hidden: Any = 0.0 if mask is None else np.where(mask[row] > 0, 0.0, np.float32(mask_filter_value))
            if added is not None:
                hidden = hidden + _wide(np.broadcast_to(added, (len(query), *added.shape[1:]))[row])
            rows.append(_attend(query[row], key[row], value[row], num_heads, scale, hidden))
        return (np.stack(rows).astype(query.dtype),)


class SkipLayerNormalization(_Microsoft):
    def _run(
        self,
        x: np.ndarray,
        skip: np.ndarray,
        scale: np.ndarray,
        beta: np.ndarray,
        bias: np.ndarray | None = None,
        epsilon: Any = None,
    ) -> tuple[np.ndarray, ...]:
        total = _wide(x) + _wide(skip) + (0 if bias is None else _wide(bias))
        return (_layer_norm(total, scale, beta, epsilon).astype(x.dtype),)


class BiasGelu(_Microsoft):
    def _run(self, x: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, ...]:
        total = _wide(x) + _wide(bias)
        return ((0.5 * total * (1 + _erf(total / math.sqrt(2)))).astype(x.dtype),)


class EmbedLayerNormalization(_Microsoft):
    def _run(
        self,
        ids: np.ndarray,
        segments: np.ndarray | None,
        words: np.ndarray,
        positions: np.ndarray,
        kinds: np.ndarray | None,
        scale: np.ndarray,
        beta: np.ndarray,
        mask: np.ndarray | None = None,
        epsilon: Any = None,
        mask_index_type: Any = None,
    ) -> tuple[np.ndarray, ...]:
        total = _wide(words[ids]) + _wide(positions[: ids.shape[1]])
        if segments is not None and kinds is not None:
            total = total + _wide(kinds[segments])
        return _layer_norm(total, scale, beta, epsilon).astype(words.dtype), _lengths(ids, mask)


def _lengths(ids: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """[B]: the first place without a token, as ONNX Runtime's kernel for CUDA has it; without a mask 0."""
    rows = [[*row, 0].index(0) for row in mask.tolist()] if mask is not None else [0] * len(ids)
    return np.array(rows, np.int32)


OPERATORS: list[type[OpRun]] = [
    RemovePadding,
    RestorePadding,
    PackedMultiHeadAttention,
    PackedAttention,
    MultiHeadAttention,
    SkipLayerNormalization,
    BiasGelu,
    EmbedLayerNormalization,
]


def run_packed(model: ir.Model, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every output of a graph for CUDA, by name."""
    proto = ir.serde.serialize_model(model)
    names = [output.name for output in proto.graph.output]
    values = ReferenceEvaluator(proto, new_ops=OPERATORS).run(names, feeds)
    return dict(zip(names, values, strict=True))
