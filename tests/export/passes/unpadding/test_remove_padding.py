"""remove_padding and lower_packed_attention: every head as in the eager model, by operators written in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from builders import INT64, AttentionLayer, GraphBuilder, operators
from canonical_bert import CanonicalBert, canonical_model, tiny_module
from packed_reference import run_packed
from token_masks import feeds_for, masks
from unpadded_heads import HEADS, compare

from bert_onnx.tasks import REQUIRES, RIGHT_PADDING, TaskOptions
from export.passes.algebra.first_row import first_row
from export.passes.base import PassContext
from export.passes.cleanup.finish import finish
from export.passes.graph import canonical
from export.passes.lowering.fuse_embeddings import fuse_embeddings
from export.passes.lowering.fuse_skip_layer_norm import fuse_skip_layer_norm
from export.passes.lowering.packed_attention import lower_packed_attention
from export.passes.lowering.plain import lower_plain
from export.passes.unpadding.remove_padding import remove_padding
from export.quantization.float16.convert import convert_to_half
from export.reference.module import GraphModule

CONTEXT = PassContext(18)
LAYERS = 2
MS = "com.microsoft."
RIGHT = ("full", "right", "first only")


def packed(module: GraphModule, narrowed: bool = False) -> ir.Model:
    """The canonical graph after both passes, every count checked."""
    model = canonical_model(module)
    rows = first_row(model, CONTEXT).count if narrowed else 0
    outcome = remove_padding(model, CONTEXT)
    assert (outcome.count, outcome.refusals) == (LAYERS, ())
    padded = module.model.config.position_embedding_type != "absolute" or module.options.output_attentions  # type: ignore[union-attr]
    outcome = lower_packed_attention(model, CONTEXT)
    assert outcome.count == (0 if padded else LAYERS - rows)
    assert len(outcome.refusals) == LAYERS - outcome.count
    lower_plain(model, CONTEXT)
    finish(model, CONTEXT)
    return model


@pytest.mark.parametrize("head", HEADS)
def test_every_head(head: str) -> None:
    task, options, changes = HEADS[head]
    module = tiny_module(task, options, **changes)
    model = packed(module)
    onnx.checker.check_model(ir.serde.serialize_model(model))
    rng = np.random.default_rng(1)
    for rows, length in ((6, 13), (3, 1)):
        for what, mask in masks(rows, length, rng).items():
            if what in RIGHT:
                feeds = feeds_for(module, mask)
                compare(module, run_packed(model, feeds), feeds, mask, f"{what} {rows}x{length}")


@pytest.mark.parametrize("task", ["text-classification", "multiple-choice"])
def test_the_first_row_of_the_last_layer_alone(task: str) -> None:
    module = tiny_module(task)
    model = packed(module, narrowed=True)
    mask = masks(6, 13, np.random.default_rng(1))["right"]
    feeds = feeds_for(module, mask)
    compare(module, run_packed(model, feeds), feeds, mask, task)


@pytest.mark.parametrize("head", ["feature-extraction", "question-answering", "mean", "text-classification"])
def test_fp16(head: str) -> None:
    task, options, changes = HEADS[head]
    module = tiny_module(task, options, **changes)
    model = packed(module)
    convert_to_half(model, "fp16")
    found = {node.op_type: node for node in model.graph if node.domain == "com.microsoft"}
    assert {node.outputs[0].dtype for node in found.values()} == {ir.DataType.FLOAT16}
    assert [value.dtype for value in found["RemovePadding"].outputs[1:]] == [ir.DataType.INT32] * 3
    mask = masks(6, 13, np.random.default_rng(1))["right"]
    feeds = feeds_for(module, mask)
    compare(module, run_packed(model, feeds), feeds, mask, head, 1e-2)


def test_padding_is_removed_once_and_restored_once() -> None:
    model = packed(tiny_module("token-classification"))
    found = operators(model)
    assert (found[f"{MS}RemovePadding"], found[f"{MS}RestorePadding"]) == (1, 1)
    assert found[f"{MS}PackedMultiHeadAttention"] == LAYERS
    (restored,) = (node for node in model.graph if node.op_type == "RestorePadding")
    assert restored.outputs[0].is_graph_output()  # behind the classifier, the last operator of tokens
    assert found["Gather"] == 2  # words and segments: tokens are gathered nowhere


def test_a_head_of_the_first_token_restores_nothing() -> None:
    model = packed(tiny_module("text-classification"))
    assert operators(model)[f"{MS}RestorePadding"] == 0
    (gather,) = (node for node in model.graph if node.op_type == "Gather" and node.name == "pooler/Gather")
    slots = gather.inputs[1].producer()  # type: ignore[union-attr]
    assert slots is not None
    assert slots.op_type == "Slice"
    assert slots.inputs[0].producer().op_type == "RemovePadding"  # type: ignore[union-attr]


def test_embeddings_and_residuals_still_fuse() -> None:
    model = canonical_model(tiny_module("fill-mask"))
    remove_padding(model, CONTEXT)
    lower_packed_attention(model, CONTEXT)
    assert fuse_embeddings(model, CONTEXT).count == 1
    assert fuse_skip_layer_norm(model, CONTEXT).count == 2 * LAYERS
    (removed,) = (node for node in model.graph if node.op_type == "RemovePadding")
    assert removed.inputs[0].producer().op_type == "EmbedLayerNormalization"  # type: ignore[union-attr]


def test_what_inputs_must_keep_to_is_in_the_file() -> None:
    assert packed(tiny_module("fill-mask")).metadata_props[REQUIRES] == RIGHT_PADDING
    model = AttentionLayer(masked=False).model()
    remove_padding(model, CONTEXT)
    assert REQUIRES not in model.metadata_props


@pytest.mark.parametrize("what", ["an empty row", "all empty"])
@pytest.mark.parametrize("head", ["text-classification", "mean", "token-classification"])
def test_a_text_without_tokens_harms_nobody(head: str, what: str) -> None:
    """Runtimes refuse it. The graph gives finite numbers, and the other texts what they are."""
    task, options, changes = HEADS[head]
    module = tiny_module(task, options, **changes)
    mask = masks(6, 13, np.random.default_rng(1))[what]
    feeds = feeds_for(module, mask)
    found = run_packed(packed(module), feeds)
    assert all(np.isfinite(array).all() for array in found.values())
    some = mask.any(1)
    if some.any():
        feeds = {name: array[some] for name, array in feeds.items()}
        compare(module, {name: array[some] for name, array in found.items()}, feeds, mask[some], what)


# Planted faults: each must show.


def _swap_keys_and_values(model: ir.Model) -> None:
    for node in model.graph:
        if node.op_type == "PackedMultiHeadAttention":
            key, value = node.inputs[1:3]
            node.replace_input_with(1, value)
            node.replace_input_with(2, key)


def _forget_a_scale(model: ir.Model) -> None:
    node = next(node for node in model.graph if node.op_type == "PackedMultiHeadAttention")
    node.attributes["scale"] = ir.AttrFloat32("scale", 1.0)


def _constant(model: ir.Model, name: str, array: np.ndarray) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    model.graph.register_initializer(value)
    return value


def _read_the_first_token_of_the_next_text(model: ir.Model) -> None:
    node = next(node for node in model.graph if node.op_type == "Slice" and node.outputs[0].dtype == ir.DataType.INT32)
    node.replace_input_with(1, _constant(model, "begin", np.array([1])))
    node.replace_input_with(2, _constant(model, "end", np.array([99])))


def _count_one_token_less(model: ir.Model) -> None:
    node = next(node for node in model.graph if node.op_type == "Max")
    fewer = ir.node("Add", [node.inputs[0], _constant(model, "less", np.array([-1], np.int32))], name="fewer")
    model.graph.insert_before(node, fewer)
    node.replace_input_with(0, fewer.outputs[0])


@pytest.mark.parametrize(
    "fault", [_swap_keys_and_values, _forget_a_scale, _read_the_first_token_of_the_next_text, _count_one_token_less]
)
def test_faults_show(fault: Callable[[ir.Model], None]) -> None:
    module = tiny_module("feature-extraction")
    model = packed(module)
    fault(model)
    mask = masks(6, 13, np.random.default_rng(1))["right"]
    feeds = feeds_for(module, mask)
    with pytest.raises((AssertionError, IndexError)):
        compare(module, run_packed(model, feeds), feeds, mask, "a fault")


def test_padding_on_the_left_is_answered_wrongly() -> None:
    """So that the requirement is not for nothing."""
    module = tiny_module("feature-extraction")
    mask = masks(6, 13, np.random.default_rng(1))["left"]
    feeds = feeds_for(module, mask)
    with pytest.raises(AssertionError):
        compare(module, run_packed(packed(module), feeds), feeds, mask, "left")


# Where they must not fire.


def refuses(model: ir.Model, reason: str) -> None:
    before = [(node.op_type, tuple(node.inputs), tuple(node.outputs)) for node in model.graph]
    outcome = remove_padding(model, CONTEXT)
    assert outcome.count == 0
    assert reason in outcome.refusals[0].reason
    assert [(node.op_type, tuple(node.inputs), tuple(node.outputs)) for node in model.graph] == before


def changed(change: Callable[[CanonicalBert], Any]) -> ir.Model:
    """A canonical graph after `change(build)`."""
    build = CanonicalBert(tiny_module("feature-extraction", TaskOptions()))
    change(build)
    build.graph.sort()
    return build.model({"last_hidden_state": build.hidden})


def test_not_without_attention() -> None:
    build = GraphBuilder()
    refuses(build.model({"y": build.op("Relu", [build.input("x", ["b", "s", 4])])}), "no attention")


def test_not_with_a_cache() -> None:
    refuses(AttentionLayer(cached=True, outputs=3).model(), "cache")


def test_not_without_a_mask() -> None:
    refuses(AttentionLayer(masked=False).model(), "no key mask")


def test_not_on_states_that_no_table_gave() -> None:
    refuses(AttentionLayer().model(), "not computed token by token")


def test_not_with_two_masks() -> None:
    def change(build: CanonicalBert) -> None:
        node = [node for node in build.graph if node.op_type == canonical.ATTENTION][1]
        node.replace_input_with(3, build.key_mask(build.input("mask_2", ["b", "s"], INT64)))

    refuses(changed(change), "another key mask")


def test_not_where_no_norm_reads_the_embeddings() -> None:
    def change(build: CanonicalBert) -> None:
        norm = build.hidden_states[0].producer()
        assert norm is not None
        summed = norm.inputs[0]
        assert summed is not None
        build.hidden_states[0].replace_all_uses_with(summed)
        build.graph.remove(norm, safe=True)

    refuses(changed(change), "not computed token by token")


# Attention that stays padded.


def attention_refuses(model: ir.Model, reason: str) -> None:
    outcome = lower_packed_attention(model, CONTEXT)
    assert outcome.count == 0
    assert {refusal.reason for refusal in outcome.refusals} == {reason}


def test_attention_that_nobody_packed_stays() -> None:
    model = canonical_model(tiny_module("feature-extraction"))
    attention_refuses(model, "its queries, keys and values are not all packed tokens")
    assert operators(model)["bert_onnx.Attention"] == LAYERS


def test_relative_positions_stay_padded() -> None:
    model = canonical_model(tiny_module("feature-extraction", position_embedding_type="relative_key"))
    remove_padding(model, CONTEXT)
    attention_refuses(model, "its bias is more than a key mask")


def test_read_probabilities_stay_padded() -> None:
    model = canonical_model(tiny_module("feature-extraction", TaskOptions(output_attentions=True)))
    remove_padding(model, CONTEXT)
    attention_refuses(model, "its cache or its probabilities are read")


def test_a_context_that_is_read_elsewhere_stays_padded() -> None:
    model = canonical_model(tiny_module("feature-extraction", TaskOptions()))
    remove_padding(model, CONTEXT)
    for node in list(model.graph):
        if node.op_type == canonical.ATTENTION:
            extra = ir.node("Relu", [node.outputs[0]], name="extra")
            model.graph.insert_after(node, extra)
            model.graph.outputs.append(extra.outputs[0])
    attention_refuses(model, "its context is not packed")


def test_a_context_that_is_gathered_by_something_else_stays_padded() -> None:
    model = canonical_model(tiny_module("feature-extraction", TaskOptions()))
    remove_padding(model, CONTEXT)
    index = _constant(model, "some", np.array([0, 2]))
    for node in list(model.graph):
        if node.op_type == "Gather" and node.inputs[0].producer() is not None:  # type: ignore[union-attr]
            node.replace_input_with(1, index)
    attention_refuses(model, "its context is not packed")
