"""infer_shapes and the passes that live on it: names of axes are followed, and never made up to fit."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spelled_out import D, apply, assert_same_answers, assert_untouched, normal, operators, parse, states

from export.passes.shapes.symbolic_dims import Names, add, broadcast, is_private, multiply, reshape, subtract

CONSTANTS: dict[str, object] = {
    "n0": [0],
    "n1": [1],
    "n2": [2],
    "m1": [-1],
    "end": [9223372036854775807],
    "zero": 0,
    "one": 1,
    "h": [3],
    "k": [8],
    "d": [D],
    "split": [0, 0, 3, 8],
    "minus": [-1, -1, -1, -1],
    "ids": np.arange(16)[None],
    "table": normal(16, D),
    "w": normal(D, 12),
}
STATE = f"float[B,S,{D}] x"


def graph(body: str, inputs: str = STATE, outputs: str = "float[B,S,3,8] y") -> ir.Model:
    model = parse(body, inputs, outputs, CONSTANTS)
    model.graph.outputs[0].shape = None
    return model


def shape_after(body: str, inputs: str = STATE, name: str = "y") -> list[int | str | None]:
    """The shape of a value, through an Identity, since outputs of the graph keep their own."""
    model = graph(f"{body} out = Identity({name})", inputs, "float[N] out")
    apply(model, "infer_shapes")
    value = next(value for node in model.graph for value in node.outputs if value.name == name)
    assert value.shape is not None
    return [axis if isinstance(axis, int) else axis.value for axis in value.shape]


SPLIT = "a = Shape(x) b = Gather(a, zero) u = Unsqueeze(b, n0) c = Shape(x) e = Gather(c, one) v = Unsqueeze(e, n0) "


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (SPLIT + "s = Concat<axis = 0>(u, v, h, k) y = Reshape(x, s)", ["B", "S", 3, 8]),
        (SPLIT + "s = Concat<axis = 0>(u, m1, h, k) y = Reshape(x, s)", ["B", "S", 3, 8]),
        (SPLIT + "s = Concat<axis = 0>(m1, v, h, k) y = Reshape(x, s)", ["B", "S", 3, 8]),
        (SPLIT + "t = Mul(b, e) r = Unsqueeze(t, n0) s = Concat<axis = 0>(r, d) y = Reshape(x, s)", ["B * S", D]),
        (SPLIT + "s = Concat<axis = 0>(m1, d) y = Reshape(x, s)", ["B * S", D]),
        ("a = Shape<start = 0, end = 2>(x) s = Concat<axis = 0>(a, h, k) y = Reshape(x, s)", ["B", "S", 3, 8]),
        ("a = Shape(x) b = Slice(a, n0, n2) s = Concat<axis = 0>(b, h, k) y = Reshape(x, s)", ["B", "S", 3, 8]),
        ("y = MatMul(x, w)", ["B", "S", 12]),
        ("y = Transpose<perm = [0, 2, 1]>(x)", ["B", D, "S"]),
        ("y = Concat<axis = 1>(x, x)", ["B", "S + S", D]),
        ("y = ReduceMean<keepdims = 0>(x, n1)", ["B", D]),
        ("y = ReduceMean(x, m1)", ["B", "S", 1]),
        ("m = ReduceMean(x, m1) y = Sub(x, m)", ["B", "S", D]),
        ("y = Slice(x, n0, n1, n1)", ["B", "min(S, 1)", D]),
        ("y = Slice(x, n0, end, n1)", ["B", "S", D]),
        ("y = Unsqueeze(x, n1)", ["B", 1, "S", D]),
        ('r = Reshape(x, split) y = Einsum<equation = "bshk,bthk->bhst">(r, r)', ["B", 3, "S", "S"]),
        (SPLIT + "r = Range(zero, e, one) y = Unsqueeze(r, n0)", [1, "S"]),
    ],
)
def test_shapes(body: str, expected: list[int | str]) -> None:
    assert shape_after(body) == expected


def test_positions_that_are_cut_to_the_sequence_do_not_lose_its_name() -> None:
    body = SPLIT + "p = Slice(ids, n0, v, n1, n1) q = Gather(table, p) y = Add(x, q)"
    assert shape_after(body) == ["B", "S", D]


def test_axes_without_a_name_stay_apart() -> None:
    """Two inputs of unknown lengths: their sum has a length of its own, and so has each of them."""
    model = graph("y = Add(x, z) out = Identity(y)", f"float[?,?,{D}] x, float[?,?,{D}] z", "float[N] out")
    for value in model.graph.inputs:
        value.shape = ir.Shape([None, None, D])
    apply(model, "infer_shapes")
    shape = model.graph.node(0).outputs[0].shape
    assert shape is not None
    assert shape[2] == D
    assert len({str(axis) for axis in shape}) == 3


def test_expand_to_a_shape_with_minus_ones() -> None:
    """What TorchScript writes for expand: Where(shape == -1, 1, shape), of lengths that are never negative."""
    body = SPLIT + (
        "s = Concat<axis = 0>(u, n1, v, v) f = Shape(s) o = ConstantOfShape<value = int64[1] {1}>(f) "
        "g = Equal(s, minus) t = Where(g, o, s) a4 = Unsqueeze(x3, n1) y = Expand(a4, t)"
    )
    assert shape_after(body, f"{STATE}, float[B,1,S] x3") == ["B", 1, "S", "S"]


def test_size_of_a_head_is_a_constant() -> None:
    """1 / sqrt(K) as TorchScript computes it becomes a number."""
    body = "r = Reshape(x, split) a = Shape(r) b = Slice(a, m1, end) c = Cast<to = 1>(b) s = Sqrt(c) y = Mul(r, s)"
    model = graph(body)
    assert apply(model, "infer_shapes").count == 1
    apply(model, "fold_constants", "simplify")
    assert operators(model) == {"Reshape": 1, "Mul": 1}
    assert_same_answers(graph(body), ["infer_shapes", "fold_constants", "simplify"], {"x": states()})


def test_lengths_are_read_from_the_input_once() -> None:
    body = SPLIT + (
        "y1 = Relu(x) a2 = Shape(y1) e2 = Gather(a2, one) r = Range(zero, e, one) "
        "r2 = Range(zero, e2, one) y = Add(r, r2)"
    )
    model = graph(body, outputs="int64[S] y")
    apply(model, "infer_shapes", "simplify")
    assert operators(model) == {"Shape": 1, "Squeeze": 1, "Range": 1, "Add": 1}
    assert_same_answers(graph(body, outputs="int64[S] y"), ["infer_shapes", "simplify"], {"x": states()}, 0.0)


def test_a_shape_that_the_graph_returns_stays() -> None:
    model = parse("y = Shape(x)", f"float[2,5,{D}] x", "int64[3] y")
    assert apply(model, "infer_shapes").count == 0
    assert operators(model) == {"Shape": 1}


def test_outputs_keep_their_shapes() -> None:
    model = parse("y = MatMul(x, w)", STATE, "float[batch,tokens,12] y", CONSTANTS)
    apply(model, "infer_shapes")
    assert model.graph.outputs[0].shape == ir.Shape(["batch", "tokens", 12])


@pytest.mark.parametrize(
    "body",
    [
        "a = Shape(z) b = Gather(a, zero) u = Unsqueeze(b, n0) s = Concat<axis = 0>(u, m1, h, k) y = Reshape(x, s)",
        "s = Cast<to = 7>(z) y = Reshape(x, s)",
    ],
    ids=["the length of another input", "numbers of an input"],
)
def test_shapes_of_which_nothing_is_known_stay_computed(body: str) -> None:
    inputs = f"{STATE}, float[L] z" if "Shape(z)" in body else f"{STATE}, float[4] z"
    model = graph(body, inputs)
    apply(model, "infer_shapes")
    outcome = apply(model, "simplify_shapes")
    assert outcome.count == 0
    assert [refusal.node for refusal in outcome.refusals] == ["Reshape_y"]
    assert operators(model)["Reshape"] == 1


def test_names() -> None:
    names = Names()
    assert add(3, 4) == 7
    assert add("b", "a") == add("a", "b") == "a + b"
    assert add(0, "a") == "a"
    assert subtract("a + b", "a", names) == "b"
    assert subtract("a", "a", names) == 0
    assert subtract("a + 3", "a", names) == 3
    assert is_private(subtract("a", "b", names))
    assert multiply(1, "a") == "a"
    assert multiply("a", "b") == multiply("b", "a")
    assert multiply(0, "a") == 0
    assert broadcast(("a", 1), (1, "b"), names) == ("a", "b")
    assert broadcast(("a",), (7,), names) == (7,)
    assert broadcast((3,), ("a", "b", 3), names) == ("a", "b", 3)
    assert broadcast(("a",), ("b",), names) == broadcast(("b",), ("a",), names)
    assert is_private(broadcast(("a",), ("b",), names)[0])


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.data())
def test_rest_of_a_reshape(lengths: list[int], data: st.DataObject) -> None:
    """With all names known, -1 stands for what numpy makes of it; names are checked by putting numbers in."""
    symbols = [f"s{number}" for number in range(len(lengths))]
    source = tuple(name if data.draw(st.booleans()) else length for name, length in zip(symbols, lengths, strict=True))
    order = data.draw(st.permutations(range(len(lengths))))
    kept = [source[place] for place in order[: data.draw(st.integers(0, len(lengths)))]]
    wanted = [*kept, -1]
    result = reshape(source, wanted, False, Names(), "here")
    values = dict(zip(symbols, lengths, strict=True))
    numbers = [dim if isinstance(dim, int) else values.get(dim) for dim in kept]
    array = np.zeros(lengths).reshape([*(number for number in numbers if number is not None), -1])
    last = result[-1]
    product = np.prod([int(values.get(part, part)) for part in str(last).split(" * ")])
    assert product == array.shape[-1]


BATCHED = "f = Reshape(x, flat) t = Transpose<perm = [0, 2, 1]>(f) y = Reshape(t, back)"


def transposes(body: str, flat: list[int], back: list[int]) -> ir.Model:
    model = parse(f"{body} z = Identity(y)", "float[B,3,5,8] x", "float[N] z", {"flat": flat, "back": back})
    model.graph.outputs[0].shape = None
    apply(model, "infer_shapes")
    return model


def test_transposes_of_matrices() -> None:
    model = transposes(BATCHED, [-1, 5, 8], [-1, 3, 8, 5])
    assert apply(model, "simplify_transposes").count == 1
    assert operators(model) == {"Transpose": 1, "Identity": 1}
    assert list(model.graph.node(0).attributes["perm"].as_ints()) == [0, 1, 3, 2]
    fresh = transposes(BATCHED, [-1, 5, 8], [-1, 3, 8, 5])
    assert_same_answers(fresh, ["simplify_transposes"], {"x": normal(2, 3, 5, 8)}, 0.0)


@pytest.mark.parametrize(
    ("flat", "back"),
    [
        ([-1, 8, 5], [-1, 3, 5, 8]),
        ([-1, 5, 8], [-1, 3, 4, 10]),
        ([-1, 15, 8], [-1, 8, 3, 5]),
        ([-1, 5, 8], [3, -1, 8, 5]),
    ],
    ids=["rows and columns cut anew", "columns cut anew", "heads joined with rows", "batch and heads exchanged"],
)
def test_other_reshapes_around_a_transpose(flat: list[int], back: list[int]) -> None:
    model = transposes(BATCHED, flat, back)
    assert_untouched(model, "simplify_transposes", reason="do not prove")


@pytest.mark.parametrize(
    "body",
    ["f = Reshape(x, flat) y = Transpose<perm = [0, 2, 1]>(f)", BATCHED.replace("[0, 2, 1]", "[1, 0, 2]")],
    ids=["not reshaped back", "another transpose"],
)
def test_other_transposes(body: str) -> None:
    assert_untouched(transposes(body, [-1, 5, 8], [5, -1, 8, 1]), "simplify_transposes", reason=None)


def expands(body: str, inputs: str = "float[B,1,S] x, int64[3] n") -> ir.Model:
    model = parse(f"{body} z = Identity(y)", inputs, "float[N] z", {**CONSTANTS, "r": [1, 4, 1], "same": [1, 1, 1]})
    model.graph.outputs[0].shape = None
    apply(model, "infer_shapes")
    return model


def test_tile_of_an_axis_of_length_one() -> None:
    model = expands("y = Tile(x, r)")
    assert apply(model, "simplify_expands").count == 1
    assert operators(model) == {"Expand": 1, "Identity": 1}
    assert_same_answers(
        expands("y = Tile(x, r)"), ["simplify_expands"], {"x": normal(2, 1, 5), "n": np.ones(3, np.int64)}, 0.0
    )


def test_expand_to_ones() -> None:
    model = expands("y = Expand(x, same)")
    assert apply(model, "simplify_expands").count == 1
    assert operators(model) == {"Identity": 1}


@pytest.mark.parametrize(
    ("body", "inputs", "reason"),
    [
        ("y = Tile(x, r)", "float[B,2,S] x", "length 1"),
        ("y = Tile(x, r)", "float[B,L,S] x", "length 1"),
        ("y = Tile(x, n)", "float[B,1,S] x, int64[3] n", "length 1"),
        ("y = Expand(x, n)", "float[B,1,S] x, int64[3] n", None),
        ("y = Expand(x, r)", "float[B,1,S] x", None),
    ],
)
def test_other_repetition(body: str, inputs: str, reason: str | None) -> None:
    assert_untouched(expands(body, inputs), "simplify_expands", reason=reason)
