"""lower_plain and lower_gelu: the canonical form means the same in standard operators."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
import pytest
from builders import INT64, GraphBuilder, assert_close, attention_reference, operators, run

from export.passes.base import PassContext
from export.passes.graph import canonical
from export.passes.lowering.gelu import lower_gelu
from export.passes.lowering.plain import lower_plain

erf = np.vectorize(math.erf)

B, S, R, P, H, K = 2, 5, 7, 3, 4, 8
D = H * K
BATCH, SEQUENCE, KEYS = "batch_size", "sequence_length", "keys"


def gelu_model(approximate: str, opset: int) -> ir.Model:
    build = GraphBuilder(opset)
    return build.model({"y": build.gelu(build.input("x", [BATCH, SEQUENCE, D]), approximate)})


@pytest.mark.parametrize(("opset", "nodes"), [(17, 5), (18, 5), (20, 1), (23, 1)])
def test_erf_gelu(opset: int, nodes: int) -> None:
    model, x = gelu_model("none", opset), np.linspace(-8, 8, B * S * D, dtype=np.float32).reshape(B, S, D)
    assert lower_gelu(model, PassContext(opset)).count == 1
    assert model.graph.num_nodes() == nodes
    assert_close(run(model, {"x": x})["y"], x * 0.5 * (1 + erf(x / np.sqrt(2.0))))


@pytest.mark.parametrize(("opset", "nodes"), [(17, 8), (20, 1)])
def test_tanh_gelu(opset: int, nodes: int) -> None:
    model, x = gelu_model("tanh", opset), np.linspace(-8, 8, B * S * D, dtype=np.float32).reshape(B, S, D)
    assert lower_gelu(model, PassContext(opset)).count == 1
    assert model.graph.num_nodes() == nodes
    assert_close(run(model, {"x": x})["y"], 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))


def test_gelu_stays_spelled_out_where_the_file_gets_a_lower_opset_than_the_trace() -> None:
    model = gelu_model("none", 20)
    lower_gelu(model, PassContext(18))
    assert operators(model)["Erf"] == 1


@pytest.mark.parametrize("fill", [-10000.0, float(np.finfo(np.float32).min), float("-inf")])
def test_key_mask_is_finite(fill: float) -> None:
    build = GraphBuilder(17)
    mask = build.input("mask", [BATCH, KEYS], INT64)
    model = build.model({"bias": build.key_mask(mask, fill)})
    assert lower_plain(model, PassContext(17)).count == 1
    assert operators(model) == {"Unsqueeze": 1, "Cast": 1, "Sub": 1, "Mul": 1}
    bias = run(model, {"mask": np.array([[1, 1, 0], [0, 1, 1]])})["bias"]
    expected = max(fill, float(np.finfo(np.float32).min))
    np.testing.assert_array_equal(bias, np.array([[[[0, 0, expected]]], [[[expected, 0, 0]]]], np.float32))


def attention_model(opset: int, bias: str = "mask", past: bool = False, outputs: int = 1) -> ir.Model:
    """Canonical attention; bias: none, mask (a KeyMask) or full ([B, H, S, P + R])."""
    build = GraphBuilder(opset)
    inputs: list[ir.Value | None] = [
        build.input("query", [BATCH, SEQUENCE, D]),
        build.input("key", [BATCH, KEYS, D]),
        build.input("value", [BATCH, KEYS, D]),
    ]
    if bias == "mask":
        inputs.append(build.key_mask(build.input("mask", [BATCH, "all_keys"], INT64)))
    elif bias == "full":
        inputs.append(build.input("bias", [BATCH, H, SEQUENCE, "all_keys"]))
    else:
        inputs.append(None)
    if past:
        inputs += [build.input(f"past_{part}", [BATCH, H, "past", K]) for part in ("key", "value")]
    node = build.attention(inputs, H, 0.3, outputs=outputs)
    names = ("context", "present_key", "present_value", "probabilities")
    return build.model({names[position]: node.outputs[position] for position in range(outputs)})


def feeds_and_reference(model: ir.Model) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(7)
    wanted = {value.name for value in model.graph.inputs}
    past = P if "past_key" in wanted else 0
    everything = {
        "query": rng.standard_normal((B, S, D)),
        "key": rng.standard_normal((B, R, D)),
        "value": rng.standard_normal((B, R, D)),
        "bias": rng.standard_normal((B, H, S, past + R)),
        "past_key": rng.standard_normal((B, H, P, K)),
        "past_value": rng.standard_normal((B, H, P, K)),
    }
    feeds = {name: array.astype(np.float32) for name, array in everything.items() if name in wanted}
    bias: np.ndarray | float = feeds.get("bias", 0.0)
    if "mask" in wanted:
        feeds["mask"] = np.ones((B, past + R), np.int64)
        feeds["mask"][1, -2:] = 0
        bias = (1.0 - feeds["mask"][:, None, None, :]) * float(np.finfo(np.float32).min)
    cache = (feeds["past_key"], feeds["past_value"]) if past else None
    results = attention_reference(feeds["query"], feeds["key"], feeds["value"], H, 0.3, bias, cache)
    return feeds, dict(zip(("context", "present_key", "present_value", "probabilities"), results, strict=True))


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize("bias", ["none", "mask", "full"])
@pytest.mark.parametrize(("past", "outputs"), [(False, 1), (False, 3), (True, 1), (True, 3), (True, 4), (False, 4)])
def test_attention_in_plain_operators(opset: int, bias: str, past: bool, outputs: int) -> None:
    model = attention_model(opset, bias, past, outputs)
    feeds, reference = feeds_and_reference(model)
    assert lower_plain(model, PassContext(opset)).count == 1 + (bias == "mask")
    assert not any(node.domain for node in model.graph)
    assert canonical.DOMAIN not in model.graph.opset_imports
    for name, array in run(model, feeds).items():
        assert_close(array, reference[name])


def test_a_scale_of_one_costs_nothing() -> None:
    build = GraphBuilder()
    query, key, value = (build.input(name, [BATCH, SEQUENCE, D]) for name in ("query", "key", "value"))
    model = build.model({"context": build.attention([query, key, value], H, 1.0).outputs[0]})
    lower_plain(model, PassContext(18))
    assert operators(model) == {"Reshape": 4, "Transpose": 4, "MatMul": 2, "Softmax": 1}


def test_an_empty_row_gives_no_nan() -> None:
    for opset in (18, 23):
        model = attention_model(opset)
        feeds, reference = feeds_and_reference(model)
        feeds["mask"][0] = 0
        lower_plain(model, PassContext(opset))
        context = run(model, feeds, optimise=True)["context"]
        assert_close(context[1], reference["context"][1])
        assert_close(context[0], np.broadcast_to(feeds["value"][0].mean(0), (S, D)))
        assert np.isfinite(context).all()


def test_nothing_to_do() -> None:
    build = GraphBuilder()
    x = build.input("x", [BATCH, SEQUENCE, D])
    model = build.model({"y": build.op("Relu", [x])})
    assert lower_plain(model, PassContext(18)).count == 0
    assert operators(model) == {"Relu": 1}
