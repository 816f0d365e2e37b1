"""raise_linear and raise_positions: layers and lookups in the form that other passes expect."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from spelled_out import D, apply, assert_same_answers, assert_untouched, normal, operators, parse, states

CONSTANTS: dict[str, object] = {
    "w": normal(D, 12, seed=1),
    "v": normal(D, 12, seed=6),
    "wt": normal(12, D, seed=2),
    "b": normal(12, seed=3),
    "table": normal(16, D, seed=4),
    "flat": [-1, D],
    "back": [-1, 5, 12],
    "other": [5, -1, 12],
    "wide": normal(5, 12, seed=5),
    "ids": np.arange(16)[None],
    "shuffled": np.arange(16)[None, ::-1].copy(),
    "short": np.arange(8)[None],
    "two": np.arange(32).reshape(2, 16) % 16,
    "n0": [0],
    "n1": [1],
    "n2": [2],
    "n8": [8],
}
RESULT = "float[B,5,12] y"
STATE = f"float[B,5,{D}] x"


def linear(body: str, inputs: str = STATE, outputs: str = RESULT) -> ir.Model:
    return parse(body, inputs, outputs, CONSTANTS)


GEMMS = {
    "weight as it is": "f = Reshape(x, flat) g = Gemm(f, w, b) y = Reshape(g, back)",
    "weight transposed": "f = Reshape(x, flat) g = Gemm<transB = 1>(f, wt, b) y = Reshape(g, back)",
}


@pytest.mark.parametrize("body", GEMMS.values(), ids=GEMMS)
def test_gemm_between_reshapes(body: str) -> None:
    model = linear(body)
    assert apply(model, "raise_linear").count == 1
    assert operators(model) == {"MatMul": 1, "Add": 1}
    assert_same_answers(linear(body), ["raise_linear"], {"x": states(3)})


def test_gemm_without_bias() -> None:
    body = "f = Reshape(x, flat) g = Gemm(f, w) y = Reshape(g, back)"
    model = linear(body)
    assert apply(model, "raise_linear").count == 1
    assert operators(model) == {"MatMul": 1}
    assert_same_answers(linear(body), ["raise_linear"], {"x": states(3)})


def test_bias_moves_behind() -> None:
    model = linear("m = MatMul(x, w) y = Add(b, m)")
    assert apply(model, "raise_linear").count == 1
    assert [value.name for value in model.graph.node(1).inputs if value] == ["m", "b"]
    assert_same_answers(linear("m = MatMul(x, w) y = Add(b, m)"), ["raise_linear"], {"x": states(3)}, 0.0)


def test_shared_bias_is_copied_for_each_layer() -> None:
    """The last of its readers keeps it; what is no linear layer reads what it read."""
    body = "m = MatMul(x, w) e = Add(m, b) n = MatMul(x, v) f = Add(b, n) g = Add(e, f) y = Add(g, b)"
    model = linear(body)
    assert apply(model, "raise_linear").count == 2
    biases = [node.inputs[1] for node in model.graph if node.op_type == "Add"]
    assert [value.name for value in biases if value] == ["Add_e.bias", "Add_f.bias", "f", "b"]
    assert len(model.graph.initializers) == 5
    assert_same_answers(linear(body), ["raise_linear"], {"x": states(3)})


def test_bias_of_one_layer_is_not_copied() -> None:
    model = linear("m = MatMul(x, w) e = Add(m, b) y = Relu(e)")
    assert_untouched(model, "raise_linear", reason=None)
    assert sorted(model.graph.initializers) == ["b", "w"]


OTHERS = {
    "bias behind already": ("m = MatMul(x, w) y = Add(m, b)", STATE, None),
    "a matrix": ("y = Gemm(x, w, b)", f"float[B,{D}] x", None),
    "computed bias": ("n = Neg(b) m = MatMul(x, w) y = Add(n, m)", STATE, None),
    "bias of two axes": ("m = MatMul(x, w) y = Add(wide, m)", STATE, None),
    "no MatMul": ("m = Relu(x) y = Add(c, m)", f"{STATE}, float[{D}] c", None),
    "alpha": ("f = Reshape(x, flat) g = Gemm<alpha = 0.5>(f, w, b) y = Reshape(g, back)", STATE, "alpha is not 1"),
    "beta": ("f = Reshape(x, flat) g = Gemm<beta = 2.0>(f, w, b) y = Reshape(g, back)", STATE, "beta is not 1"),
    "computed weight": ("n = Neg(w) f = Reshape(x, flat) g = Gemm(f, n) y = Reshape(g, back)", STATE, "not constant"),
    "an operator in between": (
        "f = Reshape(x, flat) g = Gemm(f, w, b) r = Relu(g) y = Reshape(r, back)",
        STATE,
        "reshaped back",
    ),
    "other tokens": ("f = Reshape(x, flat) g = Gemm(f, w, b) y = Reshape(g, other)", STATE, "does not have the tokens"),
}


@pytest.mark.parametrize(("body", "inputs", "reason"), OTHERS.values(), ids=OTHERS)
def test_other_layers(body: str, inputs: str, reason: str | None) -> None:
    outputs = RESULT if "other)" not in body else "float[5,B,12] y"
    assert_untouched(linear(body, inputs, outputs), "raise_linear", reason=reason)


def test_gemm_that_something_else_reads() -> None:
    body = "f = Reshape(x, flat) g = Gemm(f, w, b) y = Reshape(g, back) z = Neg(g)"
    assert_untouched(linear(body, outputs=f"{RESULT}, float[N,12] z"), "raise_linear", reason="reshaped back")


EMBEDDINGS = f"float[B,S,{D}] x, int64[1] n"
SUM = f"float[B,S,{D}] y"
LOOKUP = "p = Slice(ids, n0, n, n1, n1) e = Gather(table, p) y = Add(x, e)"


def test_positions() -> None:
    model = linear(LOOKUP, EMBEDDINGS, SUM)
    assert apply(model, "raise_positions").count == 1
    assert operators(model) == {"Slice": 1, "Add": 1}
    arrays = {"x": states(3), "n": np.array([5])}
    assert_same_answers(linear(LOOKUP, EMBEDDINGS, SUM), ["raise_positions"], arrays, 0.0)


def test_positions_of_a_shorter_buffer() -> None:
    """A sequence that the buffer is too short for fails before and after, in the Add."""
    assert apply(linear(LOOKUP.replace("ids", "short"), EMBEDDINGS, SUM), "raise_positions").count == 1


OTHER_POSITIONS = {
    "from the second": (LOOKUP.replace("n0, n,", "n1, n,"), "from the first"),
    "in steps": (LOOKUP.replace("n1, n1)", "n1, n2)"), "in steps"),
    "of the batch": (LOOKUP.replace("n, n1, n1", "n, n0, n1"), "from the first"),
    "backwards": (LOOKUP.replace("(ids", "(shuffled"), "from zero"),
    "two rows": (LOOKUP.replace("(ids", "(two"), "one row"),
    "computed table": ("t = Neg(table) " + LOOKUP.replace("(table", "(t"), "table is not a constant"),
    "a multiplication": (LOOKUP.replace("Add(x", "Mul(x"), "sum of embeddings"),
    "fewer than the table has, always": (LOOKUP.replace("(ids", "(short").replace("n0, n,", "n0, n8,"), "fewer"),
}


@pytest.mark.parametrize(("body", "reason"), OTHER_POSITIONS.values(), ids=OTHER_POSITIONS)
def test_other_positions(body: str, reason: str) -> None:
    assert_untouched(linear(body, EMBEDDINGS, SUM), "raise_positions", reason=reason)


@pytest.mark.parametrize("outputs", [f"{SUM}, float[1,S,{D}] e", f"{SUM}, float z"])
def test_positions_that_something_else_reads(outputs: str) -> None:
    body = LOOKUP + (" z = ReduceMax<keepdims = 0>(e)" if " z" in outputs else "")
    assert_untouched(linear(body, EMBEDDINGS, outputs), "raise_positions", reason="sum of embeddings")


def test_lookup_of_ids_that_are_an_input() -> None:
    model = linear("y = Gather(table, i)", "int64[B,S] i", f"float[B,S,{D}] y")
    assert_untouched(model, "raise_positions", reason=None)
