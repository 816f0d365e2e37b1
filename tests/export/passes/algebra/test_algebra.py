"""drop_key_bias, fold_value_bias, fold_scale, fold_token_type: fewer nodes, the same numbers up to rounding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from builders import (
    AXES,
    INT64,
    SCALE,
    WIDTH,
    AttentionLayer,
    GraphBuilder,
    assert_close,
    layer_feeds,
    normal,
    operators,
    run,
)

from export.passes.algebra.drop_key_bias import drop_key_bias
from export.passes.algebra.fold_scale import fold_scale
from export.passes.algebra.fold_token_type import fold_token_type
from export.passes.algebra.fold_value_bias import fold_value_bias
from export.passes.base import Pass, PassContext, PassOutcome
from export.passes.lowering.plain import lower_plain

CONTEXT = PassContext(18)
NAME = "encoder.layer.0.attention"


def answers(model: ir.Model) -> dict[str, np.ndarray]:
    copy = model.clone()
    lower_plain(copy, CONTEXT)
    return run(copy, layer_feeds(model))


def check(apply: Pass, layer: AttentionLayer, adds: int, **outputs: ir.Value) -> ir.Model:
    """Fires once, leaves `adds` Add nodes and the same answers."""
    model = layer.model(**outputs)
    expected = answers(model)
    outcome = apply(model, CONTEXT)
    assert (outcome.count, outcome.refusals) == (1, ())
    assert operators(model)["Add"] == adds
    for name, array in answers(model).items():
        assert_close(array, expected[name], 5e-6)
    return model


def refuse(apply: Pass, layer: AttentionLayer, reason: str, **outputs: ir.Value) -> None:
    """Does not fire, says why, and changes nothing."""
    model = layer.model(**outputs)
    nodes, weights = model.graph.num_nodes(), set(model.graph.initializers)
    outcome = apply(model, CONTEXT)
    assert outcome.count == 0
    assert reason in outcome.refusals[0].reason
    assert (model.graph.num_nodes(), set(model.graph.initializers)) == (nodes, weights)


def cached(layer: AttentionLayer) -> dict[str, ir.Value]:
    return {"present_key": layer.attention.outputs[1], "present_value": layer.attention.outputs[2]}


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_bias_of_the_keys_cancels(memory: bool, masked: bool) -> None:
    model = check(drop_key_bias, AttentionLayer(memory=memory, masked=masked), adds=3)
    assert f"{NAME}.self.key.bias" not in model.graph.initializers


def test_the_bias_of_the_keys_cancels_in_probabilities() -> None:
    layer = AttentionLayer(outputs=4)
    check(drop_key_bias, layer, adds=3, probabilities=layer.attention.outputs[3])


def test_the_bias_of_the_keys_stays_with_a_cache() -> None:
    layer = AttentionLayer(cached=True, outputs=3)
    refuse(drop_key_bias, layer, "cache", **cached(layer))
    refuse(drop_key_bias, AttentionLayer(cached=True), "cache")
    layer = AttentionLayer(outputs=3)
    refuse(drop_key_bias, layer, "cache", present_key=layer.attention.outputs[1])


def test_the_bias_of_the_keys_stays_where_they_are_read_elsewhere() -> None:
    layer = AttentionLayer()
    refuse(drop_key_bias, layer, "read elsewhere", keys=layer.projections["k"])


def test_no_bias_of_the_keys_is_no_refusal() -> None:
    assert drop_key_bias(AttentionLayer("qvo").model(), CONTEXT) == PassOutcome(0)


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("heads", [3, 2])
def test_the_bias_of_the_values_is_folded(memory: bool, heads: int) -> None:
    model = check(fold_value_bias, AttentionLayer(memory=memory, heads=heads), adds=3)
    assert f"{NAME}.self.value.bias" not in model.graph.initializers
    assert f"{NAME}.output.dense.bias" in model.graph.initializers


def test_the_bias_of_the_values_is_folded_beside_probabilities() -> None:
    layer = AttentionLayer(outputs=4)
    check(fold_value_bias, layer, adds=3, probabilities=layer.attention.outputs[3])


def test_the_bias_of_the_values_stays_with_a_cache() -> None:
    layer = AttentionLayer(cached=True, outputs=3)
    refuse(fold_value_bias, layer, "cache", **cached(layer))
    refuse(fold_value_bias, AttentionLayer(cached=True), "cache")


def test_the_bias_of_the_values_stays_where_they_or_the_context_are_read_elsewhere() -> None:
    layer = AttentionLayer()
    refuse(fold_value_bias, layer, "read elsewhere", values=layer.projections["v"])
    layer = AttentionLayer()
    refuse(fold_value_bias, layer, "context", context=layer.context)


def test_the_bias_of_the_values_stays_where_the_output_has_none() -> None:
    refuse(fold_value_bias, AttentionLayer("qkv"), "output projection")


def test_the_bias_of_the_values_stays_where_something_else_follows() -> None:
    layer = AttentionLayer()
    layer.y = layer.build.op("Relu", [layer.context], shape=[*AXES, WIDTH])
    model = layer.model()
    outcome = fold_value_bias(model, CONTEXT)
    assert outcome.count == 0
    assert "context" in outcome.refusals[0].reason


def test_the_bias_of_the_values_stays_where_the_output_bias_is_shared() -> None:
    layer = AttentionLayer()
    bias = layer.build.graph.initializers[f"{NAME}.output.dense.bias"]
    other = layer.build.op("Add", [layer.x, bias], shape=[*AXES, WIDTH])
    refuse(fold_value_bias, layer, "read elsewhere", other=other)


@pytest.mark.parametrize("biased", ["qkvo", "kvo"])
def test_the_scale_is_folded(biased: str) -> None:
    model = check(fold_scale, AttentionLayer(biased), adds=len(biased))
    attention = next(node for node in model.graph if node.op_type == "Attention")
    assert attention.attributes["scale"].as_float() == 1.0
    weight = model.graph.initializers[f"{NAME}.self.query.weight"]
    original = AttentionLayer().build.graph.initializers[f"{NAME}.self.query.weight"]
    assert_close(weight.const_value.numpy(), original.const_value.numpy() * SCALE, 1e-6)  # type: ignore[union-attr]


def test_the_scale_is_folded_with_a_cache_and_in_cross_attention() -> None:
    layer = AttentionLayer(cached=True, outputs=3)
    check(fold_scale, layer, adds=4, **cached(layer))
    check(fold_scale, AttentionLayer(memory=True), adds=4)


def test_a_scale_of_one_is_no_refusal() -> None:
    layer = AttentionLayer()
    layer.attention.attributes["scale"] = ir.AttrFloat32("scale", 1.0)
    assert fold_scale(layer.model(), CONTEXT) == PassOutcome(0)


def test_the_scale_stays_where_queries_or_weights_are_read_elsewhere() -> None:
    layer = AttentionLayer()
    refuse(fold_scale, layer, "read elsewhere", queries=layer.projections["q"])
    layer = AttentionLayer()
    weight = layer.build.graph.initializers[f"{NAME}.self.query.weight"]
    refuse(fold_scale, layer, "read elsewhere", other=layer.build.op("MatMul", [layer.x, weight], shape=[*AXES, WIDTH]))


def test_the_scale_stays_where_no_linear_layer_makes_the_queries() -> None:
    layer = AttentionLayer()
    layer.attention.replace_input_with(0, layer.x)
    refuse(fold_scale, layer, "linear layer")


def test_all_together() -> None:
    model = AttentionLayer().model()
    expected = answers(model)
    assert [apply(model, CONTEXT).count for apply in (fold_scale, drop_key_bias, fold_value_bias)] == [1, 1, 1]
    assert operators(model)["Add"] == 2
    assert_close(answers(model)["y"], expected["y"], 5e-6)


def embeddings(
    segments: int = 1,
    positions: Callable[[GraphBuilder, ir.Value], ir.Value] | None = None,
    order: tuple[int, int, int] = (0, 1, 2),
) -> tuple[ir.Model, GraphBuilder]:
    build = GraphBuilder()
    ids, types = (build.input(name, AXES, INT64) for name in ("input_ids", "token_type_ids"))
    words = build.op("Gather", [build.weight("w.weight", normal(50, WIDTH)), ids], shape=[*AXES, WIDTH])
    segment = build.op("Gather", [build.weight("t.weight", normal(segments, WIDTH)), types], shape=[*AXES, WIDTH])
    table = build.weight("p.weight", normal(20, WIDTH, seed=3))
    place = positions(build, table) if positions else first_rows(build, table, ids)
    terms = [(words, segment, place)[number] for number in order]
    total = build.op("Add", [build.op("Add", terms[:2]), terms[2]], shape=[*AXES, WIDTH])
    norm = [total, build.weight("g.weight", normal(WIDTH, seed=4)), build.weight("g.bias", normal(WIDTH, seed=5))]
    return build.model(
        {"y": build.op("LayerNormalization", norm, {"axis": -1, "epsilon": 1e-12}, shape=[*AXES, WIDTH])}
    ), build


def first_rows(build: GraphBuilder, table: ir.Value, ids: ir.Value) -> ir.Value:
    zero, one = build.weight("zero", np.array([0])), build.weight("one", np.array([1]))
    length = build.op("Shape", [ids], {"start": 1, "end": 2}, dtype=INT64)
    return build.op("Slice", [table, zero, length, zero, one], shape=[AXES[1], WIDTH])


EMBEDDING_FEEDS = {
    "input_ids": np.random.default_rng(0).integers(0, 50, (3, 7)),
    "token_type_ids": np.zeros((3, 7), np.int64),
}


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (0, 2, 1), (2, 1, 0)])
def test_the_only_segment_is_folded(order: tuple[int, int, int]) -> None:
    model, _ = embeddings(order=order)
    expected = run(model, EMBEDDING_FEEDS)["y"]
    assert fold_token_type(model, CONTEXT).count == 1
    assert (operators(model)["Gather"], operators(model)["Add"]) == (1, 1)
    assert [value.name for value in model.graph.inputs] == ["input_ids", "token_type_ids"]
    assert_close(run(model, EMBEDDING_FEEDS)["y"], expected, 2e-6)


def test_two_segments_stay() -> None:
    model, _ = embeddings(segments=2)
    outcome = fold_token_type(model, CONTEXT)
    assert outcome.count == 0
    assert "2 segments" in outcome.refusals[0].reason


def test_the_only_segment_stays_where_positions_are_shared_or_computed() -> None:
    model, build = embeddings()
    table = build.graph.initializers["p.weight"]
    build.graph.outputs.append(
        build.op("MatMul", [build.graph.outputs[0], build.op("Transpose", [table], {"perm": [1, 0]})])
    )
    assert "read elsewhere" in fold_token_type(model, CONTEXT).refusals[0].reason
    model, _ = embeddings(positions=lambda build, table: build.op("Relu", [table]))
    assert "first rows" in fold_token_type(model, CONTEXT).refusals[0].reason


def test_a_layer_norm_without_embeddings_is_no_refusal() -> None:
    build = GraphBuilder()
    x, scale = build.input("x", [*AXES, WIDTH]), build.weight("g.weight", normal(WIDTH))
    model = build.model({"y": build.op("LayerNormalization", [x, scale], shape=[*AXES, WIDTH])})
    assert fold_token_type(model, CONTEXT) == PassOutcome(0)
