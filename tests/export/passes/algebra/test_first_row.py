"""first_row: the last layer computes the first row alone where nothing else of it is read."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders import AttentionLayer, assert_close, run
from canonical_bert import CanonicalBert, canonical_model, eager_outputs, tiny_module
from token_masks import feeds_for, masks

from bert_onnx.sentence_modules import pooled
from bert_onnx.tasks import TaskOptions
from export.passes.algebra.first_row import first_row
from export.passes.algebra.merge_qkv import merge_qkv
from export.passes.base import PassContext
from export.passes.graph import canonical
from export.passes.lowering.plain import lower_plain

CONTEXT = PassContext(18)
LAYERS = 2


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("task", ["text-classification", "next-sentence-prediction", "multiple-choice"])
def test_fires_for_heads_of_one_row(task: str, layers: int) -> None:
    module = tiny_module(task, num_hidden_layers=layers)
    model = canonical_model(module)
    outcome = first_row(model, CONTEXT)
    assert (outcome.count, outcome.refusals) == (1, ())
    lower_plain(model, CONTEXT)
    for mask in masks(6, 9, np.random.default_rng(0)).values():
        feeds = feeds_for(module, mask)
        expected = eager_outputs(module, feeds)
        for name, array in run(model, feeds).items():
            assert_close(array, expected[name])


def test_what_is_narrowed_and_what_is_not() -> None:
    """Of the last layer: two products on all rows, for keys and values, and four on one row."""
    module = tiny_module("text-classification")
    model = canonical_model(module)
    first_row(model, CONTEXT)
    lower_plain(model, CONTEXT)
    products = [node for node in model.graph if node.op_type == "MatMul" and node.inputs[1].is_initializer()]
    model.graph.outputs.extend(node.outputs[0] for node in products)
    answers = run(model, feeds_for(module, np.ones((2, 7), np.int64)))
    rows = [answers[node.outputs[0].name].shape[1] for node in products]
    last = [
        count for node, count in zip(products, rows, strict=True) if "layer/1" in node.name or "layer.1" in node.name
    ]
    assert sorted(last) == [1, 1, 1, 1, 7, 7]
    assert [count for count in rows if count == 1] == [1] * 4


def test_slice_reads_the_first_row_as_well() -> None:
    module = tiny_module("text-classification")
    model = canonical_model(module)
    gather = next(node for node in model.graph if node.name == "pooler/Gather")
    build = CanonicalBert(module)  # for its helpers only
    build.graph = model.graph
    zero, one = build.integers("zero_1", 0), build.integers("one_1", 1)
    cut = build.op("Slice", [gather.inputs[0], zero, one, one])
    gather.outputs[0].replace_all_uses_with(build.op("Squeeze", [cut, one]))
    model.graph.remove(gather, safe=True)
    model.graph.sort()
    assert first_row(model, CONTEXT).count == 1
    lower_plain(model, CONTEXT)
    feeds = feeds_for(module, masks(4, 8, np.random.default_rng(1))["left"])
    assert_close(run(model, feeds)["logits"], eager_outputs(module, feeds)["logits"])


def test_after_merged_projections_only_what_follows_is_narrowed() -> None:
    """Correct, though all queries are computed: the reason why it runs before `merge_qkv`."""
    module = tiny_module("text-classification")
    model = canonical_model(module)
    assert merge_qkv(model, CONTEXT).count == LAYERS
    assert first_row(model, CONTEXT).count == 1
    lower_plain(model, CONTEXT)
    feeds = feeds_for(module, masks(4, 8, np.random.default_rng(1))["holed"])
    assert_close(run(model, feeds)["logits"], eager_outputs(module, feeds)["logits"])


# Where it must not fire.


def refuses(model: ir.Model, reason: str) -> None:
    before = [(node.op_type, tuple(node.inputs), tuple(node.outputs)) for node in model.graph]
    outcome = first_row(model, CONTEXT)
    assert outcome.count == 0
    assert reason in outcome.refusals[0].reason
    assert [(node.op_type, tuple(node.inputs), tuple(node.outputs)) for node in model.graph] == before


@pytest.mark.parametrize(
    ("task", "options", "reason"),
    [
        ("feature-extraction", TaskOptions(), "last_hidden_state is an output"),
        ("feature-extraction", TaskOptions(pooler=True), "last_hidden_state is an output"),
        ("sentence-similarity", TaskOptions(pooled("cls")), "last_hidden_state is an output"),
        ("text-classification", TaskOptions(output_hidden_states=True), "hidden_states.2 is an output"),
        ("text-classification", TaskOptions(output_attentions=True), "probabilities"),
        ("fill-mask", None, "logits is an output"),
        ("pretraining", None, "is an output"),
        ("token-classification", None, "logits is an output"),
        ("question-answering", None, "other than the first"),
    ],
)
def test_not_where_other_rows_are_read(task: str, options: TaskOptions | None, reason: str) -> None:
    refuses(canonical_model(tiny_module(task, options)), reason)


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])  # the first real token may stand anywhere in a row
def test_not_for_pooling_over_all_rows(pooling: str) -> None:
    model = canonical_model(tiny_module("sentence-similarity", TaskOptions(pooled(pooling))))
    model.graph.outputs[:] = [value for value in model.graph.outputs if value.name == "sentence_embedding"]
    refuses(model, "other than the first")


@pytest.mark.parametrize("kind", ["relative_key", "relative_key_query"])
def test_not_with_relative_positions(kind: str) -> None:
    refuses(canonical_model(tiny_module("text-classification", position_embedding_type=kind)), "from query to query")


def test_not_with_a_cache() -> None:
    refuses(AttentionLayer(cached=True, outputs=3).model(), "cache")


def test_not_where_another_row_is_read() -> None:
    model = canonical_model(tiny_module("text-classification"))
    gather = next(node for node in model.graph if node.name == "pooler/Gather")
    index = ir.tensor(np.array(1, np.int64), name="second")
    value = ir.Value(name="second", type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([]), const_value=index)
    model.graph.register_initializer(value)
    gather.replace_input_with(1, value)
    refuses(model, "other than the first")


def test_not_where_the_first_text_is_read() -> None:
    """Gather along axis 0 reads all rows of the first text."""
    model = canonical_model(tiny_module("text-classification"))
    gather = next(node for node in model.graph if node.name == "pooler/Gather")
    gather.attributes["axis"] = ir.AttrInt64("axis", 0)
    refuses(model, "other than the first")


def test_not_where_nothing_reads_it() -> None:
    model = canonical_model(tiny_module("text-classification"))
    model.graph.outputs[:] = []
    gather = next(node for node in model.graph if node.name == "pooler/Gather")
    nodes = list(model.graph)
    for node in reversed(nodes[nodes.index(gather) :]):
        model.graph.remove(node, safe=True)
    refuses(model, "nothing reads the first row")


def test_nothing_to_do_without_attention() -> None:
    model = canonical_model(tiny_module("text-classification"))
    for node in list(model.graph):
        if node.op_type == canonical.ATTENTION:
            node.op_type = "Other"
    outcome = first_row(model, CONTEXT)
    assert (outcome.count, outcome.refusals) == (0, ())
