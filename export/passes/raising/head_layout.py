"""Follows how a hidden state is split into heads and put together again.

    [B, S, H*K]  -- Reshape -->  [B, S, H, K]  -- Transpose, Mul, Concat with a cache -->  [B, H, S, K] or [B, H, K, S]

`find_split` walks that way back from a value of four axes and says which axis is where; `find_merge` walks the way
forward from the product of probabilities and values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir as ir

from bert_onnx.errors import UsageError
from export.passes.graph.match import constant_vector, only_user, scalar
from export.passes.graph.values import constant_array, is_operator

#: Part of a reason: the number of heads, or the width of a state, is not in the graph.
UNKNOWN_HEADS = "the number of heads cannot be told from the graph"

#: What the axes of a split state are: batch, sequence, head, place in the head.
SPLIT_AXES = "BSHK"
CACHE_AXES = "BHSK"


@dataclass(frozen=True)
class Split:
    """A value of four axes, and where it comes from.

    Args:
        source: the state before it was split, [B, S, H*K].
        heads: H.
        size: K.
        axes: the value's axes, an order of "BSHK".
        factor: what the state was multiplied with on the way.
        past: [B, H, P, K], what was put before it on the way, if anything was.
        joined: [B, H, P+S, K], the two together.
    """

    source: ir.Value
    heads: int
    size: int
    axes: str
    factor: float = 1.0
    past: ir.Value | None = None
    joined: ir.Value | None = None


def find_split(value: ir.Value) -> Split | str:
    """The state that `value` is a split of, or the reason why there is none."""
    node = value.producer()
    if node is None or node.domain != "":
        return f"{value.name} is not a state that was split into heads"
    source = node.inputs[0] if node.inputs else None
    if source is None:
        return f"{value.name} is not a state that was split into heads"
    if node.op_type == "Transpose" and "perm" in node.attributes:
        found = find_split(source)
        order = node.attributes["perm"].as_ints()
        if isinstance(found, str) or len(order) != len(SPLIT_AXES):
            return found if isinstance(found, str) else f"{node.name} does not have four axes"
        return replace(found, axes="".join(found.axes[axis] for axis in order))
    if node.op_type in ("Mul", "Div"):
        return _scaled(node)
    if node.op_type == "Concat":
        return _joined(node)
    if node.op_type == "Reshape":
        return _reshaped(node, source)
    return f"{node.name} ({node.op_type}) stands between the projection and the scores"


def _scaled(node: ir.Node) -> Split | str:
    """A split state times a constant."""
    left, right = node.inputs[0], node.inputs[1]
    for state, other in ((left, right), (right, left)):
        number = scalar(other)
        if number and state is not None and (node.op_type == "Mul" or state is left):
            found = find_split(state)
            if isinstance(found, str):
                return found
            return replace(found, factor=found.factor * (number if node.op_type == "Mul" else 1.0 / number))
    return f"{node.name} multiplies with something that is not a constant number"


def _joined(node: ir.Node) -> Split | str:
    """A cache and a split state, put one after the other."""
    if len(node.inputs) != 2 or node.inputs[0] is None or node.inputs[1] is None:
        return f"{node.name} does not join a cache and new keys"
    found = find_split(node.inputs[1])
    if isinstance(found, str):
        return found
    if found.past is not None or found.axes != CACHE_AXES or node.attributes["axis"].as_int() not in (2, -2):
        return f"{node.name} does not join along the sequence"
    if found.factor != 1.0:
        return f"{node.name} joins a cache with keys that were scaled"
    return replace(found, past=node.inputs[0], joined=node.outputs[0])


def _reshaped(node: ir.Node, source: ir.Value) -> Split | str:
    """The Reshape that splits the last axis."""
    shape = constant_vector(node.inputs[1])
    if shape is None:
        return f"{node.name} has a computed shape"
    if len(shape) != len(SPLIT_AXES):
        return f"{node.name} does not reshape to four axes"
    width = last_axis(source)
    heads, size = shape[2], shape[3]
    if heads == -1 and size > 0 and width is not None:
        heads = width // size
    if size == -1 and heads > 0 and width is not None:
        size = width // heads
    keeps = _keeps(source, 0, shape[0]) + _keeps(source, 1, shape[1])
    unknown = shape[:2].count(-1)
    if width is None and keeps + unknown == 2 and (unknown or -1 in (heads, size)):
        return f"{UNKNOWN_HEADS} at {node.name}"
    if heads <= 0 or size <= 0 or keeps + unknown < 2 or unknown > 1 or (unknown and width != heads * size):
        return f"{node.name} to {shape} does not split the last axis alone"
    return Split(source, heads, size, SPLIT_AXES)


def _keeps(source: ir.Value, axis: int, length: int) -> bool:
    """Whether a Reshape to `length` at `axis` leaves that axis of `source` as it is."""
    if length == 0:
        return True
    known = source.shape[axis] if source.shape is not None and len(source.shape) > axis else None
    return isinstance(known, int) and known == length


def last_axis(value: ir.Value | None) -> int | None:
    """Length of the last axis: as annotated, or as the weight or bias of the layer that made it says."""
    if value is None:
        return None
    if value.shape is not None and len(value.shape) and isinstance(value.shape[-1], int):
        return int(value.shape[-1])
    node = value.producer()
    if is_operator(node, "MatMul", "Add") and node is not None:
        lengths = [array.shape[-1] for array in map(constant_array, node.inputs) if array is not None and array.ndim]
        return int(lengths[0]) if lengths and lengths[0] != 1 else None
    return None


def find_merge(context: ir.Value, split: Split) -> ir.Value | str:
    """The state [B, S, H*K] that the heads in `context` [B, H, S, K] are put together to, or a reason."""
    transpose = only_user(context)
    if not is_operator(transpose, "Transpose") or transpose is None:
        return f"{context.name} is read by something else than the Transpose that puts the heads together"
    if list(transpose.attributes["perm"].as_ints()) != [0, 2, 1, 3]:
        return f"{transpose.name} does not put the heads beside each other"
    reshape = only_user(transpose.outputs[0])
    if not is_operator(reshape, "Reshape") or reshape is None:
        return f"{transpose.name} is not followed by one Reshape"
    shape, width = constant_vector(reshape.inputs[1]), split.heads * split.size
    if shape is None or len(shape) != 3 or shape[2] not in (width, -1):
        return f"{reshape.name} does not put the heads together to one axis of {width}"
    keeps = _keeps(transpose.outputs[0], 0, shape[0]) + _keeps(transpose.outputs[0], 1, shape[1])
    if keeps + shape.count(-1) < 2 or shape.count(-1) > 1:
        return f"{reshape.name} to {shape} changes more than the last axes"
    return reshape.outputs[0]


def assume_heads(graph: ir.Graph, heads: int, hidden: int) -> int:
    """Take the user's word for the width of states that are split and say nothing themselves; counts them.

    Args:
        heads, hidden: H and D.

    Raises:
        UsageError: a state that does say something says something else.
    """
    assumed = 0
    for node in graph:
        shape = constant_vector(node.inputs[1]) if is_operator(node, "Reshape") and len(node.inputs) > 1 else None
        source = node.inputs[0]
        if shape is None or len(shape) != len(SPLIT_AXES) or source is None:
            continue
        if shape[2] not in (heads, -1) or shape[3] not in (hidden // heads, -1):
            raise UsageError(
                f"--heads {heads} --hidden {hidden} do not fit {node.name}, which splits a state into {shape[2]} heads "
                f"of {shape[3]}."
            )
        if last_axis(source) is None:
            source.shape = ir.Shape([None, None, hidden])
            assumed += 1
    return assumed
