"""The shape of an operator's outputs, for the operators of a BERT."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from export.passes.graph.values import constant_array
from export.passes.shapes.state import ShapeState
from export.passes.shapes.symbolic_dims import Dim, Dims, add, at_most, broadcast, multiply, reshape, subtract

_END = 2**31 - 1


def find_dims(node: ir.Node, state: ShapeState) -> list[Dims | None] | None:
    """The shapes of the outputs of `node`; None where there is no rule, or an input is not known."""
    rule = _RULES.get(node.op_type) if node.domain == "" else None
    found = rule(node, state) if rule is not None else None
    return None if found is None else [found]


def _axes(node: ir.Node, position: int) -> list[int] | None:
    """Axes from an attribute, or from input `position`."""
    if "axes" in node.attributes:
        return list(node.attributes["axes"].as_ints())
    array = constant_array(node.inputs[position]) if position < len(node.inputs) else None
    return None if array is None else [int(axis) for axis in array.reshape(-1)]


def _like_first(node: ir.Node, state: ShapeState) -> Dims | None:
    return state.shape_of(node.inputs[0])


def _elementwise(node: ir.Node, state: ShapeState) -> Dims | None:
    shapes = [state.shape_of(value) for value in node.inputs]
    result: Dims = ()
    for shape in shapes:
        if shape is None:
            return None
        result = broadcast(result, shape, state.names)
    return result


def _matmul(node: ir.Node, state: ShapeState) -> Dims | None:
    left, right = state.shape_of(node.inputs[0]), state.shape_of(node.inputs[1])
    if left is None or right is None or len(left) < 2 or len(right) < 2:
        return None
    return (*broadcast(left[:-2], right[:-2], state.names), left[-2], right[-1])


def _gemm(node: ir.Node, state: ShapeState) -> Dims | None:
    left, right = state.shape_of(node.inputs[0]), state.shape_of(node.inputs[1])
    if left is None or right is None or len(left) != 2 or len(right) != 2:
        return None
    turned = [name in node.attributes and node.attributes[name].as_int() == 1 for name in ("transA", "transB")]
    return left[1 if turned[0] else 0], right[0 if turned[1] else 1]


def _gather(node: ir.Node, state: ShapeState) -> Dims | None:
    table, places = state.shape_of(node.inputs[0]), state.shape_of(node.inputs[1])
    if table is None or places is None:
        return None
    axis = (node.attributes["axis"].as_int() if "axis" in node.attributes else 0) % len(table)
    return (*table[:axis], *places, *table[axis + 1 :])


def _transpose(node: ir.Node, state: ShapeState) -> Dims | None:
    source = state.shape_of(node.inputs[0])
    if source is None:
        return None
    order = node.attributes["perm"].as_ints() if "perm" in node.attributes else range(len(source))[::-1]
    return tuple(source[axis] for axis in order)


def _reshape(node: ir.Node, state: ShapeState) -> Dims | None:
    source, wanted = state.shape_of(node.inputs[0]), state.contents_of(node.inputs[1])
    if source is None or wanted is None:
        return None
    copy_zero = "allowzero" not in node.attributes or node.attributes["allowzero"].as_int() == 0
    return reshape(source, wanted.dims, copy_zero, state.names, node)


def _expand(node: ir.Node, state: ShapeState) -> Dims | None:
    source, wanted = state.shape_of(node.inputs[0]), state.contents_of(node.inputs[1])
    return None if source is None or wanted is None else broadcast(source, wanted.dims, state.names)


def _tile(node: ir.Node, state: ShapeState) -> Dims | None:
    source, repeats = state.shape_of(node.inputs[0]), state.contents_of(node.inputs[1])
    if source is None or repeats is None or len(source) != len(repeats.dims):
        return None
    return tuple(multiply(dim, repeat) for dim, repeat in zip(source, repeats.dims, strict=True))


def _unsqueeze(node: ir.Node, state: ShapeState) -> Dims | None:
    source, axes = state.shape_of(node.inputs[0]), _axes(node, 1)
    if source is None or axes is None:
        return None
    result = list(source)
    for axis in sorted(axis % (len(source) + len(axes)) for axis in axes):
        result.insert(axis, 1)
    return tuple(result)


def _squeeze(node: ir.Node, state: ShapeState) -> Dims | None:
    source, axes = state.shape_of(node.inputs[0]), _axes(node, 1)
    if source is None or axes is None:
        return None
    gone = {axis % len(source) for axis in axes}
    return tuple(dim for axis, dim in enumerate(source) if axis not in gone)


def _slice(node: ir.Node, state: ShapeState) -> Dims | None:
    source = state.shape_of(node.inputs[0])
    bounds = [state.contents_of(value) for value in node.inputs[1:]]
    if source is None or any(bound is None for bound in bounds):
        return None
    starts, ends, *rest = [bound.dims for bound in bounds if bound is not None]
    axes: Sequence[Dim] = rest[0] if rest else range(len(starts))
    steps = rest[1] if len(rest) > 1 else (1,) * len(starts)
    result = list(source)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = int(axis) % len(source)
        result[place] = _sliced(source[place], start, end, step, state, (node, place))
    return tuple(result)


def _sliced(dim: Dim, start: Dim, end: Dim, step: Dim, state: ShapeState, cause: object) -> Dim:
    if step == 1 and start == 0 and isinstance(end, int) and end >= _END:
        return dim
    if all(isinstance(one, int) for one in (dim, start, end, step)):
        return len(range(int(dim))[slice(int(start), int(end), int(step))])
    if step == 1 and not (isinstance(end, int) and end < 0) and not (isinstance(start, int) and start < 0):
        length = subtract(end, start, state.names)
        return dim if length == dim else at_most(dim, length)
    return state.names.fresh(cause)


def _concat(node: ir.Node, state: ShapeState) -> Dims | None:
    shapes = [shape for shape in map(state.shape_of, node.inputs) if shape is not None]
    if len(shapes) != len(node.inputs) or not shapes:
        return None
    axis = node.attributes["axis"].as_int() % len(shapes[0])
    result = list(shapes[0])
    for shape in shapes[1:]:
        result[axis] = add(result[axis], shape[axis])
    return tuple(result)


def _reduce(node: ir.Node, state: ShapeState) -> Dims | None:
    source, axes = state.shape_of(node.inputs[0]), _axes(node, 1)
    if source is None or axes is None:
        return None
    kept = "keepdims" not in node.attributes or node.attributes["keepdims"].as_int() == 1
    places = {axis % len(source) for axis in axes}
    return tuple(1 if axis in places else dim for axis, dim in enumerate(source) if kept or axis not in places)


def _range(node: ir.Node, state: ShapeState) -> Dims | None:
    start, end, step = (state.contents_of(value) for value in node.inputs)
    if start is None or end is None or step is None or step.dims != (1,):
        return None
    return (subtract(end.dims[0], start.dims[0], state.names),)


def _filled(node: ir.Node, state: ShapeState) -> Dims | None:
    shape = state.contents_of(node.inputs[0])
    return None if shape is None else shape.dims


def _einsum(node: ir.Node, state: ShapeState) -> Dims | None:
    """Every letter is one axis; letters are taken as they are, without an ellipsis."""
    terms, arrow, result = node.attributes["equation"].as_string().replace(" ", "").partition("->")
    axes: dict[str, Dim] = {}
    for letters, value in zip(terms.split(","), node.inputs, strict=True):
        shape = state.shape_of(value)
        if shape is None or len(shape) != len(letters):
            return None
        axes.update(zip(letters, shape, strict=True))
    return tuple(axes[letter] for letter in result) if arrow and set(result) <= set(axes) else None


def _shape_vector(node: ir.Node, state: ShapeState) -> Dims | None:
    contents = state.contents.get(node.outputs[0])
    return None if contents is None or contents.scalar else (len(contents.dims),)


_Rule = Callable[[ir.Node, ShapeState], Dims | None]
_LIKE_FIRST = (
    "Cast", "Identity", "Sqrt", "Erf", "Tanh", "Exp", "Log", "Neg", "Abs", "Not", "IsNaN", "Relu", "Sigmoid",
    "Softmax", "LogSoftmax", "LayerNormalization", "Gelu", "Dropout", "Reciprocal", "Clip", "CumSum", "Trilu",
)  # fmt: skip
_ELEMENTWISE = (
    "Add", "Sub", "Mul", "Div", "Pow", "Where", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And",
    "Or", "Min", "Max", "Mod",
)  # fmt: skip
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_LIKE_FIRST, _like_first),
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd"), _reduce),
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "Gather": _gather,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Expand": _expand,
    "Tile": _tile,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Slice": _slice,
    "Concat": _concat,
    "Range": _range,
    "ConstantOfShape": _filled,
    "Shape": _shape_vector,
    "Attention": _like_first,
}
