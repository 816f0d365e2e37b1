"""Batches: little padding, bounded size, results in the order of the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_onnx.errors import UsageError
from runtimes.pipelines.batches import BatchOptions, pad, run_rows, token_batches, window_inputs
from runtimes.pipelines.encoding import Window


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 9))
def test_every_text_is_in_one_batch_and_lengths_fall(lengths: list[int], batch_size: int) -> None:
    options = BatchOptions.of_size(batch_size)
    batches = list(token_batches(lengths, options.tokens, options.rows))
    flat = [index for batch in batches for index in batch]
    assert sorted(flat) == list(range(len(lengths)))
    assert [lengths[index] for index in flat] == sorted(lengths, reverse=True)
    assert all(len(batch) == batch_size for batch in batches[:-1])


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_holds_at_least_one_text(batch_size: int) -> None:
    with pytest.raises(UsageError, match="batch_size"):
        BatchOptions.of_size(batch_size)


def test_padding_is_on_the_right_and_masked() -> None:
    arrays = pad([Window(0, [2, 5, 3], [0, 0, 0]), Window(1, [2, 3], [0, 1])], pad_token_id=9)
    assert arrays["input_ids"].tolist() == [[2, 5, 3], [2, 3, 9]]
    assert arrays["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert arrays["token_type_ids"].tolist() == [[0, 0, 0], [0, 1, 0]]
    assert all(array.dtype == np.int64 for array in arrays.values())


class SumOfIds:
    """A runtime that returns the sum of each row's ids, and remembers the shapes it saw."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self.shapes.append(inputs["input_ids"].shape)
        return {"sum": (inputs["input_ids"] * inputs["attention_mask"]).sum(axis=1).astype(np.float32)}


@given(st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=20), max_size=30), st.integers(1, 7))
def test_results_come_in_the_order_of_the_texts(rows: list[list[int]], batch_size: int) -> None:
    runtime = SumOfIds()
    windows = [Window(index, ids, [0] * len(ids)) for index, ids in enumerate(rows)]
    inputs = window_inputs(runtime, windows, ["sum"], 0)  # type: ignore[arg-type]
    found = run_rows(inputs, BatchOptions.of_size(batch_size), lambda index, row: (index, float(row["sum"])))
    assert found == [(index, float(sum(ids))) for index, ids in enumerate(rows)]
    assert all(shape[0] <= batch_size for shape in runtime.shapes)
