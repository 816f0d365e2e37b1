"""The embedder of Arrow batches: same rows, same order, whatever the batches; rows without a text in their places."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_artifacts import CONFIG, VOCABULARY, publish_toy, table

from bert_onnx.errors import InputError, UsageError
from runtimes.embed_files.embedder import REASON, Embedder, EmbedderOptions, embed_batches
from runtimes.pipelines.batches import BatchOptions
from runtimes.selection.request import RuntimeRequest

arrow = pytest.importorskip("pyarrow")
WORDS = ("hello", "world", "good", "my", "night")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_toy(tmp_path_factory.mktemp("toy") / "artifact")


@pytest.fixture(scope="module")
def options(artifact: Path) -> EmbedderOptions:
    request = RuntimeRequest(runtime="onnxruntime-cpu", threads=1)
    return EmbedderOptions(artifact, runtime=request, batching=BatchOptions(piece=4))


@pytest.fixture(scope="module")
def embedder(options: EmbedderOptions) -> Embedder:
    return Embedder(options)


def vector(text: str) -> np.ndarray:
    return table()[[VOCABULARY.index(word) for word in ("[CLS]", *text.split(), "[SEP]")]].mean(axis=0)


def texts(count: int) -> list[str | None]:
    rows = [" ".join(WORDS[(index + k) % 5] for k in range(1 + index % 7)) for index in range(count)]
    return [None if index % 5 in (0, 4) else row for index, row in enumerate(rows)]


def batches(rows: list[str | None], size: int) -> Iterator[Any]:
    for start in range(0, len(rows), size):
        piece = rows[start : start + size]
        ids = arrow.array(range(start, start + len(piece)), arrow.int16())
        yield arrow.record_batch(
            {"id": ids, "text": arrow.array(piece, arrow.string()), "tags": [["a", None]] * len(piece)}
        )


def check(found: list[Any], rows: list[str | None]) -> None:
    got = [row for batch in found for row in batch.to_pylist()]
    assert [row["id"] for row in got] == list(range(len(rows)))
    assert [row["text"] for row in got] == rows
    for row, text in zip(got, rows, strict=True):
        assert row["tags"] == ["a", None]
        assert (row["embedding"] is None) == (text is None)
        assert row[REASON] == (None if text is not None else "its 'text' is empty, not text")
        if text is not None:
            np.testing.assert_allclose(row["embedding"], vector(text), rtol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 4, 17, 100])
def test_rows_stay_in_order_whatever_the_batches(embedder: Embedder, size: int) -> None:
    check(list(embedder.stream(batches(texts(23), size))), texts(23))


def test_a_function_for_spark_and_an_object_for_ray(options: EmbedderOptions, embedder: Embedder) -> None:
    rows = texts(9)
    for_spark = list(embed_batches(options)(batches(rows, 4)))
    check(for_spark, rows)
    assert for_spark[0].schema.field("embedding").type == arrow.list_(arrow.float32())  # it has none of a fixed length
    given = arrow.Table.from_batches(batches(rows, 4))
    found = pickle.loads(pickle.dumps(embedder))(given)
    assert found.schema == embedder.schema(given.schema)
    assert found.schema.field("id").type == arrow.int16()
    assert found.schema.field("embedding").type == arrow.list_(arrow.float32(), CONFIG.hidden_size)
    check(found.to_batches(), rows)
    assert embedder(given.slice(0, 0)).schema == found.schema


@pytest.mark.parametrize("rows", [[None, None, None], ["hello"], []])
def test_rows_without_any_text(embedder: Embedder, rows: list[str | None]) -> None:
    check(list(embedder.stream(batches(rows, 2))), rows)


def test_strings_of_every_kind(embedder: Embedder) -> None:
    values = arrow.array(["hello", "good night", None])
    for kind in (arrow.large_string(), arrow.string_view(), arrow.dictionary(arrow.int8(), arrow.string())):
        given = arrow.table({"text": values.cast(kind)})
        found = embedder(given)
        assert found["text"].type == kind
        np.testing.assert_allclose(found["embedding"][1].as_py(), vector("good night"), rtol=1e-5)


def test_text_that_is_not_unicode_is_a_broken_row(embedder: Embedder) -> None:
    binary = arrow.array([b"hello", b"\xff", None], arrow.binary())
    text = arrow.Array.from_buffers(arrow.string(), 3, binary.buffers())
    found = embedder(arrow.table({"text": text}))
    assert found[REASON].to_pylist() == [None, "its 'text' is not valid Unicode", "its 'text' is empty, not text"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"body": ["x"]}, "no column 'text'; there are body"),
        ({"text": [1]}, "'text' holds int64, not texts"),
        ({"text": ["x"], "embedding": [1]}, "a column 'embedding' already"),
    ],
)
def test_columns_that_do_not_fit(embedder: Embedder, columns: dict[str, list[Any]], words: str) -> None:
    with pytest.raises(InputError, match=words):
        list(embedder.stream(arrow.table(columns).to_batches()))


def test_an_option_of_other_tasks_is_refused(options: EmbedderOptions) -> None:
    with pytest.raises(UsageError, match="--queries is for late-interaction"):
        Embedder(EmbedderOptions(options.artifact, runtime=options.runtime, queries=True))
