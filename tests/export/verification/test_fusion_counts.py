"""The expectation table: complete fusion for every config, and an error that says why for anything less."""

from __future__ import annotations

import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traced import apply_target, cases, expected, fused, largest_difference, tiny, traced

from bert_onnx.errors import ExportError
from bert_onnx.tasks import TaskOptions
from export.passes.table import PASSES
from export.targets import TARGETS
from export.trace.tracer import trace
from export.verification.fusion_counts import EXPECTATIONS, check_expectations

pytestmark = pytest.mark.slow

LAYERS = 2


def counts(attention: int = LAYERS, gelu: int = LAYERS, skip: int = 2 * LAYERS) -> dict[str, int]:
    """On ort-cpu."""
    return {
        "attention": attention,
        "gelu": gelu,
        "fused_attention": attention,
        "fused_gelu": gelu,
        "skip_layer_norm": skip,
        "first_row": 0,
    }


def test_an_encoder() -> None:
    eager, model = traced("feature-extraction")
    assert fused(eager, model, "ort-cpu") == counts()
    assert fused(eager, model, "ort-cuda") == counts() | {"embeddings": 1}
    merged = {"attention": LAYERS, "gelu": LAYERS, "merged_projections": LAYERS, "first_row": 0}
    assert fused(eager, model, "web") == fused(eager, model, "openvino") == merged
    assert fused(eager, model, "openvino-unpadded") == merged | {"unpadded_attention": LAYERS}
    plain = {"attention": LAYERS, "gelu": LAYERS, "first_row": 0}
    assert fused(eager, model, "portable") == plain


def test_a_classifier_needs_one_row_of_its_last_layer() -> None:
    eager = tiny("text-classification")
    model = trace(eager.module, 18)
    for target in TARGETS:
        if target != "portable":
            assert fused(eager, model, target)["first_row"] == 1
            assert largest_difference(eager, apply_target(eager, model, target)[0], target) <= 1e-5
    assert fused(eager, model, "ort-cpu") == counts() | {"first_row": 1}


def test_a_masked_language_model_has_one_gelu_more() -> None:
    eager = tiny("fill-mask", pruned_heads={0: (1,)})
    assert fused(eager, trace(eager.module, 18), "ort-cpu") == counts(gelu=LAYERS + 1)


def test_a_decoder_with_cross_attention_and_cache() -> None:
    eager = tiny("text-generation-with-past", add_cross_attention=True)
    model = trace(eager.module, 18)
    wanted = counts(attention=2 * LAYERS, gelu=LAYERS + 1, skip=3 * LAYERS)
    assert fused(eager, model, "ort-cpu") == wanted
    assert fused(eager, model, "web")["merged_projections"] == 2 * LAYERS
    assert fused(eager, model, "ort-cpu-unpadded")["unpadded_attention"] == 0
    for target in ("ort-cpu", "web"):
        assert largest_difference(eager, apply_target(eager, model, target)[0]) <= 2e-5


def test_probabilities_leave_attention_spelled_out() -> None:
    eager = tiny("feature-extraction", TaskOptions(output_attentions=True), hidden_act="relu")
    model = trace(eager.module, 18)
    found = fused(eager, model, "ort-cpu")
    assert found == counts(gelu=0) | {"fused_attention": 0}
    assert largest_difference(eager, apply_target(eager, model, "ort-cpu")[0]) <= 1e-5


def test_relative_positions() -> None:
    eager = tiny("feature-extraction", position_embedding_type="relative_key_query", hidden_act="gelu_new")
    model = trace(eager.module, 18)
    assert fused(eager, model, "ort-cpu") == counts(skip=2 * LAYERS + 1)
    assert largest_difference(eager, apply_target(eager, model, "ort-cpu")[0]) <= 2e-5


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "portable"])
def test_no_positions(target: str) -> None:
    """What transformers 4.57 makes of null."""
    eager = tiny("text-classification", position_embedding_type=None)
    model = trace(eager.module, 18)
    found = fused(eager, model, target)
    assert found["attention"] == LAYERS
    assert found["first_row"] == 1
    assert not found.get("embeddings")
    assert largest_difference(eager, apply_target(eager, model, target)[0], target) <= 1e-5


def broken(operator: str, number: int, target: str = "ort-cpu") -> tuple[str, str]:
    """Put a Relu on the operator's first input, somewhere in a graph, and try to fuse it; node and message."""
    eager, model = traced("feature-extraction")
    copy = model.clone()
    node = [node for node in copy.graph if node.op_type == operator][number]
    relu = ir.node("Relu", [node.inputs[0]], name="intruder")
    relu.outputs[0].type, relu.outputs[0].shape = node.inputs[0].type, node.inputs[0].shape  # type: ignore[union-attr]
    copy.graph.insert_before(node, relu)
    node.replace_input_with(0, relu.outputs[0])
    graph, ledger = apply_target(eager, copy, target)
    with pytest.raises(ExportError) as error:
        check_expectations(graph, ledger, TARGETS[target], eager.config, eager.task, eager.options)
    return node.name or "", str(error.value)


def test_a_missing_attention_is_an_error_with_its_reason() -> None:
    _, message = broken("Softmax", 1)
    assert "must have 2 x attention and has 1" in message
    assert "encoder/layer.1/attention/self" in message


def test_a_missing_gelu_is_an_error_with_its_reason() -> None:
    _, message = broken("Erf", 0)
    assert "must have 2 x gelu and has 1" in message
    assert "encoder/layer.0/intermediate" in message


def test_a_missing_residual_is_an_error_with_its_reason() -> None:
    _, message = broken("LayerNormalization", 2)
    assert "must have 4 x skip layer norm and has 3" in message
    assert "encoder/layer.0/output/LayerNorm" in message
    assert "no Add comes before it" in message


def test_missing_embeddings_are_an_error() -> None:
    _, message = broken("LayerNormalization", 0, "ort-cuda")
    assert "must have 1 x embeddings and has 0" in message


def test_one_too_many_is_an_error() -> None:
    eager, model = traced("feature-extraction")
    graph, ledger = apply_target(eager, model, "ort-cpu")
    fewer = eager.config.replace(num_hidden_layers=LAYERS - 1)
    with pytest.raises(ExportError, match="must have 1 x attention and has 2"):
        check_expectations(graph, ledger, TARGETS["ort-cpu"], fewer, eager.task, eager.options)


def test_a_fused_node_that_a_later_pass_lost_is_an_error() -> None:
    eager, model = traced("feature-extraction")
    graph, ledger = apply_target(eager, model, "ort-cpu")
    gelu = next(node for node in graph.graph if node.op_type == "BiasGelu")
    gelu.outputs[0].replace_all_uses_with(gelu.inputs[0])  # type: ignore[arg-type]
    graph.graph.remove(gelu, safe=True)
    with pytest.raises(ExportError, match="must have 2 x fused gelu and has 1"):
        check_expectations(graph, ledger, TARGETS["ort-cpu"], eager.config, eager.task, eager.options)


def test_the_table_names_passes_that_there_are() -> None:
    for row in EXPECTATIONS:
        assert set(row.passes) <= set(PASSES)


@st.composite
def models(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    """A task and sizes; heads, layers, activations, positions, pruning, cross-attention."""
    heads = draw(st.integers(1, 4))
    task = draw(
        st.sampled_from(["feature-extraction", "fill-mask", "text-classification", "text-generation-with-past"])
    )
    changes: dict[str, object] = {
        "num_attention_heads": heads,
        "hidden_size": heads * draw(st.sampled_from([2, 5, 8])),
        "num_hidden_layers": draw(st.integers(1, 2)),
        "intermediate_size": draw(st.integers(1, 50)),
        "hidden_act": draw(st.sampled_from(["gelu", "gelu_new", "relu", "silu"])),
        "position_embedding_type": draw(st.sampled_from(["absolute", "relative_key", "relative_key_query"])),
        "type_vocab_size": draw(st.integers(1, 3)),
    }
    if task == "text-generation-with-past":
        changes["add_cross_attention"] = draw(st.booleans())
    if heads > 1 and draw(st.booleans()):
        changes["pruned_heads"] = {0: (draw(st.integers(0, heads - 1)),)}
    return task, changes


@pytest.mark.slow
@settings(max_examples=4, derandomize=True, suppress_health_check=list(HealthCheck))
@given(models())
def test_any_model_is_fused_completely_and_keeps_parity(model: tuple[str, dict[str, object]]) -> None:
    task, changes = model
    eager = tiny(task, **changes)
    traced_graph = trace(eager.module, 18)
    for target in ("ort-cpu", "web", "ort-cpu-unpadded"):
        fused(eager, traced_graph, target)
        assert largest_difference(eager, apply_target(eager, traced_graph, target)[0]) <= 2e-5
    assert len(expected(eager, cases(eager)[0])) == len(eager.module.outputs)
