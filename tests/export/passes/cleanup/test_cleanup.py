"""The clean-up of a traced graph: what each pass removes, and what it must leave alone."""

from __future__ import annotations

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

from export.passes.base import PassContext
from export.passes.graph.values import constant_array
from export.passes.table import PASSES

CONTEXT = PassContext(18)
FLOAT, INT64 = ir.DataType.FLOAT, ir.DataType.INT64


class Graph:
    """A graph written line by line."""

    def __init__(self) -> None:
        self.inputs: list[ir.Value] = []
        self.nodes: list[ir.Node] = []
        self.constants: list[ir.Value] = []

    def input(self, name: str, *shape: int | str, dtype: ir.DataType = FLOAT) -> ir.Value:
        value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))
        self.inputs.append(value)
        return value

    def constant(self, name: str, array: object) -> ir.Value:
        tensor = ir.tensor(np.asarray(array), name=name)
        value = ir.Value(name=name, shape=ir.Shape(tensor.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.constants.append(value)
        return value

    def node(
        self,
        operator: str,
        *inputs: ir.Value,
        shape: tuple[int | str, ...] | None = None,
        dtype: ir.DataType = FLOAT,
        **attributes: object,
    ) -> ir.Value:
        node = ir.node(operator, inputs, attributes=attributes or None, name=f"n{len(self.nodes)}")
        output = node.outputs[0]
        output.name, output.type = f"v{len(self.nodes)}", ir.TensorType(dtype)
        output.shape = None if shape is None else ir.Shape(shape)
        self.nodes.append(node)
        return output

    def model(self, *outputs: ir.Value) -> ir.Model:
        graph = ir.Graph(
            self.inputs, outputs, nodes=self.nodes, initializers=self.constants, opset_imports={"": 18}, name="g"
        )
        return ir.Model(graph, ir_version=8)


def _operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


# transpose_weights


def _linear(g: Graph, weight: ir.Value, x: ir.Value) -> ir.Value:
    return g.node("MatMul", x, g.node("Transpose", weight, perm=[1, 0]))


@pytest.mark.parametrize("rows", [2, 64, 129])
def test_a_weight_is_stored_transposed_under_its_name(rows: int) -> None:
    g, array = Graph(), np.arange(3 * rows, dtype=np.float32).reshape(rows, 3)
    model = g.model(_linear(g, g.constant("dense.weight", array), g.input("x", "b", 3)))
    assert PASSES["transpose_weights"](model, CONTEXT).count == 1
    assert _operators(model) == ["MatMul"]
    np.testing.assert_array_equal(constant_array(model.graph.initializers["dense.weight"]), array.T)


def test_a_weight_that_is_read_elsewhere_keeps_its_transpose() -> None:
    g, array = Graph(), np.ones((4, 3), np.float32)
    weight, ids = g.constant("embeddings.weight", array), g.input("ids", "b", dtype=INT64)
    model = g.model(_linear(g, weight, g.node("Gather", weight, ids)))
    outcome = PASSES["transpose_weights"](model, CONTEXT)
    assert outcome.count == 0
    assert "embeddings.weight is read elsewhere" in outcome.refusals[0].reason
    assert "Transpose" in _operators(model)


def test_layers_that_share_a_weight_read_one_that_is_transposed_once() -> None:
    g, array = Graph(), np.arange(9, dtype=np.float32).reshape(3, 3)
    weight = g.constant("dense.weight", array)
    model = g.model(_linear(g, weight, _linear(g, weight, g.input("x", "b", 3))))
    assert PASSES["transpose_weights"](model, CONTEXT).count == 1
    assert _operators(model) == ["MatMul", "MatMul"]
    np.testing.assert_array_equal(constant_array(model.graph.initializers["dense.weight"]), array.T)


def test_a_weight_that_is_read_both_ways_keeps_its_transpose() -> None:
    g, array = Graph(), np.ones((3, 3), np.float32)
    weight = g.constant("dense.weight", array)
    turned = g.node("Transpose", weight, perm=[0, 1])
    model = g.model(g.node("MatMul", _linear(g, weight, g.input("x", "b", 3)), turned))
    assert PASSES["transpose_weights"](model, CONTEXT).count == 0
    assert _operators(model).count("Transpose") == 2


def test_a_transpose_of_something_computed_stays() -> None:
    g = Graph()
    model = g.model(g.node("Transpose", g.input("x", "b", 3), perm=[1, 0]))
    assert PASSES["transpose_weights"](model, CONTEXT).count == 0
    assert _operators(model) == ["Transpose"]


# simplify_shapes


def _reshape(g: Graph, x: ir.Value, result: tuple[int | str, ...]) -> ir.Value:
    return g.node("Reshape", x, g.node("Shape", x, dtype=INT64, shape=(3,)), shape=result)


@pytest.mark.parametrize(
    ("source", "result", "expected"),
    [
        (("b", "s", 32), ("b", "s", 4, 8), [0, 0, 4, 8]),
        (("b", "s", 4, 8), ("b", "s", 32), [0, 0, 32]),
        (("b", "s"), ("b * s",), [-1]),
        ((2, "s", 32), (2, "s", 4, 8), [2, 0, 4, 8]),
    ],
)
def test_a_shape_that_the_axis_names_prove_becomes_constant(
    source: tuple[int | str, ...], result: tuple[int | str, ...], expected: list[int]
) -> None:
    g = Graph()
    model = g.model(_reshape(g, g.input("x", *source), result))
    assert PASSES["simplify_shapes"](model, CONTEXT).count == 1
    node = next(node for node in model.graph if node.op_type == "Reshape")
    shape = constant_array(node.inputs[1])
    assert shape is not None
    assert shape.tolist() == expected


@pytest.mark.parametrize(
    ("source", "result"),
    [
        (("b * c", "s", 8), ("b", "c", "s", 8)),  # two unknown axes
        (("s", "b", 8), ("b", "s", 8)),  # the same names in other places
        (("b", "s"), (0, "s")),  # 0 would mean: copy
    ],
)
def test_a_shape_that_they_do_not_prove_stays_computed(
    source: tuple[int | str, ...], result: tuple[int | str, ...]
) -> None:
    g = Graph()
    model = g.model(_reshape(g, g.input("x", *source), result))
    outcome = PASSES["simplify_shapes"](model, CONTEXT)
    assert outcome.count == 0
    assert len(outcome.refusals) == 1


def test_unnamed_axes_prove_nothing() -> None:
    g = Graph()
    x = g.input("x", "b", "s", 32)
    x.shape = ir.Shape([None, None, 32])
    model = g.model(_reshape(g, x, ("b", "s", 4, 8)))
    assert PASSES["simplify_shapes"](model, CONTEXT).count == 0


def test_a_squeezed_axis_that_is_made_a_vector_again_is_the_vector() -> None:
    g = Graph()
    x = g.input("x", "b", "s")
    length = g.node("Shape", x, dtype=INT64, start=1, end=2)
    scalar = g.node("Squeeze", length, dtype=INT64, shape=())
    again = g.node("Reshape", scalar, g.constant("c0", np.array([-1])), dtype=INT64, shape=(1,))
    model = g.model(g.node("Identity", again, dtype=INT64))
    assert PASSES["simplify_shapes"](model, CONTEXT).count == 1
    assert next(node for node in model.graph if node.op_type == "Identity").inputs[0] is length


def test_a_squeezed_shape_of_two_axes_is_left_alone() -> None:
    g = Graph()
    x = g.input("x", "b", "s")
    both = g.node("Shape", x, dtype=INT64)
    squeezed = g.node("Squeeze", both, dtype=INT64)
    model = g.model(g.node("Reshape", squeezed, g.constant("c0", np.array([-1])), dtype=INT64))
    assert PASSES["simplify_shapes"](model, CONTEXT).count == 0


# simplify


def test_idle_casts_slices_and_repeated_nodes_go() -> None:
    g = Graph()
    x = g.input("x", "b", 3)
    whole = g.node(
        "Slice",
        x,
        g.constant("c0", [0]),
        g.constant("c1", [np.iinfo(np.int64).max]),
        g.constant("c2", [1]),
        g.constant("c3", [1]),
    )
    same = g.node("Cast", whole, to=FLOAT)
    left, right = g.node("Sqrt", same), g.node("Sqrt", same)
    model = g.model(g.node("Add", left, right))
    assert PASSES["simplify"](model, CONTEXT).count == 3
    assert _operators(model) == ["Sqrt", "Add"]


def test_casts_and_slices_that_do_something_stay() -> None:
    g = Graph()
    x = g.input("x", "b", 3, dtype=INT64)
    end, axis = g.constant("end", [np.iinfo(np.int64).max]), g.constant("axis", [1])
    later = g.node("Slice", x, g.constant("one", [1]), end, axis, dtype=INT64)
    zero, two = g.constant("zero", [0]), g.constant("two", [2])
    every_second = g.node("Slice", later, zero, end, axis, two, dtype=INT64)
    model = g.model(g.node("Cast", every_second, to=FLOAT))
    assert PASSES["simplify"](model, CONTEXT).count == 0
    assert _operators(model) == ["Slice", "Slice", "Cast"]


def test_an_output_of_the_graph_keeps_its_node() -> None:
    g = Graph()
    x = g.input("x", "b", 3)
    model = g.model(g.node("Cast", x, to=FLOAT))
    PASSES["simplify"](model, CONTEXT)
    assert _operators(model) == ["Cast"]


# finish


def test_equal_graphs_get_equal_names_whatever_they_were_called() -> None:
    def build(prefix: str) -> bytes:
        g = Graph()
        x = g.input("x", "b", 3)
        half = g.constant(f"{prefix}half", np.float32(0.5))
        other = g.constant(f"{prefix}other", np.float32(0.5))
        y = g.node("Add", g.node("Mul", x, half), g.node("Mul", x, other))
        y.name = "y"
        for node in g.nodes:
            node.name = node.op_type
        for node in g.nodes[:-1]:
            node.outputs[0].name = f"{prefix}{id(node)}"
        model = g.model(y)
        PASSES["finish"](model, CONTEXT)
        return ir.to_proto(model).SerializeToString(deterministic=True)

    assert build("a") == build("zz")


def test_parameters_and_ports_keep_their_names() -> None:
    g = Graph()
    bias = g.constant("encoder.layer.0.bias", np.ones(3, np.float32))
    model = g.model(g.node("Add", g.input("x", "b", 3), bias))
    model.graph.outputs[0].name = "y"
    PASSES["finish"](model, CONTEXT)
    assert list(model.graph.initializers) == ["encoder.layer.0.bias"]
    assert [value.name for value in model.graph.outputs] == ["y"]


def test_folding_that_writes_more_nodes_than_it_takes_away_counts_none() -> None:
    model = ir.from_proto(
        onnx.parser.parse_model("""
            <ir_version: 8, opset_import: ["" : 18]>
            halves (float[2, 4, 3] x) => (float a, float b) <int64 one = {1}, int64 zero = {0}> {
                sequence = SplitToSequence <axis = 0, keepdims = 0> (x, one)
                a = SequenceAt (sequence, zero)
                b = SequenceAt (sequence, one)
            }
        """)
    )
    before = model.graph.num_nodes()
    outcome = PASSES["fold_constants"](model, CONTEXT)
    assert model.graph.num_nodes() > before
    assert outcome.count == 0
