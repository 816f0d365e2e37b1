"""Graphs written in ONNX's text form, and what the tests of raising passes ask of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from builders import operators, run
from onnx_ir.passes import common

from export.passes.base import PassContext, PassOutcome
from export.passes.table import PASSES

#: Width of a state, heads, head size.
D, H, K = 24, 3, 8
STATES = f"float[B,S,{D}]"


def parse(
    body: str,
    inputs: str = f"{STATES} x",
    outputs: str = f"{STATES} y",
    constants: Mapping[str, object] | None = None,
    opset: int = 18,
) -> ir.Model:
    """A model of the nodes in `body`, with those of the `constants` that it reads; floats are float32, ints int64."""
    model = ir.from_onnx_text(
        f'<ir_version: 10, opset_import: ["" : {opset}, "com.microsoft" : 1]>\n'
        f"bert ({inputs}) => ({outputs}) {{\n{body}\n}}"
    )
    used: dict[str, list[tuple[ir.Node, int]]] = {}
    for node in model.graph:
        node.name = node.name or f"{node.op_type}_{node.outputs[0].name}"
        for place, value in enumerate(node.inputs):
            if value is not None and value.producer() is None and not value.is_graph_input():
                used.setdefault(value.name or "", []).append((node, place))
    for name, content in (constants or {}).items():
        if name not in used:
            continue
        array = np.asarray(content)
        array = array.astype({"f": np.float32, "i": np.int64}.get(array.dtype.kind, array.dtype))
        value = ir.Value(name=name, shape=ir.Shape(array.shape), const_value=ir.tensor(array, name=name))
        value.dtype = ir.DataType.from_numpy(array.dtype)
        model.graph.register_initializer(value)
        for node, place in used.pop(name, []):
            node.replace_input_with(place, value)
    assert not used, f"not defined: {sorted(used)}"
    return model


def apply(model: ir.Model, *passes: str, opset: int = 18) -> PassOutcome:
    """What the last of the `passes` returned; all are run in order."""
    outcome = PassOutcome(0)
    for name in passes:
        outcome = PASSES[name](model, PassContext(opset))
    return outcome


def assert_untouched(model: ir.Model, *passes: str, reason: str | None) -> None:
    """The last pass neither fires nor changes anything; it refuses for `reason`, or, with None, says nothing."""
    for name in passes[:-1]:
        apply(model, name)
    common.RemoveUnusedNodesPass()(model)  # which passes may do
    before = [(node.op_type, [v.name if v else None for v in node.inputs]) for node in model.graph]
    outcome = apply(model, passes[-1])
    assert outcome.count == 0
    assert [(node.op_type, [v.name if v else None for v in node.inputs]) for node in model.graph] == before
    if reason is None:
        assert outcome.refusals == ()
    else:
        assert [refusal for refusal in outcome.refusals if reason in refusal.reason and refusal.node], outcome.refusals


def assert_same_answers(
    model: ir.Model, passes: Sequence[str], feeds: Mapping[str, np.ndarray], tolerance: float = 1e-5
) -> ir.Model:
    """Applies `passes` and the plain lowering; every output is what it was, but for rounding. Returns the model."""
    expected = run(model, feeds)
    for name in (*passes, "lower_plain", "simplify"):
        apply(model, name)
    actual = run(model, feeds)
    assert list(actual) == list(expected)
    for name, array in expected.items():
        assert actual[name].shape == array.shape
        assert np.abs(actual[name] - array).max(initial=0) <= tolerance * max(1.0, np.abs(array).max(initial=0)), name
    return model


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """float32 numbers large enough to show an error."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def states(batch: int = 2, length: int = 5, seed: int = 0) -> np.ndarray:
    """A hidden state [B, S, D] with values up to about 6."""
    return normal(batch, length, D, seed=seed) * 2


__all__ = [
    "STATES",
    "D",
    "H",
    "K",
    "apply",
    "assert_same_answers",
    "assert_untouched",
    "normal",
    "operators",
    "parse",
    "run",
    "states",
]  # fmt: skip
