"""The writer of nodes: names, types, absent inputs; and what takes another value's place."""

from __future__ import annotations

import onnx_ir as ir
import pytest
from builders import INT64, GraphBuilder

from export.passes.graph.writer import MICROSOFT, Writer, replace_node, replace_value, write_before

FLOAT16, BOOL, UINT8 = ir.DataType.FLOAT16, ir.DataType.BOOL, ir.DataType.UINT8


def small() -> tuple[ir.Model, ir.Node]:
    """y = Relu(x), and Relu."""
    build = GraphBuilder()
    model = build.model({"y": build.op("Relu", [build.input("x", ["n", 4])], shape=["n", 4])})
    node = model.graph[0]
    node.name = "encoder/layer.0/Relu"
    return model, node


def test_a_call_is_a_node_before_its_place_named_after_its_module() -> None:
    model, relu = small()
    op = write_before(relu)
    total = op.Add(relu.inputs[0], op.integers([1, 2], "ones"))
    joined = op.Concat(total, total, axis=-1, _scope="head", _domain=MICROSOFT)
    assert [node.name for node in model.graph] == ["encoder/layer.0/Add", "head/Concat", "encoder/layer.0/Relu"]
    concat = joined.producer()
    assert concat is not None
    assert (concat.domain, concat.attributes["axis"].as_int()) == (MICROSOFT, -1)
    assert model.graph.initializers["ones"].dtype == INT64


def test_without_a_place_nodes_go_to_the_end() -> None:
    model, relu = small()
    Writer(model.graph, "").Neg(relu.outputs[0])
    assert [node.name for node in model.graph] == ["encoder/layer.0/Relu", "Neg"]


def test_absent_inputs_are_dropped_at_the_end_and_only_there() -> None:
    _, relu = small()
    x = relu.inputs[0]
    node = write_before(relu).Clip(x, None, x, None, None).producer()
    assert node is not None
    assert list(node.inputs) == [x, None, x]


def test_types_of_results() -> None:
    _, relu = small()
    op, x = write_before(relu), relu.inputs[0]
    half, integers = op.Cast(x, to=FLOAT16), op.integers([1])
    assert half.dtype == FLOAT16
    assert half.producer().attributes["to"].as_int() == int(FLOAT16)  # type: ignore[union-attr]
    assert op.Neg(half).dtype == FLOAT16
    same = op.Equal(x, x)
    assert (same.dtype, op.Shape(x).dtype) == (BOOL, INT64)
    assert op.Where(same, integers, integers).dtype == INT64
    levels = op.QuantizeLinear(x, x, op.Cast(x, to=UINT8))
    assert (levels.dtype, op.DequantizeLinear(levels, half).dtype) == (UINT8, FLOAT16)
    assert op.MatMulInteger(levels, levels, _dtype=ir.DataType.INT32).dtype == ir.DataType.INT32
    best, places = op.node("TopK", [x, integers], {}, (None, INT64))
    assert (best.dtype, places.dtype) == (ir.DataType.FLOAT, INT64)


def test_what_is_no_operator_is_no_method() -> None:
    _, relu = small()
    with pytest.raises(AttributeError):
        write_before(relu).gragh  # noqa: B018


def test_what_replaces_an_output_takes_its_name_and_axes() -> None:
    model, relu = small()
    new = write_before(relu).Sigmoid(relu.inputs[0])
    replace_node(relu, new)
    assert model.graph.outputs == [new]
    assert (new.name, str(new.shape)) == ("y", "[n,4]")
    assert model.graph.num_nodes() == 1


def test_what_replaces_an_inner_value_keeps_the_shape_that_it_has() -> None:
    model, relu = small()
    op, x = write_before(relu), relu.inputs[0]
    first, second, third = op.Neg(x), op.Abs(x), op.Sign(x)
    first.shape, second.shape = ir.Shape([2, 4]), ir.Shape([3, 4])
    relu.replace_input_with(0, first)
    replace_value(first, second)
    assert (relu.inputs[0], str(second.shape)) == (second, "[3,4]")
    replace_value(second, third)
    assert (relu.inputs[0], str(third.shape)) == (third, "[3,4]")
    assert model.graph.outputs[0].name == "y"


def test_results_that_nothing_reads_are_left_out() -> None:
    build = GraphBuilder()
    x = build.input("x", [4])
    model = build.model({"y": build.op("Relu", [x])})
    split = ir.node("Split", [x], {"num_outputs": 2}, num_outputs=2, name="Split")
    model.graph.insert_before(model.graph[0], split)
    model.graph[1].replace_input_with(0, split.outputs[1])
    unread, read = write_before(split).Neg(x), write_before(split).Abs(x)
    replace_node(split, unread, read)
    assert model.graph[2].inputs[0] is read
    assert not unread.uses()
