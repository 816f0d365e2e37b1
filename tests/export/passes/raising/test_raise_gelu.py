"""raise_gelu: every spelling of GELU becomes one node; what only looks like it stays."""

from __future__ import annotations

import math

import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spelled_out import STATES, apply, assert_same_answers, assert_untouched, operators, parse, states

CONSTANTS = {
    "root2": math.sqrt(2.0),
    "over_root2": 1 / math.sqrt(2.0),
    "one": 1.0,
    "half": 0.5,
    "two": 2.0,
    "three": 3.0,
    "c": 0.044715,
    "k": math.sqrt(2 / math.pi),
    "kc": 0.044715 * math.sqrt(2 / math.pi),
}

ERF = {
    "torch": "a = Div(x, root2) b = Erf(a) d = Add(b, one) e = Mul(x, d) y = Mul(e, half)",
    "onnxscript": "a = Div(x, root2) b = Erf(a) d = Add(b, one) e = Mul(half, d) y = Mul(x, e)",
    "half of x first": "a = Mul(x, over_root2) b = Erf(a) d = Add(one, b) e = Mul(half, x) y = Mul(e, d)",
    "all turned round": "a = Mul(over_root2, x) b = Erf(a) d = Add(one, b) e = Mul(d, x) y = Mul(half, e)",
    "divided by two": "a = Div(x, root2) b = Erf(a) d = Add(b, one) e = Mul(d, x) y = Div(e, two)",
    "x divided by two": "a = Div(x, root2) b = Erf(a) d = Add(b, one) e = Div(x, two) y = Mul(d, e)",
}
TANH = {
    "transformers": "p = Pow(x, three) q = Mul(c, p) r = Add(x, q) s = Mul(k, r) t = Tanh(s) u = Add(one, t) "
    "h = Mul(half, x) y = Mul(h, u)",
    "torch": "p = Mul(x, x) q = Mul(x, p) r = Mul(q, c) s = Add(x, r) m = Mul(s, k) t = Tanh(m) u = Add(t, one) "
    "h = Mul(x, half) y = Mul(h, u)",
    "factored": "p = Mul(x, x) q = Mul(p, kc) r = Add(q, k) s = Mul(x, r) t = Tanh(s) u = Add(t, one) "
    "h = Mul(x, u) y = Mul(h, half)",
    "half last": "p = Pow(x, three) q = Mul(p, c) r = Add(q, x) s = Mul(r, k) t = Tanh(s) u = Add(t, one) "
    "h = Mul(u, half) y = Mul(h, x)",
    "square of a power": "p = Pow(x, two) q = Mul(p, x) r = Mul(q, c) s = Add(r, x) m = Mul(s, k) t = Tanh(m) "
    "u = Add(t, one) h = Mul(x, u) y = Mul(half, h)",
}


def gelu(body: str, outputs: str = f"{STATES} y", inputs: str = f"{STATES} x", **constants: object) -> ir.Model:
    return parse(body, inputs, outputs, {**CONSTANTS, **constants})


@pytest.mark.parametrize(
    ("body", "approximate"), [(b, "none") for b in ERF.values()] + [(b, "tanh") for b in TANH.values()]
)
def test_spellings(body: str, approximate: str) -> None:
    model = gelu(body)
    assert apply(model, "raise_gelu").count == 1
    assert operators(model) == {"bert_onnx.Gelu": 1}
    assert model.graph.node(0).attributes["approximate"].as_string() == approximate
    assert model.graph.node(0).inputs[0] is model.graph.inputs[0]
    assert_same_answers(gelu(body), ["raise_gelu"], {"x": states()}, 1e-6)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_the_operator_itself(approximate: str) -> None:
    model = parse(f'y = Gelu<approximate = "{approximate}">(x)', opset=20)
    assert apply(model, "raise_gelu", opset=20).count == 1
    assert operators(model) == {"bert_onnx.Gelu": 1}
    assert model.graph.node(0).attributes["approximate"].as_string() == approximate


def test_two_of_one_state_and_one_of_the_other() -> None:
    """What is counted is what was replaced; x may be read by anything else, too."""
    body = (
        "a = Div(x, root2) b = Erf(a) d = Add(b, one) e = Mul(x, d) f = Mul(e, half) "
        "a2 = Div(f, root2) b2 = Erf(a2) d2 = Add(b2, one) e2 = Mul(f, d2) g = Mul(e2, half) y = Add(g, x)"
    )
    model = gelu(body)
    assert apply(model, "raise_gelu").count == 2
    assert operators(model) == {"bert_onnx.Gelu": 2, "Add": 1}


def test_a_product_with_gelu_is_left_outside() -> None:
    """Another factor belongs to what follows, also where it could be taken for x or for the one half."""
    body = "a = Div(x, root2) b = Erf(a) d = Add(b, one) e = Mul(x, d) f = Mul(e, half) g = Mul(f, x) y = Mul(g, half)"
    model = gelu(body)
    assert apply(model, "raise_gelu").count == 1
    assert operators(model) == {"bert_onnx.Gelu": 1, "Mul": 2}
    assert_same_answers(gelu(body), ["raise_gelu"], {"x": states()}, 1e-6)


def test_x_that_is_a_product_itself() -> None:
    body = "z = Mul(x, half) a = Div(z, root2) b = Erf(a) d = Add(b, one) e = Mul(z, d) y = Mul(e, half)"
    model = gelu(body)
    assert apply(model, "raise_gelu").count == 1
    assert operators(model) == {"bert_onnx.Gelu": 1, "Mul": 1}
    assert_same_answers(gelu(body), ["raise_gelu"], {"x": states()}, 1e-6)


def test_gelu_that_the_graph_returns() -> None:
    model = gelu(ERF["torch"])
    apply(model, "raise_gelu")
    assert [output.name for output in model.graph.outputs] == ["y"]
    assert model.graph.outputs[0].shape is not None


NOT_GELU = {
    "wrong root": ("a = Div(x, three) b = Erf(a) d = Add(b, one) e = Mul(x, d) y = Mul(e, half)", "constants"),
    "rounded root": ("a = Div(x, r) b = Erf(a) d = Add(b, one) e = Mul(x, d) y = Mul(e, half)", "constants"),
    "not one half": ("a = Div(x, root2) b = Erf(a) d = Add(b, one) e = Mul(x, d) y = Mul(e, two)", "constants"),
    "no one half": ("a = Div(x, root2) b = Erf(a) d = Add(b, one) y = Mul(x, d)", "constants"),
    "plus two": ("a = Div(x, root2) b = Erf(a) d = Add(b, two) e = Mul(x, d) y = Mul(e, half)", None),
    "minus one": ("a = Div(x, root2) b = Erf(a) d = Sub(b, one) e = Mul(x, d) y = Mul(e, half)", None),
    "erf alone": ("a = Div(x, root2) y = Erf(a)", None),
    "not times x": ("a = Div(x, root2) b = Erf(a) d = Add(b, one) y = Mul(d, half)", "not multiplied with x"),
    "squared": ("a = Div(x, root2) b = Erf(a) d = Add(b, one) e = Mul(d, d) y = Mul(e, half)", "not multiplied with x"),
    "computed root": (
        "s = Sqrt(two) a = Div(x, s) b = Erf(a) d = Add(b, one) e = Mul(x, d) y = Mul(e, half)",
        "no polynomial",
    ),
    "root of many": ("a = Div(x, roots) b = Erf(a) d = Add(b, one) e = Mul(x, d) y = Mul(e, half)", "no polynomial"),
    "over a shifted x": (
        "z = Add(x, one) a = Div(z, root2) b = Erf(a) d = Add(b, one) e = Mul(x, d) y = Mul(e, half)",
        "constants",
    ),
    "wrong cubic": (
        "p = Pow(x, three) q = Mul(half, p) r = Add(x, q) s = Mul(k, r) t = Tanh(s) u = Add(one, t) h = Mul(half, x) "
        "y = Mul(h, u)",
        "constants",
    ),
    "square for cube": (
        "p = Pow(x, two) q = Mul(c, p) r = Add(x, q) s = Mul(k, r) t = Tanh(s) u = Add(one, t) h = Mul(half, x) "
        "y = Mul(h, u)",
        "constants",
    ),
    "a pooler": ("y = Tanh(x)", None),
}


@pytest.mark.parametrize(("body", "reason"), NOT_GELU.values(), ids=NOT_GELU)
def test_other_formulas(body: str, reason: str | None) -> None:
    assert_untouched(gelu(body, r=1.4, roots=[1.4, 1.5] * 12), "raise_gelu", reason=reason)


SHARED = {
    "erf is returned": (ERF["torch"], "b", "read elsewhere"),
    "one plus erf is returned": (ERF["torch"], "d", "not multiplied with x, or is read elsewhere"),
    "x / root 2 is returned": (ERF["torch"], "a", "read elsewhere"),
    "the product without the half is returned": (ERF["torch"], "e", "constants"),
    "the cube is returned": (TANH["transformers"], "p", "read elsewhere"),
}


@pytest.mark.parametrize(("body", "name", "reason"), SHARED.values(), ids=SHARED)
def test_a_value_inside_that_the_graph_returns(body: str, name: str, reason: str) -> None:
    assert_untouched(gelu(body, f"{STATES} y, {STATES} {name}"), "raise_gelu", reason=reason)


@pytest.mark.parametrize(
    ("name", "reason"), [("b", "read elsewhere"), ("d", "read elsewhere"), ("a", "read elsewhere")]
)
def test_a_value_inside_that_something_else_reads(name: str, reason: str) -> None:
    assert_untouched(gelu(f"{ERF['torch']} z = Neg({name})", f"{STATES} y, {STATES} z"), "raise_gelu", reason=reason)


def test_another_state_for_x() -> None:
    body = "a = Div(x, root2) b = Erf(a) d = Add(b, one) e = Mul(z, d) y = Mul(e, half)"
    assert_untouched(gelu(body, inputs=f"{STATES} x, {STATES} z"), "raise_gelu", reason="no polynomial")


@given(st.data())
def test_any_order_of_operands(data: st.DataObject) -> None:
    """Sums and products commute, and the one half may stand anywhere in the product."""

    def swap(operator: str, left: str, right: str) -> str:
        return f"{operator}({right}, {left})" if data.draw(st.booleans()) else f"{operator}({left}, {right})"

    lines = [f"a = {swap('Mul', 'x', 'over_root2')}", "b = Erf(a)", f"d = {swap('Add', 'b', 'one')}"]
    factors = data.draw(st.permutations(["x", "half"]))
    if data.draw(st.booleans()):
        lines += [f"e = {swap('Mul', *factors)}", f"y = {swap('Mul', 'e', 'd')}"]
    else:
        lines += [f"e = {swap('Mul', 'd', factors[0])}", f"y = {swap('Mul', 'e', factors[1])}"]
    assert apply(gelu(" ".join(lines)), "raise_gelu").count == 1
