"""Writes nodes so that the code reads like the formula: `op.Add(op.MatMul(x, weight), bias)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from export.passes.graph.axes import width_of
from export.passes.graph.values import add_constant, constant_array, is_operator

#: ONNX Runtime's own operators. All that are used here exist in its version 1.
MICROSOFT = "com.microsoft"

Attributes = Mapping[str, Any]

#: Operators whose result has a type of its own.
_RESULTS = {
    **dict.fromkeys(
        ("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or"), ir.DataType.BOOL
    ),
    **dict.fromkeys(("ArgMax", "NonZero", "Shape", "Size"), ir.DataType.INT64),
}
#: Operators whose result has the type of another input than the first.
_TYPED_BY = {"Where": 1, "DequantizeLinear": 1, "QuantizeLinear": 2}


class Writer:
    """Writes nodes and constants into `graph`.

    Each operator of ai.onnx is a method: `op.Concat(a, b, axis=0)` takes the inputs, has attributes as keywords, and
    returns the only output of the new node. Keywords that begin with _ are no attributes:

        _domain: the operator's.
        _scope: path of the module that the node is named after, where it is not the writer's.
        _dtype: the element type of the output, where it is not that of the first input and ai.onnx does not say it.

    Args:
        graph: where nodes and constants go.
        scope: path of the module that nodes are named after: `encoder/layer.0/output` gives `.../output/Add`.
        before: the node that new nodes precede; None: they go to the end, and the caller sorts the graph.
    """

    def __init__(self, graph: ir.Graph, scope: str, before: ir.Node | None = None) -> None:
        self.graph = graph
        self.scope = scope
        self.before = before

    def __getattr__(self, operator: str) -> Callable[..., ir.Value]:
        if not operator[0].isupper():
            raise AttributeError(operator)

        def write(
            *inputs: ir.Value | None,
            _domain: str = "",
            _scope: str | None = None,
            _dtype: ir.DataType | None = None,
            **attributes: Any,
        ) -> ir.Value:
            return self.node(operator, inputs, attributes, (_dtype,), _domain, _scope)[0]

        return write

    def node(
        self,
        operator: str,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes,
        dtypes: Sequence[ir.DataType | None],
        domain: str = "",
        scope: str | None = None,
    ) -> Sequence[ir.Value]:
        """The outputs of a new node, one for each of `dtypes`; None: the type that an output of `operator` has.

        Inputs that are absent at the end are dropped.
        """
        given = list(inputs)
        while given and given[-1] is None:
            given.pop()
        scope = self.scope if scope is None else scope
        attributes = {name: int(one) if isinstance(one, ir.DataType) else one for name, one in attributes.items()}
        node = ir.node(
            operator,
            given,
            attributes,
            domain=domain,
            num_outputs=len(dtypes),
            name=f"{scope}/{operator}" if scope else operator,
        )
        for output, dtype in zip(node.outputs, dtypes, strict=True):
            dtype = dtype or _result_type(operator, given, attributes)
            output.type = None if dtype is None else ir.TensorType(dtype)
        self._name(node)
        if self.before is None:
            self.graph.append(node)
        else:
            self.graph.insert_before(self.before, node)
        return node.outputs

    def _name(self, node: ir.Node) -> None:
        """For writers that name nodes and values in another way."""

    def constant(self, name: str, array: np.ndarray) -> ir.Value:
        """A new initializer."""
        return add_constant(self.graph, name, array)

    def number(self, number: int, name: str = "number") -> ir.Value:
        """A new int64 scalar."""
        return self.constant(name, np.array(number, np.int64))

    def integers(self, numbers: Sequence[int], name: str = "integers") -> ir.Value:
        """A new int64 vector."""
        return self.constant(name, np.array(numbers, np.int64))


def write_before(node: ir.Node, scope: str | None = None) -> Writer:
    """A writer of nodes before `node`, named after its module, or `scope`."""
    assert isinstance(node.graph, ir.Graph)
    return Writer(node.graph, scope_of(node) if scope is None else scope, node)


def _result_type(operator: str, inputs: Sequence[ir.Value | None], attributes: Attributes) -> ir.DataType | None:
    """The element type of what an operator returns; None where it is not known."""
    if operator == "Cast":
        return ir.DataType(attributes["to"])
    if operator in _RESULTS:
        return _RESULTS[operator]
    if operator in _TYPED_BY:
        inputs = inputs[_TYPED_BY[operator] :]
    return next((value.dtype for value in inputs if value is not None), None)


def scope_of(node: ir.Node | None) -> str:
    """`encoder/layer.0/output` of a node `encoder/layer.0/output/Add`; nothing where there is no node."""
    return ((node.name if node is not None else "") or "").rpartition("/")[0]


def replace_value(old: ir.Value, new: ir.Value) -> None:
    """Let `new` stand wherever `old` did, also among the graph's outputs, whose names, types and axes stay.

    Elsewhere it keeps the type and the shape that it has; it inherits those that it has not.
    """
    returned = old.is_graph_output()
    if new.shape is None or (returned and old.shape is not None):
        new.shape = old.shape
    if new.type is None or (returned and old.type is not None):
        new.type = old.type
    if returned:
        new.name, old.name = old.name, f"{old.name}_replaced"
    old.replace_all_uses_with(new, replace_graph_outputs=True)


def replace_node(node: ir.Node, *results: ir.Value | None) -> None:
    """Put `results` in the place of the outputs of `node`, as far as anything needs those, and remove it."""
    for position, (old, new) in enumerate(zip(node.outputs, results, strict=False)):
        if new is not None and is_needed(node, position):
            replace_value(old, new)
    assert node.graph is not None
    node.graph.remove(node, safe=True)


def is_needed(node: ir.Node, position: int) -> bool:
    """Whether output number `position` of `node` is there and anything reads it."""
    if position >= len(node.outputs):
        return False
    output = node.outputs[position]
    return bool(output.uses()) or output.is_graph_output()


def optional_input(node: ir.Node, position: int) -> ir.Value | None:
    """Input number `position` of `node`, None where it is absent."""
    return node.inputs[position] if position < len(node.inputs) else None


def sole_producer(value: ir.Value | None, operator: str) -> ir.Node | str:
    """The node of `operator` that makes `value` for one reader alone, or the reason why there is none."""
    node = value.producer() if value is not None else None
    if value is None or not is_operator(node, operator) or node is None:
        return f"no {operator} comes before it"
    if value.is_graph_output():
        return f"{value.name}, between the two, is an output of the graph"
    if len(value.uses()) > 1:
        readers = ", ".join(sorted({user.name or user.op_type for user, _ in value.uses()}))
        return f"{value.name}, between the two, has several readers: {readers}"
    return node


def split_bias(add: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """x and b of Add(x, b) or Add(b, x), where b is a constant vector as long as the last axis of x."""
    for x, bias in (add.inputs, add.inputs[::-1]):
        if x is None or bias is None or constant_array(x) is not None:
            continue
        vector = bias.const_value
        if vector is not None and len(vector.shape) == 1 and width_of(x) == int(vector.shape.numpy()[0]):
            return x, bias
    return None


def use_microsoft(model: ir.Model) -> None:
    """Declare com.microsoft where the graph has one of its operators."""
    if any(node.domain == MICROSOFT for node in model.graph):
        model.graph.opset_imports[MICROSOFT] = 1
