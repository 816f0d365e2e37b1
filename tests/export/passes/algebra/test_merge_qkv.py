"""merge_qkv: one product for queries, keys and values of one input."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders import AXES, WIDTH, AttentionLayer, assert_close, layer_feeds, normal, operators, run

from export.passes.algebra.merge_qkv import merge_qkv
from export.passes.base import PassContext
from export.passes.lowering.plain import lower_plain

CONTEXT = PassContext(18)
NAME = "encoder.layer.0.attention.self"


def answers(model: ir.Model) -> dict[str, np.ndarray]:
    copy = model.clone()
    lower_plain(copy, CONTEXT)
    return run(copy, layer_feeds(model))


def check(layer: AttentionLayer, products: int, **outputs: ir.Value) -> ir.Model:
    """Fires once, leaves `products` MatMul nodes and the same answers."""
    model = layer.model(**outputs)
    expected = answers(model)
    outcome = merge_qkv(model, CONTEXT)
    assert (outcome.count, outcome.refusals) == (1, ())
    assert operators(model)["MatMul"] == products
    assert operators(model)["Split"] == 1
    for name, array in answers(model).items():
        assert_close(array, expected[name], 1e-6)
    return model


@pytest.mark.parametrize("biased", ["qkvo", "qko", "qo", "o"])
def test_self_attention(biased: str) -> None:
    model = check(AttentionLayer(biased), products=2)
    assert operators(model)["Add"] == (1 if biased == "o" else 2)
    weights = model.graph.initializers
    assert list(weights[f"{NAME}.qkv.weight"].shape) == [WIDTH, 72]
    assert f"{NAME}.query.weight" not in weights
    assert (f"{NAME}.qkv.bias" in weights) == (biased != "o")


def test_pruned_heads() -> None:
    model = check(AttentionLayer(heads=2), products=2)
    assert list(model.graph.initializers[f"{NAME}.qkv.weight"].shape) == [WIDTH, 48]


def test_a_cache() -> None:
    layer = AttentionLayer(cached=True, outputs=3)
    outputs = {"present_key": layer.attention.outputs[1], "present_value": layer.attention.outputs[2]}
    check(layer, products=2, **outputs)


def test_cross_attention_merges_keys_and_values() -> None:
    model = check(AttentionLayer(memory=True), products=3)
    assert list(model.graph.initializers[f"{NAME}.kv.weight"].shape) == [WIDTH, 48]
    assert f"{NAME}.query.weight" in model.graph.initializers


def test_axes_and_names_are_kept() -> None:
    model = check(AttentionLayer(), products=2)
    split = next(node for node in model.graph if node.op_type == "Split")
    assert [str(value.shape) for value in split.outputs] == [f"[{AXES[0]},{AXES[1]},{WIDTH}]"] * 3
    assert split.name == "encoder/layer.0/attention/self/qkv/Split"


def test_keys_that_are_read_elsewhere_are_still_there() -> None:
    layer = AttentionLayer()
    check(layer, products=2, keys=layer.projections["k"])


def refused(layer: AttentionLayer, reason: str, **outputs: ir.Value) -> None:
    model = layer.model(**outputs)
    nodes = model.graph.num_nodes()
    outcome = merge_qkv(model, CONTEXT)
    assert outcome.count == 0
    assert reason in outcome.refusals[0].reason
    assert model.graph.num_nodes() == nodes


def test_not_where_keys_and_values_come_from_different_inputs() -> None:
    layer = AttentionLayer()
    other = layer.build.input("other", [*AXES, WIDTH])
    product = layer.projections["v"].producer().inputs[0].producer()  # type: ignore[union-attr]
    product.replace_input_with(0, other)  # type: ignore[union-attr]
    refused(layer, "different inputs")


def test_not_where_a_product_is_read_without_its_bias() -> None:
    layer = AttentionLayer()
    product = layer.projections["k"].producer().inputs[0]  # type: ignore[union-attr]
    refused(layer, "read elsewhere", product=product)


def test_not_where_a_weight_is_shared() -> None:
    layer = AttentionLayer()
    weight = layer.build.graph.initializers[f"{NAME}.value.weight"]
    refused(layer, "read elsewhere", other=layer.build.op("MatMul", [layer.x, weight], shape=[*AXES, WIDTH]))


def test_not_where_a_weight_is_computed() -> None:
    layer = AttentionLayer(biased="o")
    weight = layer.build.input("weight", [WIDTH, WIDTH])
    layer.projections["q"].producer().replace_input_with(1, weight)  # type: ignore[union-attr]
    refused(layer, "linear layer")


def test_not_where_keys_are_also_the_values() -> None:
    layer = AttentionLayer()
    layer.attention.replace_input_with(2, layer.projections["k"])
    refused(layer, "the same")


def test_not_where_the_queries_are_scaled() -> None:
    layer = AttentionLayer()
    factor = layer.build.weight("factor", normal(1))
    scaled = ir.node("Mul", [layer.projections["q"], factor])
    layer.build.graph.insert_before(layer.attention, scaled)
    layer.attention.replace_input_with(0, scaled.outputs[0])
    refused(layer, "linear layer")
