"""What raising passes need to recognise a formula, however an exporter wrote it down, and to replace it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from export.passes.graph.values import constant_array, constant_input, is_operator

#: Relative difference up to which a constant of a file is the constant of a formula: what rounding to the dtype costs.
_ROUNDING = {ir.DataType.FLOAT16: 1e-3, ir.DataType.BFLOAT16: 1e-2}
_ROUNDING_OF_FLOAT = 1e-5

#: Polynomial in one variable: coefficient by exponent.
Polynomial = dict[int, float]


def scalar(value: ir.Value | None) -> float | None:
    """The number that a constant of one element holds; None for anything else."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.size != 1 or len(tensor.shape) > 1:  # asked first: data may have to be made
        return None
    array = tensor.numpy()
    return float(array.reshape(())) if array.dtype.kind in "fiub" else None


def sums_places(node: ir.Node) -> bool:
    """Whether `node` is a ReduceSum over S of [B, S, ...], an axis that it takes away."""
    if not is_operator(node, "ReduceSum"):
        return False
    axes, kept = constant_input(node, 1), node.attributes["keepdims"].as_int() if "keepdims" in node.attributes else 1
    return axes is not None and axes.tolist() == [1] and not kept


def rounding_of(value: ir.Value | None) -> float:
    """Relative error that constants beside `value` may have."""
    dtype = value.dtype if value is not None else None
    return _ROUNDING.get(dtype, _ROUNDING_OF_FLOAT) if dtype is not None else _ROUNDING_OF_FLOAT


def close(left: float, right: float, tolerance: float) -> bool:
    """Whether two numbers are equal but for rounding."""
    return abs(left - right) <= tolerance * max(abs(left), abs(right))


def peel_scale(value: ir.Value) -> tuple[ir.Value, float]:
    """`value` as factor * source: undoes Mul and Div by constants.

    Returns:
        The source and the factor; `value` itself and 1 where there is nothing to undo.
    """
    factor = 1.0
    while (node := value.producer()) is not None and node.domain == "" and node.op_type in ("Mul", "Div"):
        left, right = node.inputs[0], node.inputs[1]
        number = scalar(right)
        if number is not None and left is not None and number != 0:
            value, factor = left, factor * number if node.op_type == "Mul" else factor / number
        elif node.op_type == "Mul" and (number := scalar(left)) is not None and right is not None:
            value, factor = right, factor * number
        else:
            break
    return value, factor


def only_user(value: ir.Value) -> ir.Node | None:
    """The one node that reads `value`, in however many places; None if several do, none does, or it is an output."""
    users = {node for node, _ in value.uses()}
    return users.pop() if len(users) == 1 and not value.is_graph_output() else None


def other_input(node: ir.Node, value: ir.Value) -> ir.Value | None:
    """The input of a node of two inputs that is not `value`; `value` itself where it stands in both places."""
    first, second = node.inputs[0], node.inputs[1]
    return second if first is value else first


def polynomial(value: ir.Value, variable: ir.Value, depth: int = 8) -> Polynomial | None:
    """`value` as a polynomial in `variable`, through Add, Sub, Mul, Div and Pow; None where it is not one."""
    if value is variable:
        return {1: 1.0}
    if (number := scalar(value)) is not None:
        return {0: number}
    node = value.producer()
    if node is None or node.domain != "" or depth == 0 or len(node.inputs) != 2:
        return None
    operands = [polynomial(operand, variable, depth - 1) for operand in node.inputs if operand is not None]
    if len(operands) != 2 or operands[0] is None or operands[1] is None:
        return None
    return _combine(node.op_type, operands[0], operands[1])


def _combine(operator: str, left: Polynomial, right: Polynomial) -> Polynomial | None:
    """One operator applied to two polynomials."""
    constant = right.get(0, 0.0) if set(right) <= {0} else None
    if operator in ("Add", "Sub"):
        sign = 1.0 if operator == "Add" else -1.0
        return {power: left.get(power, 0.0) + sign * right.get(power, 0.0) for power in {*left, *right}}
    if operator == "Mul":
        return _multiply(left, right)
    if operator == "Div" and constant:
        return {power: coefficient / constant for power, coefficient in left.items()}
    if operator == "Pow" and constant in (2.0, 3.0):
        square = _multiply(left, left)
        return square if constant == 2.0 else _multiply(square, left)
    return None


def _multiply(left: Polynomial, right: Polynomial) -> Polynomial:
    product: Polynomial = {}
    for power, coefficient in left.items():
        for other, factor in right.items():
            product[power + other] = product.get(power + other, 0.0) + coefficient * factor
    return product


def nodes_between(inputs: Iterable[ir.Value], output: ir.Value) -> set[ir.Node]:
    """The nodes on the paths from `inputs` to `output`; a path that never meets an input is not followed past it.

    Nodes that only compute constants on the side (a Range, a Shape) belong to the region if they lead from an input.
    """
    stops = set(inputs)
    leads: dict[ir.Value, bool] = {}

    def visit(value: ir.Value) -> bool:
        if value in stops:
            return True
        if value not in leads:
            leads[value] = False
            node = value.producer()
            reached = [visit(operand) for operand in node.inputs if operand is not None] if node is not None else []
            leads[value] = any(reached)
        return leads[value]

    visit(output)
    found = {value.producer() for value, leads_there in leads.items() if leads_there}
    return {node for node in found if node is not None}


def outside_use(nodes: Iterable[ir.Node], allowed: Iterable[ir.Value]) -> ir.Value | None:
    """A value made inside `nodes`, not in `allowed`, that something outside of them reads, or the graph returns."""
    inside, free = set(nodes), set(allowed)
    for node in nodes:
        for value in node.outputs:
            if value not in free and (value.is_graph_output() or any(user not in inside for user, _ in value.uses())):
                return value
    return None


def describe_use(value: ir.Value) -> str:
    """Reason for a refusal: who else reads `value`."""
    if value.is_graph_output():
        return f"{value.name} inside the pattern is an output of the graph"
    users = ", ".join(sorted({node.name or node.op_type for node, _ in value.uses()}))
    return f"{value.name} inside the pattern is read elsewhere, too (by {users})"


def constant_vector(value: ir.Value | None) -> list[int] | None:
    """A constant of integers as a flat list; None for anything else."""
    array = constant_array(value)
    return None if array is None or array.dtype.kind not in "iu" else [int(item) for item in np.ravel(array)]


def depends_on(value: ir.Value, ancestor: ir.Value) -> bool:
    """Whether `value` is computed from `ancestor`, or is it."""
    seen: set[ir.Value] = set()
    todo = [value]
    while todo:
        current = todo.pop()
        if current is ancestor:
            return True
        node = current.producer()
        if current not in seen and node is not None:
            seen.add(current)
            todo.extend(operand for operand in node.inputs if operand is not None)
    return False


def remove_unused(graph: ir.Graph, value: ir.Value) -> None:
    """Remove the node that made `value`, and then what it alone had read, as long as nothing reads them."""
    todo = [value]
    while todo:
        node = todo.pop().producer()
        if node is None or node.graph is None or any(out.uses() or out.is_graph_output() for out in node.outputs):
            continue
        todo.extend(operand for operand in node.inputs if operand is not None)
        graph.remove(node, safe=True)


def is_alive(value: ir.Value) -> bool:
    """Whether a node that is still in a graph makes `value`, and something reads it."""
    node = value.producer()
    return node is not None and node.graph is not None and (value.is_graph_output() or bool(value.uses()))
