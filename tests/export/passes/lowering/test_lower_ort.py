"""lower_mha and lower_attention_microsoft: canonical attention in ONNX Runtime's own operators."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders import AXES, HEAD_SIZE, HEADS, WIDTH, AttentionLayer, assert_close, layer_feeds, operators, run

from bert_onnx.tasks import REQUIRES, RIGHT_PADDING
from export.passes.algebra.merge_qkv import merge_qkv
from export.passes.base import Pass, PassContext, PassOutcome
from export.passes.graph import canonical
from export.passes.lowering.attention_ort import lower_attention_microsoft
from export.passes.lowering.attention_ort_cuda import lower_attention_lengths
from export.passes.lowering.multi_head_attention import lower_mha
from export.passes.lowering.plain import lower_plain

CONTEXT = PassContext(18)
NAME = "encoder.layer.0.attention.self"
MHA, ATTENTION = "com.microsoft.MultiHeadAttention", "com.microsoft.Attention"


def answers(model: ir.Model, feeds: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    copy = model.clone()
    lower_plain(copy, CONTEXT)
    return run(copy, feeds or layer_feeds(model))


def check(apply: Pass, layer: AttentionLayer, **outputs: ir.Value) -> ir.Model:
    model = layer.model(**outputs)
    expected = answers(model)
    outcome = apply(model, CONTEXT)
    assert (outcome.count, outcome.refusals) == (1, ())
    assert not any(node.domain == canonical.DOMAIN and node.op_type == canonical.ATTENTION for node in model.graph)
    for name, array in answers(model).items():
        assert_close(array, expected[name], 2e-6)
    return model


def refuse(apply: Pass, layer: AttentionLayer, reason: str, **outputs: ir.Value) -> None:
    model = layer.model(**outputs)
    before = operators(model)
    outcome = apply(model, CONTEXT)
    assert outcome.count == 0
    assert reason in outcome.refusals[0].reason
    assert operators(model) == before


def cache(layer: AttentionLayer) -> dict[str, ir.Value]:
    return {"present_key": layer.attention.outputs[1], "present_value": layer.attention.outputs[2]}


def with_bias(layer: AttentionLayer, axes: tuple[int | str, ...]) -> AttentionLayer:
    """`layer` with a bias of these axes that is no mask of keys."""
    layer.attention.replace_input_with(3, layer.build.input("bias", axes))
    return layer


def attribute(model: ir.Model, operator: str, name: str) -> float:
    (node,) = (node for node in model.graph if node.op_type == operator)
    return float(node.attributes[name].value)


@pytest.mark.parametrize("biased", ["qkvo", "qo", "o"])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("heads", [3, 2])
def test_mha_takes_the_biases_in(biased: str, masked: bool, heads: int) -> None:
    model = check(lower_mha, AttentionLayer(biased, heads, masked))
    assert operators(model)["Add"] == 1  # of the output projection
    assert (f"{NAME}.qkv.bias" in model.graph.initializers) == (biased != "o")
    assert operators(model)["Cast"] == int(masked)


@pytest.mark.parametrize("biased", ["qkvo", "o"])
def test_mha_takes_the_bias_of_a_merged_projection_in(biased: str) -> None:
    layer = AttentionLayer(biased)
    model = layer.model()
    expected = answers(model)["y"]
    merge_qkv(model, CONTEXT)
    assert lower_mha(model, CONTEXT).count == 1
    lower_plain(model, CONTEXT)
    assert operators(model)["MatMul"] == 2
    assert operators(model)["Add"] == 1
    assert_close(run(model, layer_feeds(model))["y"], expected, 2e-6)


def test_mha_in_cross_attention() -> None:
    check(lower_mha, AttentionLayer(memory=True))


@pytest.mark.parametrize(
    "axes", [(AXES[0], HEADS, AXES[1], AXES[1]), (AXES[0], 1, AXES[1], AXES[1]), (1, HEADS, AXES[1], AXES[1])]
)
def test_mha_with_another_bias(axes: tuple[int | str, ...]) -> None:
    check(lower_mha, with_bias(AttentionLayer(), axes))


def test_mha_with_a_cache() -> None:
    layer = with_bias(AttentionLayer(cached=True, outputs=3), (AXES[0], 1, AXES[1], "keys"))
    check(lower_mha, layer, **cache(layer))


def test_mha_returns_keys_and_values_without_a_cache() -> None:
    layer = AttentionLayer(outputs=3)
    check(lower_mha, layer, **cache(layer))


def test_mha_leaves_a_bias_that_something_else_reads() -> None:
    layer = AttentionLayer()
    model = check(lower_mha, layer, keys=layer.projections["k"])
    assert operators(model)["Add"] == 4


def test_mha_has_a_finite_fill() -> None:
    layer = AttentionLayer()
    layer.attention.inputs[3].producer().attributes["fill"] = ir.AttrFloat32("fill", float("-inf"))  # type: ignore[union-attr]
    model = layer.model()
    lower_mha(model, CONTEXT)
    assert attribute(model, "MultiHeadAttention", "mask_filter_value") == np.finfo(np.float32).min


def test_no_mha_where_probabilities_are_read() -> None:
    layer = AttentionLayer(outputs=4)
    refuse(lower_mha, layer, "probabilities", probabilities=layer.attention.outputs[3])


@pytest.mark.parametrize(
    "axes", [(AXES[0], 1, 1, AXES[1]), (AXES[0], 1, AXES[1], 1), (AXES[1], AXES[1]), (HEADS, AXES[1], AXES[1])]
)
def test_no_mha_where_the_bias_is_broadcast_otherwise(axes: tuple[int | str, ...]) -> None:
    refuse(lower_mha, with_bias(AttentionLayer(), axes), "the bias has the axes")


@pytest.mark.parametrize("biased", ["qkvo", "qo", "o"])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("heads", [3, 2])
def test_attention_takes_the_projections_in(biased: str, masked: bool, heads: int) -> None:
    model = check(lower_attention_microsoft, AttentionLayer(biased, heads, masked))
    assert operators(model)["MatMul"] == operators(model)["Add"] == 1  # the output projection
    assert list(model.graph.initializers[f"{NAME}.qkv.weight"].shape) == [WIDTH, 3 * heads * HEAD_SIZE]


def test_attention_masks_with_the_fill_of_the_mask() -> None:
    layer = AttentionLayer()
    layer.attention.inputs[3].producer().attributes["fill"] = ir.AttrFloat32("fill", -10000.0)  # type: ignore[union-attr]
    model = check(lower_attention_microsoft, layer)
    assert attribute(model, "Attention", "mask_filter_value") == -10000.0


def test_layers_share_one_integer_mask() -> None:
    from export.passes.cleanup.simplify import simplify

    model = AttentionLayer().model()
    mask = next(node for node in model.graph if node.op_type == canonical.KEY_MASK)
    layer = next(node for node in model.graph if node.op_type == canonical.ATTENTION)
    second = ir.node("Attention", [*layer.inputs[:3], mask.outputs[0]], dict(layer.attributes), domain=canonical.DOMAIN)
    model.graph.insert_after(layer, second)
    second.outputs[0].name, second.outputs[0].shape, second.outputs[0].type = (
        "z",
        ir.Shape([*AXES, WIDTH]),
        ir.TensorType(ir.DataType.FLOAT),
    )
    model.graph.outputs.append(second.outputs[0])
    assert lower_mha(model, CONTEXT).count == 2
    simplify(model, CONTEXT)
    assert operators(model)["Cast"] == 1


@pytest.mark.parametrize("apply", [lower_mha, lower_attention_microsoft])
@pytest.mark.parametrize("fill", [-10000.0, float(np.finfo(np.float32).min), float("-inf")])
def test_an_empty_row_gives_no_nan(apply: Pass, fill: float) -> None:
    layer = AttentionLayer()
    layer.attention.inputs[3].producer().attributes["fill"] = ir.AttrFloat32("fill", fill)  # type: ignore[union-attr]
    model = layer.model()
    feeds = layer_feeds(model)
    feeds["mask"][1] = 0
    expected = answers(model, feeds)["y"]
    assert apply(model, CONTEXT).count == 1
    assert_close(answers(model, feeds)["y"], expected, 2e-6)


def test_no_attention_operator_where_it_cannot_be() -> None:
    apply = lower_attention_microsoft
    refuse(apply, AttentionLayer(memory=True), "one input")
    refuse(apply, AttentionLayer(cached=True), "cache")
    layer = AttentionLayer(outputs=3)
    refuse(apply, layer, "read as well", **cache(layer))
    layer = AttentionLayer(outputs=4)
    refuse(apply, layer, "read as well", probabilities=layer.attention.outputs[3])
    refuse(apply, with_bias(AttentionLayer(), (AXES[0], 1, AXES[1], AXES[1])), "no mask of keys")
    layer = AttentionLayer()
    refuse(apply, layer, "read elsewhere", keys=layer.projections["k"])
    layer = AttentionLayer()
    weight = layer.build.graph.initializers[f"{NAME}.key.weight"]
    refuse(apply, layer, "read elsewhere", z=layer.build.op("MatMul", [layer.x, weight], shape=[*AXES, WIDTH]))
    layer = AttentionLayer()
    layer.attention.replace_input_with(0, layer.x)
    refuse(apply, layer, "linear layers")


def test_no_attention_operator_on_packed_tokens() -> None:
    layer = AttentionLayer()
    layer.x.shape = ir.Shape(["tokens", WIDTH])
    model = layer.model()
    for node in model.graph:
        for value in node.outputs:
            value.shape = None
    assert "not [B, S, D]" in lower_attention_microsoft(model, CONTEXT).refusals[0].reason


def test_nothing_to_do() -> None:
    model = AttentionLayer().model()
    lower_plain(model, CONTEXT)
    before = operators(model)
    for apply in (lower_mha, lower_attention_microsoft):
        assert apply(model, CONTEXT).count == 0
    assert operators(model) == before


def test_lengths_take_the_place_of_the_mask() -> None:
    layer = AttentionLayer()
    model = layer.model()
    feeds = layer_feeds(model)
    feeds["mask"][:] = 1
    feeds["mask"][0, -2:] = 0
    expected = answers(model, feeds)["y"]
    assert lower_attention_lengths(model, CONTEXT) == PassOutcome(1)
    assert model.metadata_props[REQUIRES] == RIGHT_PADDING
    assert operators(model)["ReduceSum"] == 1
    assert_close(answers(model, feeds)["y"], expected, 2e-6)


def test_lengths_require_nothing_where_there_is_no_mask_or_no_place_for_them() -> None:
    model = AttentionLayer(masked=False).model()
    assert lower_attention_lengths(model, CONTEXT).count == 1
    assert REQUIRES not in model.metadata_props
    layer = AttentionLayer(memory=True)
    refuse(lower_attention_lengths, layer, "one input")
    assert REQUIRES not in layer.build.model({}).metadata_props
