"""fuse_embeddings: look-ups, their sum and LayerNormalization in one operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from builders import AXES, INT64, GraphBuilder, assert_close, normal, operators, run

from bert_onnx.tasks import REQUIRES, RIGHT_PADDING
from export.passes.base import PassContext, PassOutcome
from export.passes.lowering.fuse_embeddings import fuse_embeddings

CONTEXT = PassContext(18)
D, V, N = 16, 30, 9
SHAPE = [*AXES, D]
FEEDS = {
    "input_ids": np.random.default_rng(0).integers(0, V, (3, 7)),
    "token_type_ids": np.random.default_rng(1).integers(0, 2, (3, 7)),
}
FUSED = "com.microsoft.EmbedLayerNormalization"


class Embeddings:
    """The embeddings of a BERT, with what a test wants to be different."""

    def __init__(self) -> None:
        self.build = build = GraphBuilder()
        self.ids, self.types = (build.input(name, AXES, INT64) for name in FEEDS)
        self.words = build.op("Gather", [build.weight("w.weight", normal(V, D)), self.ids], shape=SHAPE)
        self.segments = build.op("Gather", [build.weight("t.weight", normal(2, D)), self.types], shape=SHAPE)
        self.table = build.weight("p.weight", normal(N, D))
        self.gamma: ir.Value = build.weight("g.weight", normal(D, seed=1))
        self.start, self.step = 0, 1

    def positions(self, source: ir.Value | None = None) -> ir.Value:
        build = self.build
        start, axis, step = (
            build.weight(f"c{number}", np.array([value])) for number, value in enumerate((self.start, 0, self.step))
        )
        length = build.op("Shape", [source or self.types], {"start": 1, "end": 2}, dtype=INT64)
        return build.op("Slice", [self.table, start, length, axis, step], shape=[AXES[1], D])

    def model(self, terms: list[ir.Value], axis: int = -1, **outputs: ir.Value) -> ir.Model:
        total = terms[0]
        for term in terms[1:]:
            total = self.build.op("Add", [total, term], shape=SHAPE)
        self.total = total
        norm = [total, self.gamma, self.build.weight("g.bias", normal(D, seed=2))]
        y = self.build.op("LayerNormalization", norm, {"axis": axis, "epsilon": 1e-12}, shape=SHAPE)
        return self.build.model({"y": y, **outputs})


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_words_segments_and_positions(order: tuple[int, int, int]) -> None:
    parts = Embeddings()
    terms = (parts.words, parts.segments, parts.positions())
    model = parts.model([terms[number] for number in order])
    expected = run(model, FEEDS)["y"]
    assert fuse_embeddings(model, CONTEXT) == PassOutcome(1)
    assert operators(model)[FUSED] == 1
    assert operators(model)["LayerNormalization"] == 0
    assert_close(run(model, FEEDS)["y"], expected, 5e-6)


def test_without_segments() -> None:
    parts = Embeddings()
    model = parts.model([parts.words, parts.positions()])
    expected = run(model, FEEDS)["y"]
    assert fuse_embeddings(model, CONTEXT) == PassOutcome(1)
    assert_close(run(model, FEEDS)["y"], expected, 5e-6)


def with_lengths(parts: Embeddings, axes: list[str] = AXES, **changes: int) -> ir.Model:
    """The embeddings, and the lengths of the texts: once for each of two readers."""
    build, given = parts.build, {"axis": 1, "keepdims": 0, "to": int(ir.DataType.INT32), **changes}
    mask = build.input("attention_mask", axes, INT64)
    axis = build.weight("axis", np.array([given["axis"]]))
    totals = [build.op("ReduceSum", [mask, axis], {"keepdims": given["keepdims"]}, dtype=INT64) for _ in range(2)]
    lengths = [build.op("Cast", [total], {"to": given["to"]}, dtype=ir.DataType(given["to"])) for total in totals]
    outputs = [build.op("Neg", [one], dtype=one.dtype) for one in lengths]
    model = parts.model([parts.words, parts.positions()], first=outputs[0], second=outputs[1])
    model.metadata_props[REQUIRES] = RIGHT_PADDING
    return model


MASK = (np.arange(7) < np.array([[7], [1], [4]])).astype(np.int64)


def test_lengths_come_from_the_operator_where_padding_is_on_the_right() -> None:
    model = with_lengths(Embeddings())
    feeds = {**FEEDS, "attention_mask": MASK}
    expected = run(model, feeds)
    assert fuse_embeddings(model, CONTEXT) == PassOutcome(1)
    assert operators(model)["ReduceSum"] == 0
    results = run(model, feeds)
    assert_close(results["y"], expected["y"], 5e-6)
    for name in ("first", "second"):
        np.testing.assert_array_equal(results[name], [-7, -1, -4])
        assert results[name].dtype == np.int32


@pytest.mark.parametrize(
    "changes", [{"axis": 0}, {"keepdims": 1}, {"to": int(ir.DataType.FLOAT)}, {"axes": ["n", "m"]}]
)
def test_other_sums_stay(changes: dict[str, Any]) -> None:
    model = with_lengths(Embeddings(), **changes)
    assert fuse_embeddings(model, CONTEXT) == PassOutcome(1)
    assert operators(model)["ReduceSum"] == 2


def test_lengths_stay_sums_where_padding_may_be_anywhere() -> None:
    model = with_lengths(Embeddings())
    del model.metadata_props[REQUIRES]
    assert fuse_embeddings(model, CONTEXT) == PassOutcome(1)
    assert operators(model)["ReduceSum"] == 2


def stays(model: ir.Model, reason: str) -> None:
    before = operators(model)
    outcome = fuse_embeddings(model, CONTEXT)
    assert outcome.count == 0
    assert reason in outcome.refusals[0].reason
    assert operators(model) == before


def test_positions_after_a_cache() -> None:
    parts = Embeddings()
    parts.start = 1
    stays(parts.model([parts.words, parts.segments, parts.positions()]), "after a cache")


def test_every_other_position() -> None:
    parts = Embeddings()
    parts.step = 2
    stays(parts.model([parts.words, parts.segments, parts.positions()]), "row by row")


def test_positions_that_are_computed() -> None:
    parts = Embeddings()
    stays(parts.model([parts.words, parts.segments, parts.build.op("Relu", [parts.table])]), "first rows")


def test_positions_of_another_length() -> None:
    parts = Embeddings()
    positions = parts.positions()
    positions.shape = ir.Shape(["other", D])
    stays(parts.model([parts.words, parts.segments, positions]), "not as many")


def test_a_further_term() -> None:
    parts = Embeddings()
    further = parts.build.input("further", SHAPE)
    stays(parts.model([parts.words, parts.segments, parts.positions(), further]), "other terms")


def test_no_positions() -> None:
    parts = Embeddings()
    stays(parts.model([parts.words, parts.segments]), "other terms")


def test_a_sum_that_is_read_elsewhere() -> None:
    parts = Embeddings()
    words_and_segments = parts.build.op("Add", [parts.words, parts.segments], shape=SHAPE)
    model = parts.model([words_and_segments, parts.positions()], sum=words_and_segments)
    assert fuse_embeddings(model, CONTEXT).count == 0
    assert operators(model)[FUSED] == 0


def test_words_that_are_read_elsewhere() -> None:
    parts = Embeddings()
    stays(parts.model([parts.words, parts.segments, parts.positions()], words=parts.words), "other terms")


def test_a_scale_that_is_computed() -> None:
    parts = Embeddings()
    parts.gamma = parts.build.input("gamma", [D])
    stays(parts.model([parts.words, parts.segments, parts.positions()]), "no constant")


def test_another_axis() -> None:
    parts = Embeddings()
    stays(parts.model([parts.words, parts.segments, parts.positions()], axis=1), "last axis")


def test_another_layer_norm_is_no_refusal() -> None:
    build = GraphBuilder()
    x = build.input("x", SHAPE)
    total = build.op("Add", [x, x], shape=SHAPE)
    model = build.model({"y": build.op("LayerNormalization", [total, build.weight("g", normal(D))], shape=SHAPE)})
    assert fuse_embeddings(model, CONTEXT) == PassOutcome(0)
