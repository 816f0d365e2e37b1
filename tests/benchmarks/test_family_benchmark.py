"""The benchmark of families: arithmetic is the models', ratios point the right way."""

from __future__ import annotations

import numpy as np

from benchmarks.families.__main__ import take_rounds
from benchmarks.families.models import Member
from benchmarks.families.report import relative_cost, write_page
from bert_onnx.config import BertConfig

TIMES = {
    (name, f"{precision} {what}"): np.full(3, seconds)
    for name, seconds in (("bert", 0.1), ("albert", 0.3))
    for precision in ("fp32", "int8")
    for what in ("ort-cpu", "ort-cpu-unpadded", "optimum")
}
ARITHMETIC = {("one", "bert"): 100.0, ("one", "albert"): 200.0}


def test_a_narrow_embedding_costs_its_projection() -> None:
    lengths = np.array([3, 5])
    plain, narrow = (Member(BertConfig(embedding_size=width), {}) for width in (None, 128))
    assert narrow.multiply_adds(lengths) - plain.multiply_adds(lengths) == 8 * 128 * 768


def test_cost_is_time_for_each_multiply_add_over_berts() -> None:
    np.testing.assert_allclose(relative_cost(TIMES, "one", "albert", "fp32 ort-cpu", ARITHMETIC), 1.5)


def test_page() -> None:
    page = write_page({"one": TIMES}, ARITHMETIC, 1e-6, (4, 768), "here")
    assert "the slowest of ours is 1.50 times BERT (albert, " in page
    assert "| `albert` | 300.0 | 300.0 | 1.00 (1.00-1.00) |" in page


def test_every_call_runs_in_every_round() -> None:
    times = take_rounds({"a": lambda: sum(range(10000)), "b": lambda: None}, 0.0)
    assert {name: len(values) for name, values in times.items()} == {"a": 2, "b": 2}
    assert (times["a"] > times["b"]).all()
