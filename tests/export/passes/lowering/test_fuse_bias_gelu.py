"""fuse_bias_gelu: one operator for a Gelu and the bias before it."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
import pytest
from builders import AXES, GraphBuilder, assert_close, normal, operators, run

from export.passes.base import PassContext, PassOutcome
from export.passes.lowering.fuse_bias_gelu import fuse_bias_gelu

CONTEXT = PassContext(18)
D = 16
X, BIAS = 3 * normal(2, 3, D), normal(D, seed=1)
erf = np.vectorize(math.erf)


def gelu(x: np.ndarray, approximate: str) -> np.ndarray:
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def model_of(
    approximate: str = "none", bias_first: bool = False, bias: ir.Value | None = None, build: GraphBuilder | None = None
) -> tuple[ir.Model, GraphBuilder]:
    build = build or GraphBuilder()
    x = build.input("x", [*AXES, D])
    bias = bias or build.weight("b.bias", BIAS)
    total = build.op("Add", [bias, x] if bias_first else [x, bias], shape=[*AXES, D])
    return build.model({"y": build.gelu(total, approximate)}), build


@pytest.mark.parametrize(("approximate", "operator"), [("none", "BiasGelu"), ("tanh", "FastGelu")])
@pytest.mark.parametrize("bias_first", [False, True])
def test_with_a_bias(approximate: str, operator: str, bias_first: bool) -> None:
    model, _ = model_of(approximate, bias_first)
    assert fuse_bias_gelu(model, CONTEXT) == PassOutcome(1)
    assert operators(model) == {f"com.microsoft.{operator}": 1}
    assert_close(run(model, {"x": X})["y"], gelu(X + BIAS, approximate), 1e-5)


def test_on_packed_tokens() -> None:
    build = GraphBuilder()
    total = build.op("Add", [build.input("x", ["tokens", D]), build.weight("b.bias", BIAS)])
    model = build.model({"y": build.gelu(total)})
    assert fuse_bias_gelu(model, CONTEXT).count == 1
    assert_close(run(model, {"x": X[0]})["y"], gelu(X[0] + BIAS, "none"), 1e-5)


def alone(model: ir.Model, reason: str) -> None:
    """The bias stays outside, and the refusal says why."""
    outcome = fuse_bias_gelu(model, CONTEXT)
    assert outcome.count == 0
    assert reason in outcome.refusals[0].reason
    assert operators(model)["com.microsoft.BiasGelu"] == 0
    assert operators(model)["com.microsoft.Gelu"] + operators(model)["com.microsoft.FastGelu"] == 1


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_without_a_bias(approximate: str) -> None:
    build = GraphBuilder()
    model = build.model({"y": build.gelu(build.input("x", [*AXES, D]), approximate)})
    alone(model, "no Add")
    assert_close(run(model, {"x": X})["y"], gelu(X, approximate), 1e-5)


def test_a_sum_that_is_read_elsewhere() -> None:
    model, build = model_of()
    total = next(iter(model.graph)).outputs[0]
    build.graph.outputs.append(build.op("Relu", [total], shape=[*AXES, D]))
    alone(model, "several readers")


def test_a_sum_that_is_an_output() -> None:
    model, build = model_of()
    total = next(iter(model.graph)).outputs[0]
    total.name = "total"
    build.graph.outputs.append(total)
    alone(model, "output of the graph")
    assert_close(run(model, {"x": X})["total"], X + BIAS, 1e-6)


def test_a_bias_that_is_no_constant() -> None:
    build = GraphBuilder()
    model, _ = model_of(bias=build.input("bias", [D]), build=build)
    alone(model, "no constant vector")


@pytest.mark.parametrize("shape", [(1,), (3, D), (1, 1, D), ()])
def test_a_bias_of_another_shape(shape: tuple[int, ...]) -> None:
    build = GraphBuilder()
    model, _ = model_of(bias=build.weight("b.bias", normal(*shape)), build=build)
    alone(model, "no constant vector")


def test_another_operator_than_gelu() -> None:
    build = GraphBuilder()
    total = build.op("Add", [build.input("x", [*AXES, D]), build.weight("b.bias", BIAS)], shape=[*AXES, D])
    model = build.model({"y": build.op("Relu", [total], shape=[*AXES, D])})
    assert fuse_bias_gelu(model, CONTEXT) == PassOutcome(0)
    assert operators(model) == {"Add": 1, "Relu": 1}
