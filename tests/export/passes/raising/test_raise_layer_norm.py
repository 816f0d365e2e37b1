"""raise_layer_norm: spelled-out layer normalisation becomes the operator; what only looks like it stays."""

from __future__ import annotations

import re

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spelled_out import STATES, D, apply, assert_same_answers, assert_untouched, normal, operators, parse, states

CONSTANTS: dict[str, object] = {
    "w": normal(D, seed=1),
    "b": normal(D, seed=2),
    "two": 2.0,
    "half": 0.5,
    "minus_half": -0.5,
    "eps": 1e-12,
    "last": [-1],
    "third": [2],
    "second": [1],
    "wide": normal(5, D, seed=3),
    "many": np.full(D, 1e-12),
    "negative": -1e-12,
    "three": 3.0,
}

TORCH = (
    "m = ReduceMean<axes = [-1]>(x) d = Sub(x, m) s = Pow(d, two) v = ReduceMean<axes = [-1]>(s) e = Add(v, eps) "
    "r = Sqrt(e) q = Div(d, r) p = Mul(q, w) y = Add(p, b)"
)
SPELLINGS = {
    "torch below opset 17": (TORCH, 17),
    "axes as an input": (TORCH.replace("<axes = [-1]>(x)", "(x, last)").replace("<axes = [-1]>(s)", "(s, last)"), 18),
    "the last axis by its number": (TORCH.replace("axes = [-1]", "axes = [2]"), 17),
    "keepdims spelled out": (TORCH.replace("axes = [-1]", "axes = [-1], keepdims = 1"), 17),
    "square as a product": (TORCH.replace("Pow(d, two)", "Mul(d, d)"), 17),
    "sums turned round": (TORCH.replace("Add(v, eps)", "Add(eps, v)").replace("Add(p, b)", "Add(b, p)"), 17),
    "weight first": (TORCH.replace("Mul(q, w)", "Mul(w, q)"), 17),
    "root as a power": (TORCH.replace("Sqrt(e)", "Pow(e, half)"), 17),
    "times the inverse power": (TORCH.replace("Sqrt(e)", "Pow(e, minus_half)").replace("Div(d, r)", "Mul(d, r)"), 17),
    "times the reciprocal": (
        TORCH.replace("r = Sqrt(e) q = Div(d, r)", "o = Sqrt(e) r = Reciprocal(o) q = Mul(r, d)"),
        17,
    ),
}


def norm(body: str, opset: int = 17, outputs: str = f"{STATES} y", inputs: str = f"{STATES} x") -> ir.Model:
    return parse(body, inputs, outputs, CONSTANTS, opset)


@pytest.mark.parametrize(("body", "opset"), SPELLINGS.values(), ids=SPELLINGS)
def test_spellings(body: str, opset: int) -> None:
    model = norm(body, opset)
    assert apply(model, "raise_layer_norm").count == 1
    assert operators(model) == {"LayerNormalization": 1}
    node = model.graph.node(0)
    assert node.attributes["axis"].as_int() == -1
    assert node.attributes["epsilon"].as_float() == pytest.approx(1e-12)
    assert [value.name if value else None for value in node.inputs] == ["x", "w", "b"]
    assert_same_answers(norm(body, opset), ["raise_layer_norm"], {"x": states() * 30 + 7})


def test_epsilon_that_matters() -> None:
    body = TORCH.replace("eps)", "half)")
    assert_same_answers(norm(body), ["raise_layer_norm"], {"x": states() * 0.1})


def test_residual_sum_before_it_may_be_read_elsewhere() -> None:
    body = "x = Add(a, c) " + TORCH + " z = Neg(x)"
    model = norm(body, outputs=f"{STATES} y, {STATES} z", inputs=f"{STATES} a, {STATES} c")
    assert apply(model, "raise_layer_norm").count == 1
    assert operators(model) == {"Add": 1, "LayerNormalization": 1, "Neg": 1}


def test_two_in_a_row() -> None:
    second = re.sub(r"\b([xmdsverqpy])\b", r"\1\1", TORCH).replace("xx", "y").replace("yy =", "z =")
    model = norm(f"{TORCH} {second}", outputs=f"{STATES} z")
    assert apply(model, "raise_layer_norm").count == 2
    assert operators(model) == {"LayerNormalization": 2}


NOT_A_NORM = {
    "mean over another axis": (TORCH.replace("[-1]>(x)", "[1]>(x)"), "last axis"),
    "variance over another axis": (TORCH.replace("[-1]>(s)", "[1]>(s)"), "last axis"),
    "over both": (TORCH.replace("axes = [-1]", "axes = [1, 2]"), "last axis"),
    "epsilon of many": (TORCH.replace("eps)", "many)"), "epsilon"),
    "negative epsilon": (TORCH.replace("eps)", "negative)"), "epsilon"),
    "computed epsilon": (TORCH.replace("e = Add(v, eps)", "f = Exp(eps) e = Add(v, f)"), "epsilon"),
    "no epsilon": (TORCH.replace("e = Add(v, eps) r = Sqrt(e)", "r = Sqrt(v)"), "epsilon"),
    "third power": (TORCH.replace("two)", "three)"), None),
    "mean of something else": (TORCH.replace("(x) d", "(z) d").replace("m =", "z = Neg(x) m ="), None),
    "another quotient": (TORCH.replace("Div(d, r)", "Div(x, r)"), "not divided"),
    "turned quotient": (TORCH.replace("Div(d, r)", "Div(r, d)"), "not divided"),
    "another root": (TORCH.replace("Sqrt(e)", "Pow(e, three)"), "not divided"),
    "weight for each token": (TORCH.replace("(q, w)", "(q, wide)"), "weight"),
    "bias for each token": (TORCH.replace("(p, b)", "(p, wide)"), "bias"),
    "one weight for all": (TORCH.replace("(q, w)", "(q, half)"), "weight"),
    "computed weight": (TORCH.replace("p = Mul(q, w)", "g = Neg(w) p = Mul(q, g)"), "weight"),
    "no bias": (TORCH.replace("p = Mul(q, w) y = Add(p, b)", "y = Mul(q, w)"), "bias"),
}


@pytest.mark.parametrize(("body", "reason"), NOT_A_NORM.values(), ids=NOT_A_NORM)
def test_other_formulas(body: str, reason: str | None) -> None:
    assert_untouched(norm(body), "raise_layer_norm", reason=reason)


@pytest.mark.parametrize("name", ["d", "q", "p"])
def test_a_value_inside_that_the_graph_returns(name: str) -> None:
    assert_untouched(norm(TORCH, outputs=f"{STATES} y, {STATES} {name}"), "raise_layer_norm", reason="")


@pytest.mark.parametrize("name", ["m", "d", "s", "v", "e", "r", "q", "p"])
def test_a_value_inside_that_something_else_reads(name: str) -> None:
    model = norm(f"{TORCH} z = Neg({name})", outputs=f"{STATES} y, float[B,S,N] z")
    assert_untouched(model, "raise_layer_norm", reason="")


def test_opset_without_the_operator() -> None:
    assert_untouched(norm(TORCH, 14), "raise_layer_norm", reason="opset 14 has no LayerNormalization")


@given(st.tuples(*[st.booleans()] * 4), st.booleans())
def test_any_order_of_operands(turned: tuple[bool, ...], product: bool) -> None:
    def pair(turn: bool, left: str, right: str) -> str:
        return f"{right}, {left}" if turn else f"{left}, {right}"

    square = "Mul(d, d)" if product else "Pow(d, two)"
    body = (
        f"m = ReduceMean<axes = [-1]>(x) d = Sub(x, m) s = {square} v = ReduceMean<axes = [-1]>(s) "
        f"e = Add({pair(turned[0], 'v', 'eps')}) o = Sqrt(e) r = Reciprocal(o) q = Mul({pair(turned[1], 'd', 'r')}) "
        f"p = Mul({pair(turned[2], 'q', 'w')}) y = Add({pair(turned[3], 'p', 'b')})"
    )
    assert apply(norm(body), "raise_layer_norm").count == 1
