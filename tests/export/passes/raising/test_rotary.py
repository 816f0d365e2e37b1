"""Rotations by positions: recognised and spelled out again with the same numbers, and left alone where they differ."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import parser

from export.passes.base import PassContext
from export.passes.cleanup.finish import finish
from export.passes.graph.canonical import DOMAIN
from export.passes.lowering.rotary import lower_rotary
from export.passes.raising.rotary import raise_rotary

CONTEXT = PassContext(18)
ROTATION = """
    <ir_version: 8, opset_import: ["" : 18]>
    rotation (float[B, S, 8] state, float[S, 2] cosines, float[S, 2] sines) => (float[B, S, 2, 4] turned)
    <int64[4] heads = {0, 0, 2, 4}, int64[2] halves = {2, 2}, int64[1] axis = {1}> {
        split = Reshape(state, heads)
        a, b = Split<axis = -1>(split, halves)
        c = Unsqueeze(cosines, axis)
        s = Unsqueeze(sines, axis)
        ac = Mul(a, c)
        bs = Mul(b, s)
        first = Sub(ac, bs)
        bc = Mul(b, c)
        as = Mul(a, s)
        second = Add(bc, as)
        turned = Concat<axis = -1>(first, second)
    }
"""


def model_of(text: str = ROTATION) -> ir.Model:
    return ir.from_proto(onnx.shape_inference.infer_shapes(parser.parse_model(text)))


def run(model: ir.Model) -> np.ndarray:
    rng = np.random.default_rng(0)
    shapes = {"state": (3, 5, 8), "cosines": (5, 2), "sines": (5, 2)}
    feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, feeds)[0]
    return found


def test_there_and_back() -> None:
    model = model_of()
    expected = run(model)
    assert raise_rotary(model, CONTEXT).count == 1
    (rotary,) = [node for node in model.graph if node.domain == DOMAIN]
    assert rotary.attributes["num_heads"].as_int() == 2
    assert [node.op_type for node in model.graph] == ["Rotary", "Reshape"]
    assert lower_rotary(model, CONTEXT).count == 1
    finish(model, CONTEXT)
    np.testing.assert_array_equal(run(model), expected)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Mul(a, s)", "Mul(a, c)", "not turned by one angle"),
        ("bc = Mul(b, c)", "bc = Mul(a, c)", "not turned by one angle"),
        ("Split<axis = -1>(split, halves)", "Split<axis = 2>(split)", "not the two halves of the last axis"),
        ("c = Unsqueeze(cosines, axis)", "c = Identity(cosines)", "the angles are not those of places"),
        ("bs = Mul(b, s)", "bs = Div(b, s)", "no Mul comes before it"),
        ("Concat<axis = -1>(first, second)", "Concat<axis = 2>(first, second)", "not the two halves"),
    ],
)
def test_not_where_it_is_another_formula(old: str, new: str, said: str) -> None:
    model = model_of(ROTATION.replace(old, new).replace("float[B, S, 2, 4] turned", "float[B, S, H, K] turned"))
    outcome = raise_rotary(model, CONTEXT)
    assert outcome.count == 0
    assert said in outcome.refusals[0].reason


def test_not_where_nothing_is_turned() -> None:
    model = model_of(ROTATION.replace("first = Sub(ac, bs)", "first = Add(ac, bs)"))
    assert (raise_rotary(model, CONTEXT).count, raise_rotary(model, CONTEXT).refusals) == (0, ())
