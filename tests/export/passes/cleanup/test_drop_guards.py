"""drop_guards and the opset passes: what stands around the formulas of a graph from elsewhere."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from spelled_out import STATES, D, apply, assert_same_answers, assert_untouched, operators, parse, states
from spelled_out_attention import Spelling, feeds

from bert_onnx.errors import ExportError

GUARDED = Spelling(softmax="p0 = Softmax<axis = -1>(b) n = IsNaN(p0) p = Where(n, zero, p0)")


def test_guard_around_softmax() -> None:
    model = GUARDED.model()
    assert apply(model, "drop_guards").count == 1
    assert apply(model, "raise_attention").count == 1
    assert operators(model) == {"bert_onnx.Attention": 1}
    assert_same_answers(GUARDED.model(), ["drop_guards", "raise_attention"], feeds(GUARDED.model()))


def test_guard_that_the_graph_returns() -> None:
    guard = "s = Softmax<axis = -1>(x) n = IsNaN(s) y = Where(n, zero, s)"
    model = parse(guard, constants={"zero": 0.0})
    assert apply(model, "drop_guards").count == 1
    assert operators(model) == {"Softmax": 1}
    assert [output.name for output in model.graph.outputs] == ["y"]


def test_input_that_the_graph_returns_through_dropout() -> None:
    """An output of the graph needs a node of its own."""
    assert_untouched(parse("y = Dropout(x)"), "drop_guards", reason=None)


OTHER_GUARDS = {
    "another value": "s = Softmax<axis = -1>(x) n = IsNaN(s) y = Where(n, one, s)",
    "another operator": "s = Exp(x) n = IsNaN(s) y = Where(n, zero, s)",
    "another condition": "s = Softmax<axis = -1>(x) n = IsInf(s) y = Where(n, zero, s)",
    "of something else": "s = Softmax<axis = -1>(x) n = IsNaN(x) y = Where(n, zero, s)",
    "the other way round": "s = Softmax<axis = -1>(x) n = IsNaN(s) y = Where(n, s, zero)",
    "a computed zero": "s = Softmax<axis = -1>(x) n = IsNaN(s) z = Neg(zero) y = Where(n, z, s)",
}


@pytest.mark.parametrize("body", OTHER_GUARDS.values(), ids=OTHER_GUARDS)
def test_other_conditions(body: str) -> None:
    assert_untouched(parse(body, constants={"zero": 0.0, "one": 1.0}), "drop_guards", reason=None)


@pytest.mark.parametrize("call", ["Dropout(x)", "Dropout(x, ratio)", "Dropout(x, ratio, off)"])
def test_dropout_at_inference(call: str) -> None:
    body, constants = f"d = {call} y = Relu(d)", {"ratio": 0.1, "off": np.array(False)}
    model = parse(body, constants=constants)
    assert apply(model, "drop_guards").count == 1
    assert operators(model) == {"Relu": 1}
    assert_same_answers(parse(body, constants=constants), ["drop_guards"], {"x": states()}, 0.0)


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("d = Dropout(x, ratio, on) y = Relu(d)", f"{STATES} y"),
        ("d = Dropout(x, ratio, flag) y = Relu(d)", f"{STATES} y"),
        ("d, m = Dropout(x, ratio) y = Relu(d)", f"{STATES} y, bool[B,S,{D}] m"),
    ],
    ids=["training", "computed", "its mask is returned"],
)
def test_other_dropout(body: str, outputs: str) -> None:
    model = parse(body, f"{STATES} x, bool flag", outputs, {"ratio": 0.1, "on": np.array(True)})
    assert_untouched(model, "drop_guards", reason="Dropout")


OLD = "m = ReduceMean<axes = [-1]>(x) d = Sub(x, m) y = Mul(d, d)"


@pytest.mark.parametrize(
    ("found", "wanted", "expected"), [(13, 18, 18), (14, 17, 18), (17, 23, 23), (18, 20, 20), (20, 23, 23)]
)
def test_upgrade(found: int, wanted: int, expected: int) -> None:
    def make() -> ir.Model:
        body = OLD if found < 18 else OLD.replace("<axes = [-1]>(x)", "(x, last)")
        return parse(body, constants={"last": [-1]}, opset=found)

    model = make()
    assert apply(model, "upgrade_opset", opset=wanted).count == 1
    assert model.graph.opset_imports[""] == expected
    assert operators(model)["ReduceMean"] == 1
    assert_same_answers(make(), ["upgrade_opset"], {"x": states()}, 0.0)


@pytest.mark.parametrize(("found", "wanted"), [(18, 18), (18, 17), (23, 18)])
def test_no_upgrade(found: int, wanted: int) -> None:
    model = parse("y = Relu(x)", opset=found)
    assert apply(model, "upgrade_opset", opset=wanted).count == 0
    assert model.graph.opset_imports[""] == found


def test_upgrade_inlines_functions() -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 18, "local" : 1]> '
        "bert (float[N] x) => (float[N] y) { y = local.twice(x) } "
        '<domain: "local", opset_import: ["" : 18]> twice (a) => (b) { b = Add(a, a) }'
    )
    model = ir.from_onnx_text(text)
    apply(model, "upgrade_opset")
    assert operators(model) == {"Add": 1}
    assert len(model.functions) == 0


def test_graph_that_cannot_be_upgraded() -> None:
    model = parse("y = Upsample<width_scale = 2.0, height_scale = 1.0>(x)", opset=6)
    with pytest.raises(ExportError, match=r"opset 6.*cannot convert it to 18.*export it again"):
        apply(model, "upgrade_opset")


def test_downgrade() -> None:
    body = "r = Reshape(x, shape) c = Cast<to = 1, saturate = 1>(r) t = Transpose<perm = [0, 1, 2]>(c) y = Relu(t)"
    model = parse(body, constants={"shape": [0, 0, D]}, opset=23)
    assert apply(model, "downgrade_opset", opset=18).count == 3
    assert model.graph.opset_imports[""] == 18
    assert "saturate" not in model.graph.node(1).attributes
    assert_same_answers(model, [], {"x": states()}, 0.0)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("y = Gelu(x)", "Gelu .* of opset 23 has no equal in opset 18"),
        ("y = RMSNormalization(x, w)", "RMSNormalization"),
        ("y = GroupNormalization<num_groups = 1>(x, w, w)", "GroupNormalization"),
    ],
)
def test_operators_that_the_lower_opset_does_not_have(body: str, message: str) -> None:
    model = parse(body, constants={"w": np.ones(D)}, opset=23)
    with pytest.raises(ExportError, match=message):
        apply(model, "downgrade_opset", opset=18)


@pytest.mark.parametrize(("found", "wanted"), [(18, 18), (18, 23), (18, 17)])
def test_no_downgrade(found: int, wanted: int) -> None:
    model = parse("y = Relu(x)", opset=found)
    assert apply(model, "downgrade_opset", opset=wanted).count == 0
    assert model.graph.opset_imports[""] == found
