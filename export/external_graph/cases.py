"""Inputs for a graph of which only the graph is known: what each input is for is read from how it is used.

    an input that indexes a table        whole numbers below the number of its rows (ids, token types, positions)
    another input of whole numbers       a mask: 1 for real tokens, 0 for padding
    an input of floats                   standard normal numbers (a cache, states of an encoder)

Axes with the same name have the same length; an axis without a name is the batch if it is the first, else the sequence.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from bert_onnx.errors import ExportError
from export.passes.graph.values import constant_array, is_operator
from export.verification.cases import Case

#: Operators that an index passes through on its way to a table.
_CARRIERS = ("Reshape", "Cast", "Identity", "Unsqueeze", "Squeeze", "Flatten")

#: A position table has at least this many rows; smaller tables are for token types.
_FEWEST_POSITIONS = 8

_BATCH, _SEQUENCE = "batch", "sequence"


@dataclass(frozen=True)
class _Plan:
    """One shape: the lengths of batch, sequence and everything else, and which side the padding is on."""

    label: str
    batch: int
    sequence: int
    padding: str = "none"


_PLANS = (
    _Plan("single", 1, 1),
    _Plan("full", 3, 16),
    _Plan("longest", 1, 512),
    _Plan("right-padded", 4, 23, "right"),
    _Plan("left-padded", 4, 23, "left"),
    _Plan("holed", 4, 23, "holes"),
)


@dataclass(frozen=True)
class ExternalInput:
    """One input of a graph.

    Args:
        name: its name.
        dtype: of its arrays.
        axes: numbers where the graph fixes a length, else names.
        rows: rows of the table that it indexes; 0 for one that indexes none.
    """

    name: str
    dtype: np.dtype
    axes: tuple[int | str, ...]
    rows: int

    @property
    def is_mask(self) -> bool:
        """Whether it says of each token [B, S] or [B, C, S] whether it is real."""
        return len(self.axes) in (2, 3) and not self.rows and self.dtype.kind in "iub"


def read_inputs(graph: ir.Graph) -> tuple[ExternalInput, ...]:
    """What the inputs of `graph` are for.

    Raises:
        ExportError: an input has no known rank or element type.
    """
    found = []
    for value in graph.inputs:
        if value.is_initializer():
            continue
        if value.shape is None or value.dtype is None:
            raise ExportError(f"the input {value.name} has no shape or no element type; the graph cannot be checked.")
        axes = tuple(_axis(axis, place) for place, axis in enumerate(value.shape))
        found.append(ExternalInput(value.name or "", value.dtype.numpy(), axes, _rows(value)))
    return tuple(found)


def _axis(axis: int | ir.SymbolicDim, place: int) -> int | str:
    if isinstance(axis, int):
        return axis
    return axis.value or (_BATCH if place == 0 else _SEQUENCE)


def _rows(value: ir.Value) -> int:
    """Rows of the smallest table that `value` indexes, however it gets there; 0 if there is none."""
    rows = []
    for node, position in value.uses():
        if is_operator(node, "Gather") and position == 1:
            table = constant_array(node.inputs[0])
            rows += [] if table is None else [table.shape[0]]
        elif is_operator(node, *_CARRIERS) and position == 0:
            rows += [count for count in [_rows(node.outputs[0])] if count]
    return min(rows, default=0)


def longest_sequence(graph: ir.Graph) -> int:
    """The longest input that the graph can take: rows of its smallest table that is not indexed by an input.

    That is the position table, which is indexed by a constant or a computed range, or sliced. 512 where none is found.
    """
    rows = []
    for node in graph:
        if is_operator(node, "Gather", "Slice"):
            table = constant_array(node.inputs[0])
            rows += [table.shape[0]] if table is not None and table.ndim == 2 and table.shape[1] > 1 else []
    positions = [count for count in rows if count >= _FEWEST_POSITIONS]
    return min([512, *positions])


def external_cases(inputs: tuple[ExternalInput, ...], longest: int, right_padding: bool = False) -> Iterator[Case]:
    """Cases for a graph; each has a seed of its own.

    Args:
        inputs: of the graph.
        longest: tokens that a sequence may have.
        right_padding: only such padding as follows a text.
    """
    cached = any(isinstance(axis, str) and "+" in axis for one in inputs for axis in one.axes)
    for plan in _PLANS:
        if right_padding and plan.padding in ("left", "holes"):
            continue
        sequence = min(plan.sequence, max(1, longest * 2 // 3) if cached else longest)
        name = f"{plan.label} {plan.batch}x{sequence}"
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        lengths = _lengths(inputs, plan.batch, sequence)
        yield Case(name, {one.name: _array(one, lengths, plan.padding, rng) for one in inputs})


def _lengths(inputs: tuple[ExternalInput, ...], batch: int, sequence: int) -> dict[str, int]:
    """A length for every name: the batch stands first; the sequence is the last axis of what indexes a table."""
    lengths: dict[str, int] = {}
    for one in inputs:
        if one.axes and isinstance(one.axes[0], str):
            lengths.setdefault(one.axes[0], batch)
    for one in inputs:
        if one.rows and len(one.axes) > 1 and isinstance(one.axes[-1], str):
            lengths.setdefault(one.axes[-1], sequence)
    for one in inputs:
        for axis in one.axes:
            if isinstance(axis, str) and "+" not in axis:
                lengths.setdefault(axis, max(1, sequence // 2))
    return lengths


def _array(one: ExternalInput, lengths: Mapping[str, int], padding: str, rng: np.random.Generator) -> np.ndarray:
    shape = tuple(_length(axis, lengths) for axis in one.axes)
    if one.rows:
        return rng.integers(0, one.rows, shape).astype(one.dtype)
    if one.dtype.kind == "f":
        return rng.standard_normal(shape).astype(one.dtype)
    mask = np.ones(shape, np.int64)
    if shape and mask.size:
        _pad(mask.reshape(-1, shape[-1]), padding, rng)
    return mask.astype(one.dtype)


def _length(axis: int | str, lengths: Mapping[str, int]) -> int:
    """A number, a name, or a sum of both, as `past_sequence_length + sequence_length`."""
    if isinstance(axis, int):
        return axis
    if axis in lengths:
        return lengths[axis]
    terms = [term.strip() for term in axis.split("+")]
    return sum(int(term) if term.isdigit() else lengths.get(term, 1) for term in terms)


def _pad(rows: np.ndarray, padding: str, rng: np.random.Generator) -> None:
    """Hide tokens of every row but the first; each keeps at least one."""
    for row in rows[1:]:
        if padding == "right":
            row[rng.integers(1, len(row) + 1) :] = 0
        elif padding == "left":
            row[: len(row) - rng.integers(1, len(row) + 1)] = 0
        elif padding == "holes":
            row[1:] = rng.integers(0, 2, len(row) - 1)
