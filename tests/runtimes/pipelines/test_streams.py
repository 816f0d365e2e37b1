"""Batches by tokens, order, streams of any size, memory that runs out, the line of progress."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_artifacts import CONFIG, VOCABULARY, publish_toy, table

import runtimes
from bert_onnx.errors import InferenceError, InputError, UsageError
from runtimes import progress
from runtimes.engines.base import RuntimeDescription, out_of_memory, ran_out_of_memory
from runtimes.pipelines.batches import (
    BatchInputs,
    BatchOptions,
    pieces,
    run_rows,
    run_vectors,
    stream_vectors,
    token_batches,
    window_inputs,
)
from runtimes.pipelines.encoding import Window
from runtimes.progress import ProgressLine


class Meter:
    """Answers the first id of each row; fails for calls with more than `limit` padded tokens."""

    name = "meter"
    inputs = outputs = ()

    def __init__(self, limit: int = 1 << 60, words: str | None = None) -> None:
        self.limit = limit
        self.words = words
        self.shapes: list[tuple[int, int]] = []

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        shape = inputs["input_ids"].shape
        self.shapes.append(shape)
        if shape[0] * shape[1] > self.limit:
            raise InferenceError(self.words) if self.words else out_of_memory("model.onnx", "bad_alloc")
        return {"vector": inputs["input_ids"][:, :1].astype(np.float32)}

    def describe(self) -> RuntimeDescription:
        return RuntimeDescription(self.name, (), "none", 1, "meter")

    def close(self) -> None:
        """Nothing to give back."""


def window(index: int, length: int) -> Window:
    return Window(index, [index] + [0] * (length - 1), [0] * length)


def inputs(meter: Meter, lengths: Sequence[int]) -> BatchInputs:
    return window_inputs(meter, [window(index, length) for index, length in enumerate(lengths)], ["vector"], 0)


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 2000), st.integers(1, 16))
def test_batches_keep_to_the_budget_and_lose_nothing(lengths: list[int], tokens: int, rows: int) -> None:
    batches = list(token_batches(lengths, tokens, rows))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= rows
        assert len(batch) * max(lengths[index] for index in batch) <= tokens or len(batch) == 1
    longest = [max(lengths[index] for index in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_results_come_in_the_order_of_the_input() -> None:
    lengths = [3, 9, 1, 9, 2, 30, 4]
    meter = Meter()
    options = BatchOptions(tokens=18, rows=3)
    rows = run_rows(inputs(meter, lengths), options, lambda index, row: (index, int(row["vector"][0])))
    assert rows == [(index, index) for index in range(len(lengths))]
    assert meter.shapes == [(1, 30), (2, 9), (3, 4), (1, 1)]
    vectors = run_vectors(inputs(meter, lengths), "vector", options)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[index] for index in range(len(lengths))]


@pytest.mark.parametrize("options", [{"tokens": 0}, {"rows": 0}, {"piece": 0}, {"rows": True}, {"tokens": 1.5}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        BatchOptions(**options)


def test_a_batch_that_does_not_fit_is_split_once() -> None:
    meter = Meter(limit=30)
    vectors = run_vectors(inputs(meter, [4, 10, 4, 9, 4]), "vector", BatchOptions())
    assert meter.shapes == [(5, 10), (3, 10), (2, 4)]
    assert vectors[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_a_half_that_does_not_fit_is_a_clear_error() -> None:
    meter = Meter(limit=5)
    with pytest.raises(InferenceError, match="memory ran out for 4 texts of up to 10 tokens, and for half of them"):
        run_vectors(inputs(meter, [10] * 4), "vector", BatchOptions())
    assert meter.shapes == [(4, 10), (2, 10)]


def test_one_text_that_does_not_fit_is_not_tried_again() -> None:
    meter = Meter(limit=5)
    with pytest.raises(InferenceError, match="ran out of memory"):
        run_vectors(inputs(meter, [10]), "vector", BatchOptions())
    assert meter.shapes == [(1, 10)]


def test_another_failure_is_not_tried_again() -> None:
    meter = Meter(limit=5, words="onnxruntime failed in model.onnx: no such kernel.")
    with pytest.raises(InferenceError, match="no such kernel"):
        run_vectors(inputs(meter, [10, 10]), "vector", BatchOptions())
    assert meter.shapes == [(2, 10)]


@pytest.mark.parametrize(
    "reason",
    ["std::bad_alloc", "CUDA failure 2: out of memory",
     "Available memory of 100 is smaller than requested bytes of 200",
     "Failed to allocate memory for requested buffer of size 4096"],
)  # fmt: skip
def test_the_words_of_runtimes_are_known(reason: str) -> None:
    from runtimes.engines.ort.session import run_failure

    assert ran_out_of_memory(run_failure("model.onnx", RuntimeError(reason)))
    assert not ran_out_of_memory(run_failure("model.onnx", RuntimeError("no such kernel")))
    assert ran_out_of_memory(run_failure("model.onnx", MemoryError()))


def test_a_stream_of_any_size_reads_only_what_it_needs() -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield f"text {read}"

    def prepare(texts: list[str]) -> BatchInputs:
        return window_inputs(Meter(), [window(int(text.split()[1]), 2) for text in texts], ["vector"], 0)

    done: list[int] = []
    stream = stream_vectors(prepare, endless(), "vector", BatchOptions(piece=10), done.append)
    first = [next(stream) for _ in range(3)]
    assert np.concatenate(first)[:, 0].tolist() == list(range(1, 31))
    assert read == 40  # one piece ahead, no more
    assert done == [10, 20, 30]
    stream.close()  # type: ignore[attr-defined]


def test_an_error_in_a_later_piece_comes_after_the_results_before_it() -> None:
    def prepare(texts: list[str]) -> BatchInputs:
        if "bad" in texts:
            raise InputError("text 5 is bad.")
        return inputs(Meter(), [2] * len(texts))

    stream = stream_vectors(prepare, ["a", "b", "c", "bad"], "vector", BatchOptions(piece=2))
    assert next(stream).shape == (2, 1)
    with pytest.raises(InputError, match="text 5 is bad"):
        next(stream)


def test_nothing_gives_nothing() -> None:
    assert list(stream_vectors(lambda texts: inputs(Meter(), []), [], "vector", BatchOptions())) == []
    assert list(pieces([], 3)) == []
    assert list(pieces(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]


class TestEmbed:
    """The same through a pipeline."""

    @pytest.fixture(scope="class")
    def artifact(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return publish_toy(tmp_path_factory.mktemp("toy") / "artifact")

    @pytest.fixture(scope="class")
    def model(self, artifact: Path) -> Iterator[Any]:
        with runtimes.load(artifact, threads=1) as model:
            yield model

    @settings(max_examples=25)
    @given(st.lists(st.lists(st.sampled_from(VOCABULARY[5:8]), max_size=8), max_size=40), st.sampled_from([None, 1, 7]))
    def test_every_vector_is_that_of_its_text(self, model: Any, words: list[list[str]], batch_size: int | None) -> None:
        vectors = model.embed([" ".join(text) for text in words], batch_size)
        assert vectors.shape == (len(words), CONFIG.hidden_size)
        for text, vector in zip(words, vectors, strict=True):
            ids = [VOCABULARY.index(token) for token in ["[CLS]", *text, "[SEP]"]]
            np.testing.assert_allclose(vector, table()[ids].mean(axis=0), rtol=1e-4, atol=1e-6)

    def test_an_iterator_will_do(self, model: Any) -> None:
        texts = ["hello", "world world", "good"] * 5
        np.testing.assert_array_equal(model.embed(iter(texts)), model.embed(texts))
        np.testing.assert_array_equal(model.embed("hello"), model.embed(["hello"]))
        assert model.embed(iter(())).shape == (0, CONFIG.hidden_size)

    def test_a_stream_gives_the_same(self, model: Any) -> None:
        texts = ["hello", "world world", "good"] * 5
        parts = list(model.embed_stream(iter(texts), BatchOptions(piece=4)))
        assert [len(part) for part in parts] == [4, 4, 4, 3]
        np.testing.assert_array_equal(np.concatenate(parts), model.embed(texts))

    @pytest.mark.parametrize("texts", [[1], ["fine", None]])
    def test_what_is_no_text_is_refused(self, model: Any, texts: list[Any]) -> None:
        with pytest.raises(InputError):
            model.embed(texts)
        with pytest.raises(UsageError, match="batch_size is 0"):
            model.embed(["fine"], 0)

    def test_progress_is_shown_on_request(self, model: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        monkeypatch.setattr(progress, "_PATIENCE", -1.0)
        model.embed(["hello"] * 3, progress=True)
        assert "3 of 3 texts" in capsys.readouterr().err
        model.embed(["hello"] * 3)  # standard error is no terminal here
        assert capsys.readouterr().err == ""


def test_the_line_is_shown_late_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    stream = io.StringIO()
    line = ProgressLine("texts", 1000, True, stream)
    for seconds, done in ((1.0, 100), (1.9, 190), (2.1, 210), (2.15, 215), (4.0, 400)):
        now = 100.0 + seconds
        line.update(done)
    text = stream.getvalue()
    assert "210 of 1,000 texts, 100 a second" in text
    assert "400 of 1,000 texts" in text
    assert "190" not in text
    assert "215" not in text
    line.close()
    assert stream.getvalue().endswith(" \r")
    quiet = io.StringIO()
    ProgressLine("texts", None, None, quiet).update(5)
    assert quiet.getvalue() == ""


def test_a_line_without_a_total_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PATIENCE", -1.0)
    stream = io.StringIO()
    ProgressLine("rows", None, True, stream).update(1234)
    assert "1,234 rows" in stream.getvalue()
