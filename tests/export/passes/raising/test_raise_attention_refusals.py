"""raise_attention: formulas that look like attention and are none, or that something else reads, stay."""

from __future__ import annotations

import pytest
from spelled_out import H, K, assert_untouched
from spelled_out_attention import CACHED, OUTPUT, STATE_INPUTS, Spelling

SCALED_KEYS = "k2 = Mul(kr, two) kh = Transpose<perm = [0, 2, 1, 3]>(k2)"
SHORT = f"{STATE_INPUTS}, float[B,1,1,R] bias"
NOT_ONE: dict[str, tuple[Spelling, str]] = {
    "softmax over the queries": (Spelling(softmax="p = Softmax<axis = 2>(b)"), "not over the keys"),
    "computed scale": (
        Spelling(scaled="e = Neg(scale) t = Mul(s, e)"),
        "no product of queries and keys",
    ),
    "a scale for each head": (Spelling(scaled="t = Mul(s, scales)"), "no product of queries and keys"),
    "divided into the scale": (Spelling(scaled="t = Div(scale, s)"), "no product of queries and keys"),
    "an operator on the scores": (Spelling(biased="u = Tanh(t) b = Add(u, bias)"), "no product of queries and keys"),
    "changed probabilities": (Spelling(context="g = Mul(p, two) c = MatMul(g, vh)"), "changed before they meet"),
    "probabilities for two values": (
        Spelling(context="c = MatMul(p, vh) c2 = MatMul(p, vh)", outputs=f"{OUTPUT}, float[B,3,S,8] c2"),
        "or meet several",
    ),
    "scaled values": (
        Spelling(value="vr = Reshape(v, heads) vt = Transpose<perm = [0, 2, 1, 3]>(vr) vh = Mul(vt, two)"),
        "values are scaled",
    ),
    "operator on the queries": (
        Spelling(query="qr = Reshape(q, heads) qt = Transpose<perm = [0, 2, 1, 3]>(qr) qh = Relu(qt)"),
        "stands between the projection and the scores",
    ),
    "queries divided by tokens": (
        Spelling(product="g = Mul(qh, gate) s = MatMul(g, kt)", inputs=f"{SHORT}, float[B,3,S,1] gate"),
        "not a constant number",
    ),
    "keys as they are": (
        Spelling(
            key="kr = Reshape(k, heads) kt = Transpose<perm = [0, 2, 1, 3]>(kr)",
            inputs="float[B,S,24] q, float[B,8,24] k, float[B,8,24] v, float[B,1,1,8] bias",
        ),
        "is split to the axes",
    ),
    "tokens and heads not exchanged": (
        Spelling(merged="m = Identity(c) y0 = Reshape(m, merge) y = Identity(y0)"),
        "",
    ),
    "heads put together in another order": (
        Spelling(merged="m = Transpose<perm = [0, 2, 3, 1]>(c) y = Reshape(m, merge)"),
        "beside each other",
    ),
    "computed heads": (
        Spelling(
            query="qr = Reshape(q, heads2) qh = Transpose<perm = [0, 2, 1, 3]>(qr)",
            inputs=f"{SHORT}, int64[4] heads2",
        ),
        "computed shape",
    ),
    "states that were never split": (
        Spelling(query="", product="s = MatMul(q, kt)", inputs=SHORT.replace("float[B,S,24] q", "float[B,3,S,8] q")),
        "not a state that was split",
    ),
    "other heads for the values": (
        Spelling(value="vr = Reshape(v, wide) vh = Transpose<perm = [0, 2, 1, 3]>(vr)"),
        "different heads",
    ),
    "a cache for the keys alone": (
        Spelling(key=CACHED["key"], inputs=f"{SHORT}, float[B,3,P,8] pk"),
        "the keys or the values alone",
    ),
    "a cache of queries": (
        Spelling(
            query="qr = Reshape(q, heads) qt = Transpose<perm = [0, 2, 1, 3]>(qr) qh = Concat<axis = 2>(pk, qt)",
            inputs=f"{SHORT}, float[B,3,P,8] pk",
        ),
        "before the queries",
    ),
    "a cache behind": (
        Spelling(**{**CACHED, "value": CACHED["value"].replace("(pv, vn)", "(vn, pv)")}),
        "not a state that was split",
    ),
    "a cache along the heads": (
        Spelling(**{**CACHED, "value": CACHED["value"].replace("-2", "1")}),
        "does not join along the sequence",
    ),
    "a cache of scaled keys": (
        Spelling(
            **{**CACHED, "key": CACHED["key"].replace("kh = Transpose<perm = [0, 2, 1, 3]>(kr)", SCALED_KEYS)},
        ),
        "keys that were scaled",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spelling", "reason"), NOT_ONE.values(), ids=NOT_ONE)
def test_other_formulas(spelling: Spelling, reason: str) -> None:
    assert_untouched(spelling.model(wide=[0, 0, 6, 4]), "raise_attention", reason=reason)


@pytest.mark.parametrize("name", ["s", "t", "b"])
def test_scores_that_the_graph_returns(name: str) -> None:
    spelling = Spelling(outputs=f"{OUTPUT}, float[B,3,S,R] {name}")
    assert_untouched(spelling.model(), "raise_attention", reason="is an output of the graph")


@pytest.mark.parametrize("name", ["s", "t", "b", "c", "m"])
def test_a_value_inside_that_something_else_reads(name: str) -> None:
    spelling = Spelling(after=f"z = Neg({name})", outputs=f"{OUTPUT}, float[B,N,M,L] z")
    assert_untouched(spelling.model(), "raise_attention", reason="")


@pytest.mark.parametrize("heads", [[0, 0, K], [0, H, 0, K], [-1, -1, H, K], [0, 5, H, K], [0, 0, H, 2 * K]])
def test_reshapes_that_split_something_else(heads: list[int]) -> None:
    assert_untouched(Spelling().model(heads=heads), "raise_attention", reason="")
