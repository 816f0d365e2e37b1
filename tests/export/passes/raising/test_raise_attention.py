"""raise_attention: every spelling of attention becomes one node; what only looks like it stays."""

from __future__ import annotations

import math
import re

import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spelled_out import H, K, apply, assert_same_answers, operators
from spelled_out_attention import CACHED, OUTPUT, STATE_INPUTS, Spelling, feeds

pytestmark = pytest.mark.slow

SCALE = 1 / math.sqrt(K)
PRESENT = f"{OUTPUT}, float[B,{H},T,{K}] kc, float[B,{H},T,{K}] vh"
KEY_IN_TWO = "kr = Reshape(k, heads) kh = Transpose<perm = [0, 2, 1, 3]>(kr) kt = Transpose<perm = [0, 1, 3, 2]>(kh)"

SPELLINGS: dict[str, tuple[Spelling, float]] = {
    "eager": (Spelling(), SCALE),
    "divided": (Spelling(scaled="t = Div(s, root)"), SCALE),
    "scale first": (Spelling(scaled="t = Mul(scale, s)"), SCALE),
    "bias first": (Spelling(biased="b = Add(bias, t)"), SCALE),
    "key transposed twice": (Spelling(key=KEY_IN_TWO), SCALE),
    "scaled queries": (
        Spelling(product="qs = Mul(qh, scale) s = MatMul(qs, kt)", scaled="t = Identity(s)"),
        SCALE,
    ),
    "half of the scale on both sides": (
        Spelling(
            product="qs = Mul(qh, quarter) ks = Mul(kt, quarter) s = MatMul(qs, ks)",
            scaled="t = Identity(s)",
        ),
        SCALE,
    ),
    "scaled keys before they are transposed": (
        Spelling(
            key="kr = Reshape(k, heads) ks = Div(kr, root) kt = Transpose<perm = [0, 2, 3, 1]>(ks)",
            scaled="t = Identity(s)",
        ),
        SCALE,
    ),
    "no scale": (Spelling(scaled="t = Identity(s)"), 1.0),
    "scaled twice": (Spelling(scaled="u = Mul(s, scale) t = Mul(u, two)"), 2 * SCALE),
    "no bias": (Spelling(biased="b = Identity(t)", inputs=STATE_INPUTS), SCALE),
    "axis by its number": (Spelling(softmax="p = Softmax<axis = 3>(b)"), SCALE),
    "axis left out": (Spelling(softmax="p = Softmax(b)"), SCALE),
    "cache": (Spelling(**CACHED), SCALE),
}


@pytest.mark.parametrize(("spelling", "scale"), SPELLINGS.values(), ids=SPELLINGS)
def test_spellings(spelling: Spelling, scale: float) -> None:
    model = spelling.model()
    apply(model, "simplify")
    assert apply(model, "raise_attention").count == 1
    assert operators(model) == {"bert_onnx.Attention": 1}
    node = model.graph.node(0)
    assert node.attributes["num_heads"].as_int() == H
    assert node.attributes["scale"].as_float() == pytest.approx(scale, rel=1e-6)
    assert [value.name for value in node.inputs[:3] if value] == ["q", "k", "v"]
    assert len(node.outputs) == 1
    assert_same_answers(spelling.model(), ["simplify", "raise_attention"], feeds(spelling.model()))


def test_probabilities_that_the_graph_returns() -> None:
    spelling = Spelling(outputs=f"{OUTPUT}, float[B,{H},S,R] p")
    model = spelling.model()
    assert apply(model, "raise_attention").count == 1
    assert operators(model) == {"bert_onnx.Attention": 1}
    assert [output.name for output in model.graph.outputs] == ["y", "p"]
    assert [output.name for output in model.graph.node(0).outputs] == ["y", "", "", "p"]
    assert_same_answers(spelling.model(), ["raise_attention"], feeds(spelling.model()))


def test_probabilities_that_something_else_reads() -> None:
    spelling = Spelling(after="z = ReduceMax<keepdims = 0>(p)", outputs=f"{OUTPUT}, float z")
    model = spelling.model()
    assert apply(model, "raise_attention").count == 1
    assert operators(model) == {"bert_onnx.Attention": 1, "ReduceMax": 1}
    assert_same_answers(spelling.model(), ["raise_attention"], feeds(spelling.model()))


def test_cache_that_the_graph_returns() -> None:
    spelling = Spelling(**CACHED, outputs=PRESENT)
    model = spelling.model()
    assert apply(model, "raise_attention").count == 1
    assert operators(model) == {"bert_onnx.Attention": 1}
    node = model.graph.node(0)
    assert [value.name for value in node.inputs if value] == ["q", "k", "v", "bias", "pk", "pv"]
    assert [output.name for output in node.outputs] == ["y", "kc", "vh"]
    assert_same_answers(spelling.model(), ["raise_attention"], feeds(spelling.model()))


def test_split_states_that_something_else_reads() -> None:
    """Queries and keys by heads are what relative positions read: they stay, and the attention is one all the same."""
    spelling = Spelling(
        key=KEY_IN_TWO, after="z = Neg(qh) w = Neg(kh)", outputs=f"{OUTPUT}, float[B,3,S,8] z, float[B,3,R,8] w"
    )
    model = spelling.model()
    assert apply(model, "raise_attention").count == 1
    assert operators(model) == {"bert_onnx.Attention": 1, "Reshape": 2, "Transpose": 2, "Neg": 2}
    assert_same_answers(spelling.model(), ["raise_attention"], feeds(spelling.model()))


RELATIVE = Spelling(
    product="s = MatMul(qh, kt) r = Mul(qh, two) a = MatMul(r, table) d = Add(s, a)",
    scaled="t = Mul(d, scale)",
    inputs=f"{STATE_INPUTS}, float[B,1,1,R] bias, float[{K},R] table",
)


def test_relative_scores_become_part_of_the_bias() -> None:
    model = RELATIVE.model()
    assert apply(model, "raise_attention").count == 1
    found = operators(model)
    assert found["bert_onnx.Attention"] == 1
    assert found["Softmax"] == 0
    bias = model.graph.outputs[0].producer().inputs[3]  # type: ignore[union-attr]
    assert bias is not None
    assert bias.producer().op_type == "Add"  # type: ignore[union-attr]
    assert_same_answers(RELATIVE.model(), ["raise_attention"], feeds(RELATIVE.model()))


def test_two_biases_of_one_scale_are_added_before_they_are_scaled() -> None:
    spelling = Spelling(
        product="s = MatMul(qh, kt) d = Add(s, extra) e = Add(other, d)",
        scaled="t = Mul(e, scale)",
        inputs=f"{STATE_INPUTS}, float[B,1,1,R] bias, float[1,{H},S,R] extra, float[B,1,S,R] other",
    )
    model = spelling.model()
    assert apply(model, "raise_attention").count == 1
    assert operators(model) == {"bert_onnx.Attention": 1, "Add": 2, "Mul": 1}
    assert_same_answers(spelling.model(), ["raise_attention"], feeds(spelling.model()))


def test_keys_that_a_bias_is_computed_from_keep_their_cache() -> None:
    """An attention cannot read what it makes: the Concat stays, and the graph returns its result."""
    spelling = Spelling(
        **{
            **CACHED,
            "product": "s = MatMul(qh, kt) a = ReduceMax<keepdims = 1>(kc) d = Add(s, a)",
            "scaled": "t = Mul(d, scale)",
            "outputs": PRESENT,
        }
    )
    model = spelling.model()
    assert apply(model, "raise_attention").count == 1
    assert operators(model)["Concat"] == 1
    node = next(node for node in model.graph if node.op_type == "Attention")
    assert [output.name for output in node.outputs] == ["y", "", "vh"]
    assert_same_answers(spelling.model(), ["raise_attention"], feeds(spelling.model()))


def test_expanded_bias_is_read_before_it_is_expanded() -> None:
    spelling = Spelling(
        biased="x = Expand(bias, shape) b = Add(t, x)",
        inputs=f"{STATE_INPUTS}, float[B,1,1,R] bias, int64[4] shape",
    )
    model = spelling.model()
    expanded = next(node for node in model.graph if node.op_type == "Expand")
    expanded.outputs[0].shape = ir.Shape(["B", 1, "S", "R"])
    assert apply(model, "raise_attention").count == 1
    assert operators(model) == {"bert_onnx.Attention": 1}
    assert model.graph.node(0).inputs[3] is model.graph.inputs[3]


@pytest.mark.parametrize("heads", [[0, -1, H, K], [-1, 0, H, K], [0, 0, -1, K], [0, 0, H, -1]])
def test_shapes_with_one_axis_left_open(heads: list[int]) -> None:
    spelling = Spelling()
    assert apply(spelling.model(heads=heads), "raise_attention").count == 1
    assert_same_answers(spelling.model(heads=heads), ["raise_attention"], feeds(spelling.model()))


@pytest.mark.parametrize("merge", [[0, -1, 24], [-1, 0, 24], [0, 0, -1]])
def test_merges_with_one_axis_left_open(merge: list[int]) -> None:
    spelling = Spelling()
    assert apply(spelling.model(merge=merge), "raise_attention").count == 1
    assert_same_answers(spelling.model(merge=merge), ["raise_attention"], feeds(spelling.model()))


def test_two_layers() -> None:
    one = Spelling()
    lines = " ".join([one.query, one.key, one.value, one.product, one.scaled, one.biased, one.softmax, one.context])
    made = r"\b(qr|qh|kr|kt|vr|vh|s|t|b|p|c|m|y)\b"
    lines = re.sub(made, r"\g<1>2", f"{lines} {one.merged}").replace("Reshape(q,", "Reshape(y,")
    model = Spelling(after=lines.replace("y2 =", "z ="), outputs="float[B,S,24] z").model()
    assert apply(model, "raise_attention").count == 2
    assert operators(model) == {"bert_onnx.Attention": 2}


def test_softmax_of_something_else() -> None:
    """A classifier's softmax looks like nothing, and nothing is said about it."""
    spelling = Spelling(after="z = Softmax<axis = -1>(y)", outputs="float[B,S,24] z")
    model = spelling.model()
    outcome = apply(model, "raise_attention")
    assert (outcome.count, outcome.refusals) == (1, ())
    assert operators(model) == {"bert_onnx.Attention": 1, "Softmax": 1}


@given(st.data())
def test_any_order_of_operands(data: st.DataObject) -> None:
    def pair(left: str, right: str) -> str:
        return ", ".join((right, left) if data.draw(st.booleans()) else (left, right))

    places = data.draw(st.lists(st.sampled_from(["query", "key", "scores"]), unique=True))
    spelling = Spelling(
        query="qr = Reshape(q, heads) qt = Transpose<perm = [0, 2, 1, 3]>(qr) "
        + (f"qh = Mul({pair('qt', 'scale')})" if "query" in places else "qh = Identity(qt)"),
        key=data.draw(st.sampled_from([Spelling().key, KEY_IN_TWO])).replace("kt =", "kn =")
        + (" kt = Div(kn, root)" if "key" in places else " kt = Identity(kn)"),
        scaled=f"t = Mul({pair('s', 'scale')})" if "scores" in places else "t = Identity(s)",
        biased=f"b = Add({pair('t', 'bias')})",
    )
    model = spelling.model()
    apply(model, "simplify")
    assert apply(model, "raise_attention").count == 1
    assert model.graph.node(0).attributes["scale"].as_float() == pytest.approx(SCALE ** len(places), rel=1e-5)
    assert_same_answers(spelling.model(), ["simplify", "raise_attention"], feeds(spelling.model()))
