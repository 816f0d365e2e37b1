"""Groups: what is quantized, what never is, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from tiny_encoder import MATMULS, Writer, set_weight, tiny_encoder, weight

from bert_onnx.errors import CheckpointError, UsageError
from export.quantization.int8.groups import find_groups, weights_of
from export.quantization.int8.recipe import Recipe, Scheme
from export.quantization.int8.sensitivity import next_scheme, schemes_of


def test_every_weight_matmul_is_found_and_those_of_one_input_are_together() -> None:
    model = tiny_encoder()
    groups = find_groups(model)
    assert [group.nodes for group in groups] == [
        ("query/MatMul", "key/MatMul", "value/MatMul"),
        ("output/MatMul",),
        ("ffn1/MatMul",),
        ("ffn2/MatMul",),
    ]
    assert [(group.inputs, group.outputs) for group in groups] == [(32, 96), (32, 32), (32, 64), (64, 32)]
    assert sum(len(group.nodes) for group in groups) == len(MATMULS)


def test_weights_come_in_the_order_of_the_nodes() -> None:
    model = tiny_encoder()
    weights = weights_of(model, find_groups(model)[0])
    for name, found in zip(("query", "key", "value"), weights, strict=True):
        np.testing.assert_array_equal(found, weight(model, f"{name}.weight"))


def test_products_of_two_activations_are_no_groups() -> None:
    names = {name for group in find_groups(tiny_encoder()) for name in group.nodes}
    assert not names & {"scores/MatMul", "context/MatMul"}


@pytest.mark.parametrize(("columns", "found"), [(15, False), (16, True)])
def test_narrow_heads_stay_float(columns: int, found: bool) -> None:
    w = Writer()
    y = w.op("MatMul", ["x", w.weight("w", np.ones((8, 32)))], "wide/MatMul")
    w.op("MatMul", [y, w.weight("head", np.ones((32, columns)))], "head/MatMul")
    w.nodes[-1].output[0] = "y"
    groups = find_groups(w.model({"x": ["n", 8]}, {"y": ["n", columns]}, integers=False))
    assert [group.name for group in groups] == ["wide/MatMul", "head/MatMul"][: 1 + found]


def test_a_stack_of_weights_is_no_group() -> None:
    w = Writer()
    y = w.op("MatMul", ["x", w.weight("w", np.ones((2, 8, 32)))], "stack/MatMul")
    w.op("MatMul", [y, w.weight("v", np.ones((32, 32)))], "flat/MatMul")
    w.nodes[-1].output[0] = "y"
    groups = find_groups(w.model({"x": [2, "n", 8]}, {"y": [2, "n", 32]}, integers=False))
    assert [group.name for group in groups] == ["flat/MatMul"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(value: float) -> None:
    model = tiny_encoder()
    array = weight(model, "ffn1.weight")
    array[3, 7] = value
    set_weight(model, "ffn1.weight", array)
    with pytest.raises(CheckpointError, match=r"ffn1.weight\[3, 7\] is (nan|inf|-inf); such weights"):
        find_groups(model)


def test_a_quantized_graph_is_refused() -> None:
    w = Writer()
    scale = w.weight("s", np.array(0.1))
    y = w.op("QuantizeLinear", ["x", scale, w.weight("z", np.array(0, np.uint8))], "here/QuantizeLinear")
    w.op("DequantizeLinear", [y, scale, "z"], "there/DequantizeLinear")
    w.nodes[-1].output[0] = "y"
    with pytest.raises(UsageError, match="already quantized: here/QuantizeLinear is a QuantizeLinear"):
        find_groups(w.model({"x": ["n", 8]}, {"y": ["n", 8]}, integers=False))


def test_a_graph_without_weights_is_refused() -> None:
    w = Writer()
    w.op("Relu", ["x"], "relu")
    w.nodes[-1].output[0] = "y"
    with pytest.raises(UsageError, match="nothing to quantize"):
        find_groups(w.model({"x": ["n", 8]}, {"y": ["n", 8]}, integers=False))


def test_schemes_end_in_float_and_what_narrows_is_not_smoothed() -> None:
    projections, context, wide, narrow = find_groups(tiny_encoder())
    for group in (projections, wide):
        assert schemes_of(group) == (Scheme.PLAIN, Scheme.SHIFTED, Scheme.FLOAT)
    assert schemes_of(context) == (Scheme.PLAIN, Scheme.SMOOTHED, Scheme.PER_TOKEN, Scheme.FLOAT)
    assert schemes_of(narrow) == (Scheme.PLAIN, Scheme.PER_TOKEN, Scheme.FLOAT)


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [(Scheme.PLAIN, Scheme.SMOOTHED), (Scheme.PER_TOKEN, Scheme.FLOAT), (Scheme.FLOAT, None)],
)
def test_the_next_scheme_is_the_next_more_exact_one(scheme: Scheme, expected: Scheme | None) -> None:
    context = find_groups(tiny_encoder())[1]
    assert next_scheme(Recipe(context, scheme, ())) is expected


def normed(**changes: Any) -> ir.Model:
    """MatMul(LayerNormalization(x), w), with other attributes, or with a scale that is an input."""
    w = Writer()
    parts = ["x", "scale" if changes.pop("computed", False) else w.weight("g", np.ones(32))]
    parts += [] if changes.pop("unbiased", False) else [w.weight("b", np.ones(32))]
    y = w.op("LayerNormalization", parts, "norm", axis=changes.pop("axis", -1))
    w.op("MatMul", [y, w.weight("w", np.ones((32, 24)))], "dense/MatMul")
    w.nodes[-1].output[0] = "y"
    return w.model({"x": ["n", 5, 32], "scale": [32]}, {"y": ["n", 5, 24]}, integers=False)


@pytest.mark.parametrize(
    ("changes", "normalized"),
    [({}, True), ({"axis": 2}, True), ({"axis": 1}, False), ({"unbiased": True}, False), ({"computed": True}, False)],
)
def test_only_a_norm_of_the_last_axis_with_constants_can_be_made_twice(changes: dict, normalized: bool) -> None:
    (group,) = find_groups(normed(**changes))
    assert group.normalized is normalized
