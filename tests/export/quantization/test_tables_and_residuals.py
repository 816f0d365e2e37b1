"""int8 tables and sums before LayerNormalization: what changes, what must not."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from tiny_encoder import Writer, operators, run, tiny_encoder, weight

from export.quantization.int8.embedding_tables import quantize_tables, round_rows
from export.quantization.int8.residuals import sum_residuals

FEEDS = {
    "input_ids": np.array([[2, 9, 14, 3], [2, 30, 3, 0]]),
    "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]]),
}


def test_rows_are_within_half_a_step() -> None:
    table = np.random.default_rng(0).normal(size=(50, 24)) * np.exp(np.linspace(-4, 4, 50))[:, None]
    values, scales = round_rows(table)
    assert (np.abs(values).max(axis=1) == 127).all()
    assert (np.abs(values * scales - table) <= scales / 2 * 1.001).all()
    assert np.isfinite(round_rows(np.zeros((3, 4)))[1]).all()


def test_a_table_becomes_int8_and_lookups_widen_rows_alone() -> None:
    model = tiny_encoder()
    expected = run(model, **FEEDS)["last_hidden_state"]
    assert quantize_tables(model) == ("embeddings.weight",)
    model.graph.sort()
    assert operators(model)["Gather"] == 2
    table = next(v for v in model.graph.initializers.values() if v.const_value.dtype == ir.DataType.INT8)
    assert {node.op_type for node, _ in table.uses()} == {"Gather"}
    found = run(model, **FEEDS)["last_hidden_state"]
    assert 1e-6 < np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.03


def _tables(*ops: tuple[str, list[str], dict[str, int]]) -> ir.Model:
    w = Writer()
    w.weight("table", np.random.default_rng(0).normal(size=(200, 32)))
    for number, (op_type, inputs, attributes) in enumerate(ops):
        w.op(op_type, inputs, f"op{number}/{op_type}", **attributes)
        w.nodes[-1].output[0] = f"y{number}"
    return w.model({"x": ["n"]}, {f"y{number}": None for number in range(len(ops))})


def test_tables_that_are_read_otherwise_stay_float() -> None:
    assert quantize_tables(_tables(("Gather", ["table", "x"], {"axis": 0}))) == ("table",)
    assert quantize_tables(_tables(("Gather", ["table", "x"], {"axis": 1}))) == ()
    assert quantize_tables(_tables(("Gather", ["table", "x"], {"axis": 0}), ("Identity", ["table"], {}))) == ()


def test_two_lookups_of_one_table_share_its_values() -> None:
    model = _tables(("Gather", ["table", "x"], {"axis": 0}), ("Gather", ["table", "x"], {"axis": 0}))
    expected = run(model, x=np.array([3, 150]))
    assert quantize_tables(model) == ("table",)
    found = run(model, x=np.array([3, 150]))
    assert list(found) == ["y0", "y1"]
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=0.02)
    assert len([v for v in model.graph.initializers.values() if v.const_value.dtype == ir.DataType.INT8]) == 1


def test_small_tables_stay_float() -> None:
    w = Writer()
    w.op("Gather", [w.weight("table", np.ones((2, 32))), "x"], "lookup")
    w.nodes[-1].output[0] = "y"
    assert quantize_tables(w.model({"x": ["n"]}, {"y": ["n", 32]})) == ()


def test_every_residual_becomes_a_sum_and_no_number_changes() -> None:
    model = tiny_encoder()
    expected = run(model, **FEEDS)
    before = operators(model)
    assert sum_residuals(model) == 2
    assert dict(operators(model) - before) == {"Sum": 2}
    assert dict(before - operators(model)) == {"Add": 2}
    found = run(model, **FEEDS)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def test_an_add_of_a_constant_before_a_norm_stays() -> None:
    w = Writer()
    x = w.op("Add", ["x", w.weight("c", np.ones(8))], "add")
    w.op("LayerNormalization", [x, w.weight("g", np.ones(8))], "norm", axis=-1)
    w.nodes[-1].output[0] = "y"
    model = w.model({"x": ["n", 8]}, {"y": ["n", 8]}, integers=False)
    assert sum_residuals(model) == 0
    assert operators(model)["Add"] == 1


def test_weights_of_tables_are_kept_by_name() -> None:
    model = tiny_encoder()
    before = weight(model, "embeddings.weight")
    quantize_tables(model)
    values, scales = (weight(model, f"embeddings.weight_{part}") for part in ("int8", "scale"))
    np.testing.assert_allclose(values * scales, before, atol=0.02)
