"""fuse_skip_layer_norm: residual, bias and LayerNormalization in one operator."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders import AXES, GraphBuilder, assert_close, normal, operators, run

from export.passes.base import PassContext, PassOutcome
from export.passes.lowering.fuse_skip_layer_norm import fuse_skip_layer_norm

CONTEXT = PassContext(18)
D = 16
FEEDS = {"x": normal(2, 3, D), "skip": normal(2, 3, D, seed=1)}
BIAS, GAMMA, BETA = normal(D, seed=2), normal(D, seed=3), normal(D, seed=4)
EPSILON = 1e-3
SKIP = "com.microsoft.SkipLayerNormalization"


def reference(total: np.ndarray) -> np.ndarray:
    mean, deviation = total.mean(-1, keepdims=True), total.std(-1, keepdims=True)
    return (total - mean) / np.sqrt(deviation**2 + EPSILON) * GAMMA + BETA


class Norm:
    """LayerNormalization of a sum, with what a test wants to be different."""

    def __init__(
        self, axes: tuple[int | str, ...] = (*AXES, D), skip_axes: tuple[int | str, ...] | None = None
    ) -> None:
        self.build = GraphBuilder()
        self.axes = axes
        self.x = self.build.input("x", axes)
        self.skip = self.build.input("skip", skip_axes or axes)
        self.bias = self.build.weight("b.bias", BIAS)
        self.gamma: ir.Value = self.build.weight("g.weight", GAMMA)
        self.beta: ir.Value | None = self.build.weight("g.bias", BETA)
        self.axis = -1

    def add(self, *terms: ir.Value) -> ir.Value:
        return self.build.op("Add", terms, shape=self.axes)

    def model(self, total: ir.Value, **outputs: ir.Value) -> ir.Model:
        y = self.build.op(
            "LayerNormalization",
            [total, self.gamma, self.beta],
            {"axis": self.axis, "epsilon": EPSILON},
            shape=self.axes,
        )
        return self.build.model({"y": y, **outputs})


def fires(model: ir.Model) -> None:
    expected = run(model, FEEDS)
    assert fuse_skip_layer_norm(model, CONTEXT) == PassOutcome(1)
    for name, array in run(model, FEEDS).items():
        assert_close(array, expected[name], 5e-6)


def stays(model: ir.Model, reason: str) -> None:
    before = operators(model)
    outcome = fuse_skip_layer_norm(model, CONTEXT)
    assert outcome.count == 0
    assert reason in outcome.refusals[0].reason
    assert operators(model) == before


@pytest.mark.parametrize("order", range(4))
def test_residual_and_bias(order: int) -> None:
    norm = Norm()
    biased = norm.add(norm.x, norm.bias) if order % 2 else norm.add(norm.bias, norm.x)
    model = norm.model(norm.add(biased, norm.skip) if order < 2 else norm.add(norm.skip, biased))
    fires(model)
    assert operators(model) == {SKIP: 1}
    assert_close(run(model, FEEDS)["y"], reference(FEEDS["x"] + BIAS + FEEDS["skip"]), 1e-5)


def test_residual_alone() -> None:
    norm = Norm()
    model = norm.model(norm.add(norm.x, norm.skip))
    fires(model)
    assert_close(run(model, FEEDS)["y"], reference(FEEDS["x"] + FEEDS["skip"]), 1e-5)


def test_without_beta() -> None:
    norm = Norm()
    norm.beta = None
    fires(norm.model(norm.add(norm.add(norm.x, norm.bias), norm.skip)))


def test_last_axis_by_its_number() -> None:
    norm = Norm()
    norm.axis = 2
    fires(norm.model(norm.add(norm.x, norm.skip)))


def test_packed_tokens() -> None:
    norm = Norm(("tokens", D))
    model = norm.model(norm.add(norm.add(norm.x, norm.bias), norm.skip))
    assert fuse_skip_layer_norm(model, CONTEXT).count == 1
    y = run(model, {name: array[0] for name, array in FEEDS.items()})["y"]
    assert_close(y, reference(FEEDS["x"][0] + BIAS + FEEDS["skip"][0]), 1e-5)


def test_a_biased_value_that_is_read_elsewhere_keeps_its_bias() -> None:
    norm = Norm()
    biased = norm.add(norm.x, norm.bias)
    model = norm.model(norm.add(biased, norm.skip), biased=biased)
    fires(model)
    assert operators(model) == {"Add": 1, SKIP: 1}


def test_shapes_are_worked_out_where_nobody_wrote_them() -> None:
    norm = Norm()
    total = norm.build.op("Add", [norm.build.op("Relu", [norm.add(norm.x, norm.bias)]), norm.skip])
    model = norm.model(total)
    fires(model)
    assert operators(model) == {"Add": 1, "Relu": 1, SKIP: 1}


def test_a_sum_that_is_read_elsewhere() -> None:
    norm = Norm()
    total = norm.add(norm.x, norm.skip)
    stays(norm.model(total, relu=norm.build.op("Relu", [total], shape=norm.axes)), "several readers")


def test_a_sum_that_is_an_output() -> None:
    norm = Norm()
    total = norm.add(norm.x, norm.skip)
    stays(norm.model(total, sum=total), "output of the graph")


@pytest.mark.parametrize("skip_axes", [(AXES[1], D), (1, AXES[1], D), (AXES[0], 1, D), ("other", AXES[1], D), (D,)])
def test_a_residual_that_is_broadcast(skip_axes: tuple[int | str, ...]) -> None:
    norm = Norm(skip_axes=skip_axes)
    stays(norm.model(norm.add(norm.x, norm.skip)), "operands of the sum")


def test_another_axis() -> None:
    norm = Norm()
    norm.axis = 1
    norm.gamma, norm.beta = norm.build.input("gamma", [AXES[1], D]), None
    stays(norm.model(norm.add(norm.x, norm.skip)), "axis 1")


def test_four_axes() -> None:
    norm = Norm((AXES[0], 2, AXES[1], D))
    stays(norm.model(norm.add(norm.x, norm.skip)), "two or three")


def test_a_scale_that_is_computed() -> None:
    norm = Norm()
    norm.gamma = norm.build.input("gamma", [D])
    stays(norm.model(norm.add(norm.x, norm.skip)), "no constant")


def test_a_scale_of_two_axes() -> None:
    norm = Norm()
    norm.gamma = norm.build.weight("g2.weight", normal(3, D))
    stays(norm.model(norm.add(norm.x, norm.skip)), "no constant vector")


def test_a_mean_that_is_read() -> None:
    norm = Norm()
    total = norm.add(norm.x, norm.skip)
    node = norm.build.node(
        "LayerNormalization", [total, norm.gamma, norm.beta], {"axis": -1}, outputs=3, shape=norm.axes
    )
    node.outputs[1].shape = ir.Shape([*AXES, 1])
    stays(norm.build.model({"y": node.outputs[0], "mean": node.outputs[1]}), "mean")


def test_no_residual() -> None:
    norm = Norm()
    norm.build.graph.inputs.remove(norm.skip)
    stays(norm.model(norm.build.op("Relu", [norm.x], shape=norm.axes)), "no Add")
