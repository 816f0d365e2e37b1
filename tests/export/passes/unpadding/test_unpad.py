"""unpad and share_rows: real tokens as in the eager model, zeros at padding, every head, every kind of mask."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from builders import INT64, AttentionLayer, GraphBuilder, normal, operators, run
from canonical_bert import CanonicalBert, Runner, canonical_model, open_session, tiny_module
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from token_masks import feeds_for, masks
from unpadded_heads import HEADS, compare

from bert_onnx.sentence_modules import pooled
from bert_onnx.tasks import TaskOptions
from export.passes.algebra.first_row import first_row
from export.passes.algebra.merge_qkv import merge_qkv
from export.passes.base import PassContext
from export.passes.cleanup.finish import finish
from export.passes.graph import canonical
from export.passes.lowering.plain import lower_plain
from export.passes.unpadding.share_rows import share_rows
from export.passes.unpadding.unpad import unpad
from export.reference.module import GraphModule

pytestmark = pytest.mark.slow

CONTEXT = PassContext(18)
LAYERS = 2

#: The passes that are run, by their names' parts.
VARIANTS = ("unpad", "unpad+rows", "first_row+merge+unpad+rows")

#: Heads of which only the first row is read.
FIRST_ROW = ("next-sentence-prediction", "text-classification", "multiple-choice")


def check_answers(module: GraphModule, session: Runner, mask: np.ndarray, what: str) -> None:
    """Real tokens within 1e-5 of eager, relative to the largest value; everything else is zero."""
    feeds = feeds_for(module, mask)
    compare(module, session(feeds), feeds, mask, what)


def unpadded(module: GraphModule, variant: str = "unpad") -> ir.Model:
    """The canonical graph after the passes of `variant`, every count checked, spelled out in plain operators."""
    model = canonical_model(module)
    relative = module.model.config.position_embedding_type != "absolute"  # type: ignore[union-attr]
    narrowed = 0
    if "first_row" in variant:
        narrowed = first_row(model, CONTEXT).count
        assert merge_qkv(model, CONTEXT).count >= LAYERS - narrowed - relative * LAYERS
    outcome = unpad(model, CONTEXT)
    assert (outcome.count, outcome.refusals) == (LAYERS, ())
    if "rows" in variant:
        outcome = share_rows(model, CONTEXT)
        plain = relative or module.options.output_attentions
        assert outcome.count == (0 if plain else LAYERS - narrowed)
        assert len(outcome.refusals) == LAYERS - outcome.count
    lower_plain(model, CONTEXT)
    finish(model, CONTEXT)
    return model


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("head", HEADS)
def test_every_head_and_mask(head: str, variant: str) -> None:
    task, options, changes = HEADS[head]
    module = tiny_module(task, options, **changes)
    session = open_session(unpadded(module, variant))
    rng = np.random.default_rng(1)
    for rows, length in ((6, 13), (3, 1), (3, 2)):
        for what, mask in masks(rows, length, rng).items():
            check_answers(module, session, mask, f"{what} {rows}x{length}")
    if not module.task.choices:
        for what, mask in masks(1, 7, rng).items():
            check_answers(module, session, mask, f"{what} 1x7")


@pytest.mark.parametrize("head", FIRST_ROW)
def test_first_row_fires_with_unpad(head: str) -> None:
    task, options, changes = HEADS[head]
    model = canonical_model(tiny_module(task, options, **changes))
    assert first_row(model, CONTEXT).count == 1
    assert unpad(model, CONTEXT).count == LAYERS
    assert share_rows(model, CONTEXT).count == LAYERS - 1


@settings(max_examples=25)
@given(st.data())
def test_any_mask(data: st.DataObject) -> None:
    module, _, session = _cached("unpad+rows")
    rows, length = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 17))
    bits = data.draw(st.lists(st.integers(0, 1), min_size=rows * length, max_size=rows * length))
    check_answers(module, session, np.array(bits, np.int64).reshape(rows, length), "drawn")


@functools.cache
def _cached(variant: str) -> tuple[GraphModule, ir.Model, Runner]:
    module = tiny_module("sentence-similarity", TaskOptions(pooled("cls")))
    model = unpadded(module, variant)
    return module, model, open_session(model)


@pytest.mark.parametrize("variant", VARIANTS[:2])
def test_reference_evaluator_and_checker(variant: str) -> None:
    """CumSum's axis, the reductions' axes and Pad's inputs are as strict readers want them."""
    module, model, _ = _cached(variant)
    proto = ir.serde.serialize_model(model)
    onnx.checker.check_model(proto, full_check=True)
    evaluator = ReferenceEvaluator(proto)
    for what, mask in masks(4, 9, np.random.default_rng(2)).items():
        feeds = feeds_for(module, mask)
        names = [output.name for output in proto.graph.output]
        actual = dict(zip(names, evaluator.run(names, feeds), strict=True))
        compare(module, actual, feeds, mask, what)


@pytest.mark.parametrize("variant", VARIANTS[:2])
def test_openvino(variant: str, tmp_path: Any) -> None:
    openvino = pytest.importorskip("openvino")
    module, model, _ = _cached(variant)
    path = tmp_path / "model.onnx"
    ir.save(model, path)
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(str(path), "CPU", hints)
    for what, mask in masks(4, 9, np.random.default_rng(3)).items():
        feeds = feeds_for(module, mask)
        answer = compiled(feeds)
        actual = {port.name: answer[port.name] for port in module.outputs}
        compare(module, actual, feeds, mask, what)


def test_work_is_done_on_real_tokens_alone() -> None:
    """Every product with a weight runs on [T, D]: T rows are what the mask keeps."""
    module = tiny_module("fill-mask")
    model = unpadded(module)
    products = [node for node in model.graph if node.op_type == "MatMul" and _is_weight(node.inputs[1])]
    assert len(products) == LAYERS * 6 + 2
    for node in products:
        model.graph.outputs.append(node.outputs[0])
    mask = masks(5, 11, np.random.default_rng(4))["right"]
    answers = run(model, feeds_for(module, mask))
    assert {answers[node.outputs[0].name].shape[0] for node in products} == {int(mask.sum())}


def _is_weight(value: ir.Value | None) -> bool:
    producer = value.producer() if value is not None else None
    return value is not None and (
        value.is_initializer()
        or (producer is not None and producer.op_type == "Transpose" and producer.inputs[0].is_initializer())
    )


def test_positions_are_looked_up_by_token() -> None:
    """The sliced table is read directly: no [B, S, D] of positions, and no Slice."""
    model = unpadded(tiny_module("token-classification"))
    table = model.graph.initializers["embeddings.position_embeddings.weight"]
    assert [user.op_type for user, _ in table.uses() if user.outputs[0].uses()] == ["Gather"]


# How rows are shared.


def rows_of(lengths: list[int]) -> tuple[int, int]:
    """(R, S) for texts of `lengths`."""
    module = tiny_module("feature-extraction", TaskOptions(), max_position_embeddings=200)
    model = canonical_model(module)
    unpad(model, CONTEXT)
    share_rows(model, CONTEXT)
    (bias,) = {node.inputs[3] for node in model.graph if node.op_type == "Attention"}
    assert bias is not None
    model.graph.outputs.append(bias)
    bias.name = "bias"
    lower_plain(model, CONTEXT)
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    feeds = feeds_for(module, mask)
    answers = run(model, feeds)
    compare(module, answers, feeds, mask, str(lengths))
    found = answers["bias"]
    seen = (found == 0).sum()  # each token sees the tokens of its own text
    assert seen == sum(length**2 for length in lengths)
    assert set(np.unique(found)) <= {0.0, np.finfo(np.float32).min}
    assert found.shape[1:] == (1, max(lengths), max(lengths))
    return found.shape[0], found.shape[2]


@pytest.mark.parametrize(
    ("lengths", "rows"),
    [
        ([8], 1),
        ([8, 8, 8], 3),
        ([8, 4, 4], 2),
        ([8, 4, 5], 3),
        ([4, 8, 2, 2], 2),
        ([2, 2, 8, 2, 1, 1, 1], 3),
        ([1] * 16 + [16], 2),
        ([7, 3, 3, 3], 3),  # half of 7 holds 3
        ([160] + [10] * 16, 2),
        ([13, 6, 6, 3, 3, 3, 3, 1], 4),
    ],
)
def test_rows_are_shared(lengths: list[int], rows: int) -> None:
    assert rows_of(lengths) == (rows, max(lengths))
    assert rows_of(lengths[::-1]) == (rows, max(lengths))


@settings(max_examples=15)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=24))
def test_rows_are_never_more_than_texts(lengths: list[int]) -> None:
    rows, longest = rows_of(lengths)
    assert rows <= len(lengths)
    assert rows * longest < 2 * sum(max(length, longest / 1024) for length in lengths) + longest


# Where it must not fire.


def refuses(model: ir.Model, reason: str) -> None:
    """`unpad` leaves `model` as it is, node by node, and says `reason`."""
    before = [(node.op_type, tuple(node.inputs), tuple(node.outputs)) for node in model.graph]
    outcome = unpad(model, CONTEXT)
    assert outcome.count == 0
    assert reason in outcome.refusals[0].reason
    assert [(node.op_type, tuple(node.inputs), tuple(node.outputs)) for node in model.graph] == before


def test_not_without_attention() -> None:
    build = GraphBuilder()
    refuses(build.model({"y": build.op("Relu", [build.input("x", ["b", "s", 4])])}), "no attention")


def test_not_with_a_cache() -> None:
    refuses(AttentionLayer(cached=True, outputs=3).model(), "cache")


def test_not_where_the_keys_are_returned() -> None:
    layer = AttentionLayer(outputs=3)
    refuses(layer.model(present_key=layer.attention.outputs[1]), "cache")


def test_not_without_a_mask() -> None:
    refuses(AttentionLayer(masked=False).model(), "no key mask")


def test_not_with_a_bias_of_another_kind() -> None:
    layer = AttentionLayer(masked=False)
    layer.attention.resize_inputs(4)
    layer.attention.replace_input_with(3, layer.build.input("bias", ["b", 1, "s", "s"]))
    refuses(layer.model(), "no key mask")


def test_not_on_states_that_no_table_gave() -> None:
    """The input is [B, S, D]: nothing says that its rows are the tokens of the mask."""
    refuses(AttentionLayer().model(), "not computed token by token")


def test_not_with_cross_attention() -> None:
    refuses(AttentionLayer(memory=True).model(), "not computed token by token")


def changed(change: Any, task: str = "feature-extraction", options: TaskOptions | None = None) -> ir.Model:
    """A canonical graph after `change(build)`."""
    module = tiny_module(task, options or TaskOptions())
    build = CanonicalBert(module)
    outputs = change(build) or {}
    return build.model({"last_hidden_state": build.hidden, **outputs})


def attentions(build: CanonicalBert) -> list[ir.Node]:
    return [node for node in build.graph if node.op_type == canonical.ATTENTION]


def test_not_with_two_masks() -> None:
    def change(build: CanonicalBert) -> None:
        attentions(build)[1].replace_input_with(3, build.key_mask(build.input("mask_2", ["b", "s"], INT64)))
        build.graph.sort()

    refuses(changed(change), "another key mask")


def test_not_where_tokens_are_mixed() -> None:
    """A running sum over the sequence between two layers needs every place of the batch."""

    def change(build: CanonicalBert) -> None:
        first = build.hidden_states[1]
        axis = build.weight("axis", np.array(1, np.int64))
        mixed = build.op("CumSum", [first, axis], shape=first.shape)
        first.replace_all_uses_with(mixed)
        mixed.producer().replace_input_with(0, first)  # type: ignore[union-attr]
        build.graph.sort()

    refuses(changed(change), "not computed token by token")


def test_not_where_a_norm_runs_over_other_axes() -> None:
    def change(build: CanonicalBert) -> None:
        norm = build.hidden_states[1].producer()
        assert norm is not None
        norm.attributes["axis"] = ir.AttrInt64("axis", 1)

    refuses(changed(change), "not computed token by token")


def insert(build: CanonicalBert, operand: ir.Value) -> None:
    """Multiply the states after the first layer with `operand`."""
    first = build.hidden_states[1]
    scaled = build.op("Mul", [first, operand], shape=first.shape)
    first.replace_all_uses_with(scaled)
    scaled.producer().replace_input_with(0, first)  # type: ignore[union-attr]
    build.graph.sort()


def test_not_where_a_vector_belongs_to_each_text() -> None:
    refuses(changed(lambda build: insert(build, build.input("scale", ["batch_size", 1, 24]))), "token by token")


def test_not_where_an_operand_has_no_known_shape() -> None:
    def change(build: CanonicalBert) -> None:
        insert(build, build.op("Relu", [build.input("scale", ["batch_size", 1, 24])]))

    refuses(changed(change), "token by token")


@pytest.mark.parametrize("shape", [(1, 13, 24), (13, 24), (13, 1), (1, 1, 24), (24,), ()])
def test_operands_of_every_shape_are_packed(shape: tuple[int, ...]) -> None:
    """What is the same for all texts is packed by position; what is the same for all tokens is broadcast."""
    model = changed(lambda build: insert(build, build.weight("scale", normal(*shape))))
    reference = model.clone()
    assert unpad(model, CONTEXT).count == LAYERS
    mask = masks(4, 13, np.random.default_rng(5))["left"]
    feeds = feeds_for(tiny_module("feature-extraction"), mask)
    answers = []
    for graph in (model, reference):
        lower_plain(graph, CONTEXT)
        answers.append(run(graph, feeds)["last_hidden_state"])
    np.testing.assert_allclose(answers[0], answers[1] * mask[..., None], atol=2e-5)


def test_operands_that_are_not_computed_by_token_are_packed() -> None:
    model = changed(lambda build: insert(build, build.input("extra", ["batch_size", "sequence_length", 24])))
    reference = model.clone()
    assert unpad(model, CONTEXT).count == LAYERS
    mask = masks(4, 13, np.random.default_rng(5))["left"]
    feeds = feeds_for(tiny_module("feature-extraction"), mask) | {"extra": normal(4, 13, 24)}
    answers = []
    for graph in (model, reference):
        lower_plain(graph, CONTEXT)
        answers.append(run(graph, feeds)["last_hidden_state"])
    np.testing.assert_allclose(answers[0], answers[1] * mask[..., None], atol=2e-5)


def test_not_where_ids_have_other_axes_than_the_mask() -> None:
    def change(build: CanonicalBert) -> None:
        for value in build.graph.inputs:
            if value.name == "attention_mask":
                value.shape = ir.Shape(["other_batch", "sequence_length"])

    refuses(changed(change), "not computed token by token")


def test_not_where_an_axis_has_no_name() -> None:
    def change(build: CanonicalBert) -> None:
        for value in build.graph.inputs:
            value.shape = ir.Shape([None, None])

    refuses(changed(change), "not computed token by token")


def test_not_where_an_output_at_padding_would_not_be_zero() -> None:
    def change(build: CanonicalBert) -> dict[str, ir.Value]:
        axis = build.weight("axis", np.array(1, np.int64))
        return {"sums": build.op("CumSum", [build.hidden, axis], shape=build.hidden.shape)}

    refuses(changed(change), "would not be zero at padding")


def test_not_where_an_output_has_no_row_for_each_text() -> None:
    def change(build: CanonicalBert) -> dict[str, ir.Value]:
        first = build.first_token(build.hidden)
        axis = build.integers("axis", 1)
        return {"three": build.op("Exp", [build.op("Unsqueeze", [first, axis])], shape=["batch_size", 1, 24])}

    refuses(changed(change), "has 3 axes")


def test_not_where_queries_are_not_tokens() -> None:
    def change(build: CanonicalBert) -> None:
        queries = build.input("queries", ["batch_size", "sequence_length", 24])
        attentions(build)[0].replace_input_with(0, queries)

    refuses(changed(change), "queries are not computed token by token")


# Where rows must not be shared.


def rows_refuse(model: ir.Model, reason: str, count: int = 0) -> None:
    outcome = share_rows(model, CONTEXT)
    assert outcome.count == count
    assert {refusal.reason for refusal in outcome.refusals} == {reason}


def test_rows_are_not_shared_without_unpad() -> None:
    model = canonical_model(tiny_module("feature-extraction"))
    before = operators(model)
    rows_refuse(model, "it does not run between packed tokens")
    assert operators(model) == before


@pytest.mark.parametrize("kind", ["relative_key", "relative_key_query"])
def test_rows_are_not_shared_with_relative_positions(kind: str) -> None:
    model = canonical_model(tiny_module("feature-extraction", position_embedding_type=kind))
    assert unpad(model, CONTEXT).count == LAYERS
    rows_refuse(model, "its bias is more than a key mask")


def test_rows_are_not_shared_where_probabilities_are_returned() -> None:
    model = canonical_model(tiny_module("fill-mask", TaskOptions(output_attentions=True)))
    assert unpad(model, CONTEXT).count == LAYERS
    rows_refuse(model, "its cache or its probabilities are used")


def test_rows_are_not_shared_after_first_row() -> None:
    model = canonical_model(tiny_module("text-classification"))
    first_row(model, CONTEXT)
    unpad(model, CONTEXT)
    rows_refuse(model, "it does not run between packed tokens", count=1)
