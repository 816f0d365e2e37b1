"""raise_attention_operator: ai.onnx's Attention becomes the canonical one; what it alone can say stays."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
import pytest
from spelled_out import D, H, K, apply, assert_same_answers, assert_untouched, operators, parse
from spelled_out_attention import CONSTANTS, OUTPUT, STATE_INPUTS, Spelling, feeds

SCALE = 1 / math.sqrt(K)
ONE = Spelling()
HEADS = " ".join((ONE.query, ONE.key.replace("kt =", "kh =").replace("[0, 2, 3, 1]", "[0, 2, 1, 3]"), ONE.value))
BIAS = f"{STATE_INPUTS}, float[B,1,S,R] bias"
CACHE = f", float[B,{H},P,{K}] pk, float[B,{H},P,{K}] pv"


def attention(line: str, inputs: str = BIAS, outputs: str = OUTPUT, after: str = ONE.merged) -> ir.Model:
    return parse(f"{HEADS} {line} {after}", inputs, outputs, CONSTANTS, opset=23)


def joined(call: str, inputs: str = BIAS, outputs: str = OUTPUT) -> ir.Model:
    return parse(call, inputs, outputs, CONSTANTS, opset=23)


NUMBERS = f"q_num_heads = {H}, kv_num_heads = {H}"


@pytest.mark.parametrize(
    ("attributes", "scale"),
    [
        ("is_causal = 0", SCALE),
        ("scale = 0.25", 0.25),
        ("softcap = 0.0, qk_matmul_output_mode = 0", SCALE),
    ],
)
def test_heads_apart(attributes: str, scale: float) -> None:
    line = f"c = Attention<{attributes}>(qh, kh, vh, bias)"
    model = attention(line)
    assert apply(model, "raise_attention_operator", opset=23).count == 1
    assert operators(model) == {"bert_onnx.Attention": 1}
    node = model.graph.node(0)
    assert node.attributes["num_heads"].as_int() == H
    assert node.attributes["scale"].as_float() == pytest.approx(scale)
    assert [value.name for value in node.inputs if value] == ["q", "k", "v", "bias"]
    assert_same_answers(attention(line), ["raise_attention_operator"], feeds(attention(line)))


@pytest.mark.parametrize("scale", [None, 0.25])
def test_heads_together(scale: float | None) -> None:
    attributes = NUMBERS if scale is None else f"{NUMBERS}, scale = {scale}"
    call = f"y = Attention<{attributes}>(q, k, v, bias)"
    model = joined(call)
    assert apply(model, "raise_attention_operator", opset=23).count == 1
    assert operators(model) == {"bert_onnx.Attention": 1}
    assert model.graph.node(0).attributes["scale"].as_float() == pytest.approx(scale or SCALE)
    assert_same_answers(joined(call), ["raise_attention_operator"], feeds(joined(call)))


def test_cache_and_probabilities() -> None:
    def make() -> ir.Model:
        return joined(
            f"y, nk, nv, p = Attention<{NUMBERS}, qk_matmul_output_mode = 3>(q, k, v, bias, pk, pv)",
            inputs=BIAS.replace("[B,1,S,R]", "[B,1,S,T]") + CACHE,
            outputs=f"{OUTPUT}, float[B,{H},T,{K}] nk, float[B,{H},T,{K}] nv, float[B,{H},S,T] p",
        )

    model = make()
    assert apply(model, "raise_attention_operator", opset=23).count == 1
    assert operators(model) == {"bert_onnx.Attention": 1}
    assert [output.name for output in model.graph.node(0).outputs] == ["y", "nk", "nv", "p"]
    assert_same_answers(make(), ["raise_attention_operator"], feeds(make()))


def test_mask_of_booleans() -> None:
    def make() -> ir.Model:
        return attention("c = Attention(qh, kh, vh, seen)", f"{STATE_INPUTS}, bool[1,1,S,R] seen")

    model = make()
    assert apply(model, "raise_attention_operator", opset=23).count == 1
    assert operators(model) == {"Where": 1, "bert_onnx.Attention": 1}
    arrays = feeds(make())
    arrays["seen"] = np.tril(np.ones((1, 1, 4, 7), bool), 2)
    assert_same_answers(make(), ["raise_attention_operator"], arrays)


def test_key_mask_of_booleans() -> None:
    """A boolean mask of keys is recognised in the bias afterwards, and read without its Expand."""
    line = "u = Unsqueeze(mask, at12) e = Expand(u, shape) f = Cast<to = 9>(e) c = Attention(qh, kh, vh, f)"
    body = f"{HEADS} {line} {ONE.merged}"
    inputs = f"{STATE_INPUTS}, int64[B,R] mask, int64[4] shape"
    model = parse(body, inputs, OUTPUT, {**CONSTANTS, "at12": [1, 2]}, opset=23)
    apply(model, "infer_shapes", opset=23)
    assert apply(model, "raise_attention_operator", "raise_masks", opset=23).count == 1
    assert operators(model) == {"bert_onnx.KeyMask": 1, "bert_onnx.Attention": 1}


UNSUPPORTED = {
    "is_causal": ("is_causal = 1", "qh, kh, vh", "c", "is_causal"),
    "softcap": ("softcap = 5.0", "qh, kh, vh", "c", "softcap"),
    "scores": ("qk_matmul_output_mode = 0", "qh, kh, vh", "c, nk, nv, s", "before softmax"),
    "scores with bias": ("qk_matmul_output_mode = 1", "qh, kh, vh, bias", "c, nk, nv, s", "before softmax"),
    "states of one head": ("is_causal = 0", "qh, k4, v4", "c", "not a state that was split"),
    "scaled values": ("is_causal = 0", "qh, kh, vs", "c", "values are scaled"),
    "transposed values": ("is_causal = 0", "qh, kh, vr", "c", "not a state that was split"),
}


@pytest.mark.parametrize(("attributes", "arguments", "outputs", "reason"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_what_the_canonical_form_cannot_say(attributes: str, arguments: str, outputs: str, reason: str) -> None:
    returned = f"{OUTPUT}, float[B,{H},S,R] s" if " s" in outputs else OUTPUT
    inputs = f"{BIAS}, float[B,{H},R,{K}] k4, float[B,{H},R,{K}] v4"
    extra = "vs = Mul(vh, two) " if "vs" in arguments else ""
    model = attention(f"{extra}{outputs} = Attention<{attributes}>({arguments})", inputs, returned)
    assert_untouched(model, "raise_attention_operator", reason=reason)


def test_fewer_heads_of_keys() -> None:
    model = joined(
        f"y = Attention<q_num_heads = {H}, kv_num_heads = 1>(q, k, v)",
        inputs=f"float[B,S,{D}] q, float[B,R,{K}] k, float[B,R,{K}] v",
    )
    assert_untouched(model, "raise_attention_operator", reason="fewer heads")


def test_context_that_is_read_by_heads() -> None:
    line = "c = Attention(qh, kh, vh) z = Neg(c)"
    model = attention(line, outputs=f"{OUTPUT}, float[B,{H},S,{K}] z")
    assert_untouched(model, "raise_attention_operator", reason="puts the heads together")


def test_context_that_is_returned_by_heads() -> None:
    model = attention("c = Attention(qh, kh, vh)", outputs=f"float[B,{H},S,{K}] c", after="")
    assert_untouched(model, "raise_attention_operator", reason="puts the heads together")


def test_opset_18_has_no_such_operator() -> None:
    """A graph without it is left in peace."""
    assert_untouched(Spelling().model(), "raise_attention_operator", reason=None)
