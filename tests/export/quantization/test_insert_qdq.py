"""Insertion: which operators appear where, that they compute what the recipe says, and that nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator
from tensorrt_rules import breaks_rules
from tiny_encoder import MATMULS, Writer, operators, run, tiny_encoder, weight

from export.quantization.int8.groups import QuantGroup, find_groups, weights_of
from export.quantization.int8.insert_qdq import insert_recipes
from export.quantization.int8.ranges import Range, TokenRange, make_range, make_symmetric_range, make_token_range
from export.quantization.int8.recipe import Recipe, Scheme
from export.quantization.int8.smoothing import Smoothing
from export.quantization.integer_weights import round_nearest
from export.quantization.isa import ISAS


def recipe(model: ir.Model, group: QuantGroup, scheme: Scheme, limit: int = 127, zero_point: int = 128) -> Recipe:
    """A recipe with made-up numbers that lose little."""
    factors = np.linspace(0.7, 1.4, group.inputs).astype(np.float32)
    shift = np.linspace(-1, 2, group.inputs).astype(np.float32) if scheme is Scheme.SHIFTED else None
    smoothing = Smoothing(factors, shift) if scheme.smoothed else None
    weights = [one if smoothing is None else smoothing.of_weight(one) for one in weights_of(model, group)]
    activation: Range | TokenRange | None = make_range(-15.0, 20.0)
    if scheme is Scheme.FLOAT:
        activation = None
    elif scheme is Scheme.PER_TOKEN:
        activation = make_token_range(zero_point, -15.0)
    return Recipe(group, scheme, tuple(round_nearest(one, limit) for one in weights), activation, smoothing)


@cache
def inputs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    mask = np.ones((3, 11), np.int64)
    mask[1, 6:] = mask[2, 3:] = 0
    return {"input_ids": rng.integers(5, 40, (3, 11)), "attention_mask": mask}


def quantized(scheme: Scheme, isa: str = "avx512_vnni") -> tuple[ir.Model, ir.Model]:
    model = tiny_encoder(outlier=2.0)
    copy = model.clone()
    recipes = [recipe(model, group, scheme, limit=ISAS[isa].weight_limit) for group in find_groups(model)]
    insert_recipes(copy, recipes, ISAS[isa])
    return model, copy


@pytest.mark.parametrize("scheme", Scheme)
def test_the_operators_are_exactly_those_of_the_scheme(scheme: Scheme) -> None:
    model, copy = quantized(scheme)
    groups, added = len(find_groups(model)), operators(copy) - operators(model)
    assert groups == 4
    assert not operators(model) - operators(copy)
    expected = {
        Scheme.PLAIN: {"QuantizeLinear": 4, "DequantizeLinear": 4 + 6},
        Scheme.SMOOTHED: {"QuantizeLinear": 4, "DequantizeLinear": 10, "LayerNormalization": 2, "Mul": 2},
        Scheme.SHIFTED: {
            "QuantizeLinear": 4, "DequantizeLinear": 10, "LayerNormalization": 2, "Sub": 2, "Mul": 2
        },
        Scheme.PER_TOKEN: {
            "QuantizeLinear": 4, "DequantizeLinear": 10, "Abs": 4, "ReduceMax": 4, "Max": 4, "Div": 4, "Mul": 6
        },
        Scheme.FLOAT: {"Cast": 6, "Mul": 6},
    }  # fmt: skip
    assert dict(added) == expected[scheme]


@pytest.mark.parametrize("scheme", Scheme)
def test_only_inputs_of_weight_matmuls_are_quantized(scheme: Scheme) -> None:
    _, copy = quantized(scheme)
    for node in copy.graph:
        if node.op_type == "DequantizeLinear":
            readers = {user for user, _ in node.outputs[0].uses()}
            assert {reader.op_type for reader in readers} == {"MatMul"}
            assert {reader.name.partition("/")[0] for reader in readers} <= set(MATMULS)
        if node.name in ("scores/MatMul", "context/MatMul"):
            assert all(value.producer().op_type in ("Transpose", "Softmax") for value in node.inputs)


@pytest.mark.parametrize("scheme", Scheme)
def test_the_answers_stay_close(scheme: Scheme) -> None:
    model, copy = quantized(scheme)
    expected, actual = run(model, **inputs()), run(copy, **inputs())
    real = inputs()["attention_mask"] > 0
    for name in expected:
        assert expected[name].shape == actual[name].shape
    a, b = expected["last_hidden_state"][real], actual["last_hidden_state"][real]
    error = float(np.linalg.norm(a - b) / np.linalg.norm(a))
    assert 1e-5 < error < 0.15  # levels of a wide made-up range


@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize("isa", ["avx512_vnni", "avx2"])
def test_onnx_runtime_computes_what_the_operators_mean(scheme: Scheme, isa: str) -> None:
    _, copy = quantized(scheme, isa)
    feeds = inputs()
    proto = ir.to_proto(copy)
    proto.opset_import[0].version = 19  # the evaluator's oldest DequantizeLinear, of the same meaning
    reference = ReferenceEvaluator(proto).run(["last_hidden_state"], feeds)[0]
    # A value half way between two levels may go either way where its last digits differ.
    difference = np.abs(reference - run(copy, **feeds)["last_hidden_state"])
    assert np.median(difference) < 1e-5
    assert difference.max() < 0.1


@pytest.mark.parametrize("scheme", [Scheme.PLAIN, Scheme.SHIFTED, Scheme.PER_TOKEN])
def test_signed_and_unsigned_activations_compute_the_same(scheme: Scheme) -> None:
    feeds = inputs()
    unsigned, signed = (run(quantized(scheme, isa)[1], **feeds) for isa in ("avx512_vnni", "arm64"))
    np.testing.assert_allclose(unsigned["last_hidden_state"], signed["last_hidden_state"], atol=1e-4)


@pytest.mark.parametrize("scheme", [Scheme.PLAIN, Scheme.SMOOTHED, Scheme.SHIFTED, Scheme.PER_TOKEN])
def test_an_answer_does_not_depend_on_the_batch(scheme: Scheme) -> None:
    _, copy = quantized(scheme)
    feeds = inputs()
    together = run(copy, **feeds)["sentence_embedding"]
    for row in range(3):
        length = int(feeds["attention_mask"][row].sum())
        alone = run(copy, **{name: array[row : row + 1, :length] for name, array in feeds.items()})
        np.testing.assert_allclose(alone["sentence_embedding"][0], together[row], atol=1e-5)


def test_scales_of_weights_are_per_column_and_zero_points_are_zero() -> None:
    _, copy = quantized(Scheme.PLAIN)
    for name in MATMULS:
        node = next(node for node in copy.graph if node.name == f"{name}/MatMul")
        dequantize = node.inputs[1].producer()
        values, scales, zeros = (value.const_value.numpy() for value in dequantize.inputs)
        assert values.dtype == zeros.dtype == np.int8
        assert scales.shape == zeros.shape == (values.shape[1],)
        assert dequantize.attributes["axis"].as_int() == 1
        assert not zeros.any()
        np.testing.assert_allclose(values * scales, weight(tiny_encoder(outlier=2.0), f"{name}.weight"), atol=0.01)


def test_matmuls_of_one_input_share_its_quantization() -> None:
    _, copy = quantized(Scheme.SHIFTED)
    nodes = [node for node in copy.graph if node.name in ("query/MatMul", "key/MatMul", "value/MatMul")]
    assert len({node.inputs[0] for node in nodes}) == 1


def test_groups_without_a_recipe_stay_as_they_are() -> None:
    model = tiny_encoder()
    copy = model.clone()
    insert_recipes(copy, [recipe(model, find_groups(model)[2], Scheme.PLAIN)], ISAS["avx2"])
    assert dict(operators(copy) - operators(model)) == {"QuantizeLinear": 1, "DequantizeLinear": 2}


def dense(bias: bool, before: str | None = None) -> ir.Model:
    """y = MatMul(f(x), w) of x [n, 32], a graph's output, with a bias or without."""
    rng = np.random.default_rng(0)
    w = Writer()
    x = "x" if before is None else w.op(before, ["x"], "before")
    y = w.op("MatMul", [x, w.weight("w", rng.normal(size=(32, 24)))], "last/MatMul")
    if bias:
        w.op("Add", [y, w.weight("b", rng.normal(size=24))], "last/Add")
    w.nodes[-1].output[0] = "y"
    return w.model({"x": ["n", 32]}, {"y": ["n", 24]}, integers=False)


@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_that_is_an_output_keeps_its_name_and_its_bias(scheme: Scheme, bias: bool) -> None:
    """The shift of x goes into the bias where there is one, and becomes one where there is none."""
    model = dense(bias)
    copy = model.clone()
    insert_recipes(copy, [recipe(model, find_groups(model)[0], scheme)], ISAS["avx512_vnni"])
    x = np.random.default_rng(1).normal(size=(7, 32)).astype(np.float32)
    assert list(run(copy, x=x)) == ["y"]
    found, expected = run(copy, x=x)["y"], run(model, x=x)["y"]
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.06
    assert operators(copy)["Add"] + operators(copy)["Sum"] == int(bias or scheme is Scheme.SHIFTED)


@pytest.mark.parametrize(("zero_point", "before"), [(128, None), (24, "Relu")])
def test_a_per_token_scale_serves_tokens_of_any_size(zero_point: int, before: str | None) -> None:
    model = dense(True, before)
    copy = model.clone()
    made = recipe(model, find_groups(model)[0], Scheme.PER_TOKEN, zero_point=zero_point)
    insert_recipes(copy, [replace(made, activation=make_token_range(zero_point, -1e-3))], ISAS["avx512_vnni"])
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(9, 32)) * np.logspace(-1, 4, 9)[:, None]).astype(np.float32)
    x[4] = 0
    found, expected = run(copy, x=x)["y"], run(model, x=x)["y"]
    bias = weight(model, "b")
    errors = np.linalg.norm(found - expected, axis=1) / np.maximum(np.linalg.norm(expected - bias, axis=1), 1e-6)
    assert errors.max() < 0.02
    np.testing.assert_allclose(found[4], bias, rtol=1e-6)
    assert ("Abs" in operators(copy)) == (zero_point == 128)


def test_a_per_token_scale_in_an_older_opset() -> None:
    """ReduceMax took its axes as an attribute before opset 18."""
    model = dense(True)
    model.graph.opset_imports[""] = 17
    copy = model.clone()
    insert_recipes(copy, [recipe(model, find_groups(model)[0], Scheme.PER_TOKEN)], ISAS["avx512_vnni"])
    x = np.random.default_rng(1).normal(size=(7, 32)).astype(np.float32)
    np.testing.assert_allclose(run(copy, x=x)["y"], run(model, x=x)["y"], atol=0.5)


def test_smoothing_is_a_second_norm_and_the_first_stays_for_others() -> None:
    model, copy = quantized(Scheme.SHIFTED)
    before = {node.name: node for node in model.graph if node.op_type == "LayerNormalization"}
    after = {node.name: node for node in copy.graph if node.op_type == "LayerNormalization"}
    assert set(before) < set(after)
    for name in set(after) - set(before):
        first = next(
            node for node in after.values() if node is not after[name] and node.inputs[0] is after[name].inputs[0]
        )
        assert {user.op_type for user, _ in after[name].outputs[0].uses()} == {"QuantizeLinear"}
        assert {user.op_type for user, _ in first.outputs[0].uses()} == {"Add"}
        assert after[name].attributes["axis"].as_int() == first.attributes["axis"].as_int()
        scales = [node.inputs[1].const_value.numpy() for node in (first, after[name])]
        np.testing.assert_allclose(scales[0] / scales[1], np.linspace(0.7, 1.4, 32), rtol=1e-5)


def test_weights_of_a_float_group_are_int8_in_the_file_alone() -> None:
    _, copy = quantized(Scheme.FLOAT)
    assert not {"QuantizeLinear", "DequantizeLinear"} & set(operators(copy))
    node = next(node for node in copy.graph if node.name == "ffn1/MatMul")
    assert node.inputs[1].producer().op_type == "Mul"
    assert node.inputs[1].producer().inputs[0].producer().inputs[0].const_value.dtype == ir.DataType.INT8


# The rules of TensorRT.


def test_for_tensorrt_float_products_keep_float_weights() -> None:
    model, copy = quantized(Scheme.FLOAT, "tensorrt")
    assert operators(copy) == operators(model)


@pytest.mark.parametrize("scheme", [Scheme.PLAIN, Scheme.SMOOTHED, Scheme.SHIFTED, Scheme.PER_TOKEN])
def test_integers_for_tensorrt_are_symmetric_and_in_products_alone(scheme: Scheme) -> None:
    model = tiny_encoder(outlier=2.0)
    copy = model.clone()
    recipes = [recipe(model, group, scheme) for group in find_groups(model)]
    symmetric = make_symmetric_range(-15.0, 20.0)
    recipes = [one if scheme is Scheme.PER_TOKEN else replace(one, activation=symmetric) for one in recipes]
    insert_recipes(copy, recipes, ISAS["tensorrt"])
    assert breaks_rules(ir.to_proto(copy)) == []
    unsigned = model.clone()
    insert_recipes(unsigned, [replace(one, activation=make_range(-15.0, 20.0)) for one in recipes], ISAS["arm64"])
    assert any("zero point" in broken for broken in breaks_rules(ir.to_proto(unsigned)))
