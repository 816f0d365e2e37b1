"""raise_masks: every way to make a bias of a key mask becomes one node; other masks stay."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spelled_out import apply, assert_same_answers, assert_untouched, operators, parse

LOWEST = float(np.finfo(np.float32).min)
MASK, BIAS = "int64[B,R] mask", "float[B,N,M,R] y"
CONSTANTS: dict[str, object] = {
    "one": 1.0,
    "zero": 0.0,
    "ones": 1,
    "nought": 0,
    "low": LOWEST,
    "minus": -10000.0,
    "infinite": np.float32(-np.inf),
    "high": 10000.0,
    "small": -1.0,
    "half": 0.5,
    "at1": [1],
    "places": [0, 1, 1, -1],
    "at2": [2],
    "at12": [1, 2],
    "at0": [0],
    "wide": np.ones((1, 1, 5, 1), np.float32),
    "table": np.arange(8, dtype=np.float32).reshape(4, 2),
    "square": np.array([-1, 1, 5, 7]),
    "flat": np.array([-1, 7]),
}
VISIBLE = "u = Unsqueeze(mask, at12) c = Cast<to = 1>(u) "
HIDDEN = VISIBLE + "h = Sub(one, c) "
SPELLINGS = {
    "eager": (HIDDEN + "y = Mul(h, low)", LOWEST),
    "cast before the axes": (
        "c = Cast<to = 1>(mask) u = Unsqueeze(c, at1) v = Unsqueeze(u, at2) h = Sub(one, v) y = Mul(low, h)",
        LOWEST,
    ),
    "ten thousand": (HIDDEN + "y = Mul(h, minus)", -10000.0),
    "masked_fill": (HIDDEN + "f = Cast<to = 9>(h) y = Where(f, low, h)", LOWEST),
    "masked_fill twice cast": (HIDDEN + "e = Cast<to = 9>(h) f = Cast<to = 9>(e) y = Where(f, low, h)", LOWEST),
    "choice": ("u = Unsqueeze(mask, at12) f = Cast<to = 9>(u) y = Where(f, zero, low)", LOWEST),
    "choice of infinity": ("u = Unsqueeze(mask, at12) f = Cast<to = 9>(u) y = Where(f, zero, infinite)", LOWEST),
    "not": ("u = Unsqueeze(mask, at12) f = Cast<to = 9>(u) n = Not(f) y = Where(n, low, zero)", LOWEST),
    "equal to zero": ("u = Unsqueeze(mask, at12) n = Equal(u, nought) y = Where(n, minus, zero)", -10000.0),
    "greater than zero": ("u = Unsqueeze(mask, at12) f = Greater(u, nought) y = Where(f, zero, minus)", -10000.0),
    "minus one": (VISIBLE + "h = Sub(c, one) y = Mul(h, high)", -10000.0),
    "axes by a Reshape": ("u = Reshape(mask, places) n = Equal(u, nought) y = Where(n, low, zero)", LOWEST),
    "integers": ("u = Unsqueeze(mask, at12) h = Sub(ones, u) c = Cast<to = 1>(h) y = Mul(c, low)", LOWEST),
}


def masks(body: str, inputs: str = MASK, outputs: str = BIAS) -> ir.Model:
    model = parse(body, inputs, outputs, CONSTANTS)
    if model.graph.outputs[0].name == "y":
        model.graph.outputs[0].shape = None
    return model


def feeds(dtype: type = np.int64) -> dict[str, np.ndarray]:
    return {"mask": np.array([[1, 1, 1, 0, 0], [0, 1, 1, 1, 1], [1, 0, 0, 1, 0]], dtype)}


@pytest.mark.parametrize(("body", "fill"), SPELLINGS.values(), ids=SPELLINGS)
def test_spellings(body: str, fill: float) -> None:
    model = masks(body)
    assert apply(model, "raise_masks").count == 1
    assert operators(model) == {"bert_onnx.KeyMask": 1}
    node = model.graph.node(0)
    assert node.attributes["fill"].as_float() == fill
    assert node.inputs[0] is model.graph.inputs[0]
    assert node.outputs[0].shape == ir.Shape(["B", 1, 1, "R"])
    if "infinite" not in body:
        assert_same_answers(masks(body), ["raise_masks"], feeds(), 0.0)


@pytest.mark.parametrize(("type_", "dtype"), [("int32", np.int32), ("float", np.float32), ("bool", np.bool_)])
def test_other_types_are_cast(type_: str, dtype: type) -> None:
    body = SPELLINGS["eager"][0]
    model = masks(body, f"{type_}[B,R] mask")
    assert apply(model, "raise_masks").count == 1
    assert operators(model) == {"Cast": 1, "bert_onnx.KeyMask": 1}
    assert_same_answers(masks(body, f"{type_}[B,R] mask"), ["raise_masks"], feeds(dtype), 0.0)


def test_one_mask_for_every_layer() -> None:
    """A bias that each layer makes for itself is made once."""
    body = HIDDEN + "b = Mul(h, low) y = Add(s, b) g = Sub(one, c) a = Mul(g, low) z = Add(s, a)"
    model = masks(body, f"{MASK}, float[B,H,S,R] s", f"{BIAS}, float[B,N,M,R] z")
    assert apply(model, "raise_masks").count == 1
    assert operators(model) == {"Add": 2, "bert_onnx.KeyMask": 1}


def test_two_masks() -> None:
    body = (
        HIDDEN
        + "y = Mul(h, low) u2 = Unsqueeze(memory, at12) c2 = Cast<to = 1>(u2) h2 = Sub(one, c2) z = Mul(h2, minus)"
    )
    model = masks(body, f"{MASK}, int64[B,E] memory", f"{BIAS}, float[B,1,1,E] z")
    assert apply(model, "raise_masks").count == 2
    assert operators(model) == {"bert_onnx.KeyMask": 2}


def test_expanded_mask_keeps_its_shape() -> None:
    body = "u = Unsqueeze(mask, at12) e = Expand(u, shape) c = Cast<to = 1>(e) h = Sub(one, c) y = Mul(h, low)"
    inputs = f"{MASK}, int64[4] shape"
    model = masks(body, inputs)
    model.graph.node(1).outputs[0].shape = ir.Shape(["B", 1, "S", "R"])
    assert apply(model, "raise_masks").count == 1
    assert operators(model) == {"bert_onnx.KeyMask": 1, "Expand": 1}
    assert_same_answers(masks(body, inputs), ["raise_masks"], {**feeds(), "shape": np.array([3, 1, 4, 5])}, 0.0)


def test_choices_flattened_to_texts() -> None:
    body = "r = Reshape(mask, flat) u = Unsqueeze(r, at12) c = Cast<to = 1>(u) h = Sub(one, c) y = Mul(h, low)"
    model = masks(body, "int64[B,C,R] mask")
    assert apply(model, "raise_masks").count == 1
    assert operators(model) == {"Reshape": 1, "bert_onnx.KeyMask": 1}


def test_causal_mask_on_top() -> None:
    """What may be seen for other reasons stays; the key mask inside is recognised."""
    body = HIDDEN + "b = Mul(h, low) y = Where(visible, b, low)"
    inputs = f"{MASK}, bool[S,R] visible"
    model = masks(body, inputs)
    assert apply(model, "raise_masks").count == 1
    assert operators(model) == {"bert_onnx.KeyMask": 1, "Where": 1}
    visible = np.tril(np.ones((5, 5), bool))
    assert_same_answers(masks(body, inputs), ["raise_masks"], {**feeds(), "visible": visible}, 0.0)


REST = " c = Cast<to = 1>(u) h = Sub(one, c) y = Mul(h, low)"
CHOICE = " n = Equal(u, nought) y = Where(n, low, zero)"
WRONG_AXES = "not [B, 1, 1, R]"
TWO = f"{MASK}, int64[B,R] other"
NO_KEY_MASK = {
    "a mask for each query": ("u = Unsqueeze(mask, at1)" + REST, "int64[B,S,R] mask", None),
    "for each token": ("u = Unsqueeze(mask, at2)" + REST, MASK, WRONG_AXES),
    "axes in front": ("v = Unsqueeze(mask, at0) u = Unsqueeze(v, at0)" + REST, MASK, WRONG_AXES),
    "hides the real tokens": (VISIBLE + "y = Mul(c, low)", MASK, None),
    "hides nothing": (HIDDEN + "y = Mul(h, small)", MASK, None),
    "shifts the real ones": (VISIBLE + "y = Sub(c, high)", MASK, None),
    "shows padding more": (HIDDEN + "y = Mul(h, high)", MASK, None),
    "a factor for each query": (HIDDEN + "g = Mul(h, wide) y = Mul(g, low)", MASK, None),
    "a computed fill": (HIDDEN + "g = Neg(high) y = Mul(h, g)", MASK, None),
    "of ids": ("t = Gather(table, mask) u = Unsqueeze(mask, at12)" + CHOICE, MASK, None),
    "of reshaped ids": (
        "r = Reshape(mask, flat) t = Gather(table, r) u = Unsqueeze(r, at12)" + CHOICE,
        MASK,
        None,
    ),
    "of computed states": ("s = Neg(mask) u = Unsqueeze(s, at12)" + REST, MASK, None),
    "of two masks": ("a = Unsqueeze(mask, at12) b = Unsqueeze(other, at12) u = Mul(a, b)" + REST, TWO, None),
}


@pytest.mark.parametrize(("body", "inputs", "reason"), NO_KEY_MASK.values(), ids=NO_KEY_MASK)
def test_other_masks(body: str, inputs: str, reason: str | None) -> None:
    outputs = BIAS + (", float[B,R,D] t" if "t = Gather" in body else "")
    assert_untouched(masks(body, inputs, outputs), "raise_masks", reason=reason)


def test_a_value_inside_that_something_else_reads() -> None:
    """The chain stays for its other reader; both give what they gave."""
    body = HIDDEN + "y = Mul(h, low)"
    outputs = f"{BIAS}, float[B,1,1,R] h"
    model = masks(body, outputs=outputs)
    assert apply(model, "raise_masks").count == 1
    assert operators(model) == {"Unsqueeze": 1, "Cast": 1, "Sub": 1, "bert_onnx.KeyMask": 1}
    assert_same_answers(masks(body, outputs=outputs), ["raise_masks"], feeds(), 0.0)


@given(st.sampled_from(sorted(SPELLINGS)), st.lists(st.sampled_from(["Identity", "Cast<to = 1>"]), max_size=3))
def test_idle_operators_in_between(name: str, extra: list[str]) -> None:
    body, fill = SPELLINGS[name]
    chain = "".join(f"y{n + 1} = {operator}(y{n}) " for n, operator in enumerate(extra))
    model = masks(f"{body.replace('y = ', 'y0 = ')} {chain} y = Identity(y{len(extra)})")
    assert apply(model, "raise_masks").count == 1
    assert operators(model) == {"bert_onnx.KeyMask": 1}
    assert model.graph.node(0).attributes["fill"].as_float() == fill
