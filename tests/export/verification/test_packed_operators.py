"""The operators that stand for RemovePadding and its kin on CPUs, beside others in numpy and the documentation."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders import GraphBuilder, normal, operators, run
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_reference import run_packed

from bert_onnx.errors import ExportError
from export.verification.packed_operators import expand_packed_operators

MS, INT32 = "com.microsoft", ir.DataType.INT32
HEADS, WIDTH, VALUES = 2, 8, 6


def graph(bias: bool = False, scale: float | None = None) -> ir.Model:
    """All three operators, one after the other; every output is returned. Values are narrower than queries."""
    build = GraphBuilder()
    x = build.input("x", ["b", "s", WIDTH])
    removal = build.node("RemovePadding", [x, build.input("counts", ["b"], INT32)], domain=MS, outputs=4)
    packed, offsets, starts, longest = removal.outputs
    for value in (offsets, starts, longest):
        value.type = ir.TensorType(INT32)
    weights = [build.weight(name, normal(WIDTH, width, seed=seed)) for name, width, seed in
               (("q", WIDTH, 1), ("k", WIDTH, 2), ("v", VALUES, 3))]  # fmt: skip
    states = [build.op("MatMul", [packed, weight]) for weight in weights]
    added = build.weight("bias", normal(2 * WIDTH + VALUES, seed=4)) if bias else None
    attributes = {"num_heads": HEADS} | ({} if scale is None else {"scale": scale})
    inputs = [*states, added, offsets, starts]
    (context,) = build.node("PackedMultiHeadAttention", inputs, attributes, domain=MS).outputs
    (restored,) = build.node("RestorePadding", [context, offsets], domain=MS).outputs
    outputs = {"packed": packed, "offsets": offsets, "starts": starts, "longest": longest, "restored": restored}
    return build.model(outputs)


def both(model: ir.Model, feeds: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    wanted = run_packed(model, feeds)
    names = expand_packed_operators(model)
    assert names == ("RemovePadding", "PackedMultiHeadAttention", "RestorePadding")
    return run(model, feeds), wanted


def feeds_of(counts: list[int], length: int) -> dict[str, np.ndarray]:
    return {"x": normal(len(counts), length, WIDTH), "counts": np.array(counts, np.int32)}


def check(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    for name, array in wanted.items():
        assert got[name].shape == array.shape
        assert got[name].dtype == array.dtype
        np.testing.assert_allclose(got[name], array, rtol=0, atol=1e-5, err_msg=name)


def test_the_example_of_the_documentation() -> None:
    got, wanted = both(graph(), feeds_of([1, 2, 4], 4))
    for found in (got, wanted):
        assert found["offsets"].reshape(-1).tolist() == [0, 4, 5, 8, 9, 10, 11, 1, 2, 3, 6, 7]
        assert found["starts"].tolist() == [0, 1, 3, 7]
        assert found["longest"].tolist() == [4]
        assert found["packed"].shape == (7, WIDTH)
    check(got, wanted)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scale", [None, 1.0, 0.125])
def test_biases_and_scales(bias: bool, scale: float | None) -> None:
    check(*both(graph(bias, scale), feeds_of([3, 5, 1], 5)))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(0, 3))
def test_any_lengths(counts: list[int], more: int) -> None:
    check(*both(graph(), feeds_of(counts, max(counts) + more)))


def test_padding_is_zero_whatever_is_there() -> None:
    feeds = feeds_of([2, 4], 4)
    feeds["x"][0, 2:] = 1e6
    got, _ = both(graph(), feeds)
    assert not got["restored"][0, 2:].any()
    assert np.abs(got["restored"]).max() < 1e3


def test_other_graphs_stay_as_they_are() -> None:
    build = GraphBuilder()
    model = build.model({"y": build.op("Relu", [build.input("x", ["b"])])})
    assert expand_packed_operators(model) == ()
    assert operators(model) == {"Relu": 1}
    build = GraphBuilder()
    model = build.model({"y": build.node("RemovePadding", [build.input("x", ["b"])], domain="other").outputs[0]})
    assert expand_packed_operators(model) == ()


@pytest.mark.parametrize("what", ["projections", "bias of scores"])
def test_what_our_passes_never_write_is_refused(what: str) -> None:
    build = GraphBuilder()
    states = [build.input(name, ["t", WIDTH]) for name in ("q", "k", "v")]
    offsets, starts = build.input("offsets", ["b", "s"], INT32), build.input("starts", ["c"], INT32)
    inputs = [*states, None, offsets, starts]
    if what == "projections":
        inputs[1] = inputs[2] = None
    else:
        inputs.append(build.input("scores", [1, HEADS, "s", "s"]))
    node = build.node("PackedMultiHeadAttention", inputs, {"num_heads": HEADS}, domain=MS)
    with pytest.raises(ExportError, match=what):
        expand_packed_operators(build.model({"y": node.outputs[0]}))
