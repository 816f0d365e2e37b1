"""fuse_integer_products: one operator for a product of dequantised integers and the bias behind it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders import AXES, GraphBuilder, assert_close, normal, operators, run

from export.passes.base import PassContext, PassOutcome
from export.passes.lowering.fuse_integer_products import fuse_integer_products

CONTEXT = PassContext(18)
D, F = 16, 24
X = normal(2, 3, D)
RNG = np.random.default_rng(5)


class Products:
    """DQ(Q(x)) times DQ(W), for as many W as are asked for."""

    def __init__(self, scales: np.ndarray | None = None, signed: bool = False) -> None:
        self.build = GraphBuilder()
        x = self.build.input("x", [*AXES, D])
        self.scale = self.build.weight("scale", np.float32(0.03) if scales is None else scales)
        zero = np.int8(-8) if signed else np.uint8(120)
        self.point = self.build.weight("point", np.full(np.shape(scales if scales is not None else 0.0), zero))
        axis = {} if scales is None else {"axis": 2}
        dtype = ir.DataType.INT8 if signed else ir.DataType.UINT8
        levels = self.build.op("QuantizeLinear", [x, self.scale, self.point], axis, dtype=dtype)
        self.read = self.build.op("DequantizeLinear", [levels, self.scale, self.point], axis)

    def weight(self, name: str, axis: int = 1) -> ir.Value:
        values = self.build.weight(name, RNG.integers(-63, 64, (D, F)).astype(np.int8))
        length = (D, F)[axis]
        scales = self.build.weight(f"{name}.scales", (np.arange(length) + 1).astype(np.float32) / 500)
        zeros = self.build.weight(f"{name}.zeros", np.zeros(length, np.int8))
        return self.build.op("DequantizeLinear", [values, scales, zeros], {"axis": axis})

    def product(self, name: str = "w", axis: int = 1) -> ir.Value:
        return self.build.op("MatMul", [self.read, self.weight(name, axis)], shape=[*AXES, F])

    def plus(self, product: ir.Value, other: ir.Value, operator: str = "Add") -> ir.Value:
        return self.build.op(operator, [product, other], shape=[*AXES, F])

    def bias(self, width: int = F) -> ir.Value:
        return self.build.weight("b", normal(width, seed=2))


def fused(model: ir.Model, count: int = 1) -> np.ndarray:
    """The answer after the pass, which is that of float arithmetic before it; nothing of what it read is left."""
    before = run(model, {"x": X})["y"]
    assert fuse_integer_products(model, CONTEXT) == PassOutcome(count)
    after = run(model, {"x": X})["y"]
    assert_close(after, before, 1e-4)
    assert operators(model)["com.microsoft.MatMulIntegerToFloat"] == count
    assert operators(model)["DequantizeLinear"] == operators(model)["MatMul"] == 0
    return after


@pytest.mark.parametrize("operator", ["Add", "Sum"])
def test_with_the_bias(operator: str) -> None:
    make = Products()
    model = make.build.model({"y": make.plus(make.product(), make.bias(), operator)})
    assert np.abs(fused(model)).max() > 1
    assert operators(model) == {"QuantizeLinear": 1, "com.microsoft.MatMulIntegerToFloat": 1}


def test_without_a_bias() -> None:
    make = Products()
    model = make.build.model({"y": make.product()})
    fused(model)
    assert model.graph.outputs[0].name == "y"


def test_several_products_share_what_they_read() -> None:
    make = Products()
    q, k = make.plus(make.product("q"), make.bias()), make.product("k")
    model = make.build.model({"y": make.plus(q, k)})
    fused(model, 2)
    assert operators(model)["Add"] == 1


def test_what_is_added_and_computed_stays_outside() -> None:
    make = Products()
    product = make.product()
    model = make.build.model({"y": make.plus(product, make.build.op("Tanh", [product], shape=[*AXES, F]))})
    fused(model)
    assert operators(model)["Add"] == 1


def test_a_bias_of_another_width_stays_outside() -> None:
    make = Products()
    model = make.build.model({"y": make.plus(make.product(), make.bias(1))})
    fused(model)
    assert operators(model)["Add"] == 1


def test_a_product_that_is_an_output_keeps_its_name() -> None:
    make = Products()
    product = make.product()
    model = make.build.model({"y": make.plus(product, make.bias()), "z": product})
    fused(model)
    assert [output.name for output in model.graph.outputs] == ["y", "z"]
    assert operators(model)["Add"] == 1


def test_a_float_product_is_left() -> None:
    make = Products()
    model = make.build.model({"y": make.build.op("MatMul", [make.read, make.build.weight("w", normal(D, F))])})
    assert fuse_integer_products(model, CONTEXT) == PassOutcome(0)
    assert operators(model)["MatMul"] == 1


def test_signed_activations_are_refused_and_still_run() -> None:
    """Those of files for ARM64: the operator has no kernel for them."""
    make = Products(signed=True)
    model = make.build.model({"y": make.plus(make.product(), make.bias())})
    outcome = fuse_integer_products(model, CONTEXT)
    assert outcome.count == 0
    assert "unsigned" in outcome.refusals[0].reason
    assert np.isfinite(run(model, {"x": X})["y"]).all()


def test_a_scale_a_channel_is_refused() -> None:
    make = Products(np.full(D, 0.03, np.float32))
    model = make.build.model({"y": make.product()})
    outcome = fuse_integer_products(model, CONTEXT)
    assert outcome.count == 0
    assert "does not have one scale" in outcome.refusals[0].reason


def test_a_scale_a_row_of_the_weights_is_refused() -> None:
    make = Products()
    model = make.build.model({"y": make.product(axis=0)})
    outcome = fuse_integer_products(model, CONTEXT)
    assert outcome.count == 0
    assert "scale a column" in outcome.refusals[0].reason
