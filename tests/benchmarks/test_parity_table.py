"""The parity table on tiny models: figures are measured, mistakes show, nothing is left out."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

pytest.importorskip("transformers")
pytest.importorskip("sentence_transformers", reason="the bench extra has it")

from benchmarks import parity_rows
from benchmarks.parity_rows import ROWS, SAMPLE, TINY, Measured, Reference, Row, measure, to_json
from benchmarks.parity_table import render
from bert_onnx.tasks import TASKS

pytestmark = pytest.mark.long


def test_every_task_has_a_row() -> None:
    assert {row.task for row in ROWS if row.model == TINY and not row.changes} == set(TASKS)
    kinds = {row.changes.get("position_embedding_type") for row in ROWS}
    assert {"relative_key", "relative_key_query"} <= kinds
    assert {row.task for row in ROWS if row.changes.get("add_cross_attention")} == {
        "text-generation",
        "text-generation-with-past",
    }
    assert {row.task for row in ROWS if row.model == SAMPLE} == {"feature-extraction", "sentence-similarity"}


@pytest.fixture(scope="module")
def with_cache() -> Measured:
    return measure(Row("text-generation-with-past", TINY, {"add_cross_attention": True}))


def test_figures_of_a_decoder(with_cache: Measured) -> None:
    assert (with_cache.opset, with_cache.cases, with_cache.verdict) == (18, 13, "pass")
    assert [figure.name for figure in with_cache.figures] == ["logits", "present"]
    for figure in with_cache.figures:
        assert figure.from_transformers <= 1e-5
        assert 0 < figure.parity.max_abs_diff <= 1e-4
        assert figure.parity.rounding is not None
        assert 0.3 < figure.parity.rounding.ratio < 3
        assert figure.largest > 1


def test_page_has_a_line_an_output(with_cache: Measured) -> None:
    page = render([with_cache], 3.2e-7)
    lines = [line for line in page.splitlines() if line.startswith("| text-generation-with-past (cross-attention)")]
    logits, present = with_cache.figures
    assert len(lines) == 1
    from_transformers = (
        "0" if logits.from_transformers == 0 else f"{logits.from_transformers:.1e}"
    )  # exact on some CPUs
    assert f"| `logits` | {from_transformers} | {logits.parity.max_abs_diff:.1e} |" in lines[0]
    assert logits.parity.rounding is not None
    assert f"| {logits.parity.rounding.ratio:.2f} | {logits.largest:.3g} |" in lines[0]
    assert re.search(rf"\| `present` \| \S+ \| {present.parity.max_abs_diff:.1e} \|", page)
    assert "3.2e-07" in page
    assert json.loads(to_json(with_cache))["outputs"]["logits"]["largest"] == logits.largest


def test_a_wrong_model_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Reference.run
    monkeypatch.setattr(Reference, "run", lambda self, inputs: {k: v + 0.125 for k, v in right(self, inputs).items()})
    measured = measure(Row("sentence-similarity"))
    assert [figure.name for figure in measured.figures] == ["last_hidden_state", "sentence_embedding"]
    assert all(figure.from_transformers == pytest.approx(0.125, abs=1e-4) for figure in measured.figures)


def test_queries_that_see_nothing_are_left_out_of_the_reference() -> None:
    reference = np.array([[[5.0, 5.0, 5.0], [0.5, 0.0, 0.0]]], np.float32)
    eager, seen = np.zeros((1, 2, 3), np.float32), np.array([[False, True]])
    assert parity_rows._difference(reference, eager, seen) == 0.5
    assert parity_rows._difference(reference, eager, None) == 5.0


def test_chunks_with_relative_positions_are_not_compared_with_transformers() -> None:
    row = Row("text-generation-with-past", TINY, {"position_embedding_type": "relative_key"})
    inputs = {"input_ids": np.ones((2, 3)), "past_key_values.0.key": np.ones((2, 4, 5, 8))}
    assert not parity_rows._is_comparable(row, inputs)
    assert parity_rows._is_comparable(row, inputs | {"input_ids": np.ones((2, 1))})
    assert parity_rows._is_comparable(Row("text-generation-with-past"), inputs)
