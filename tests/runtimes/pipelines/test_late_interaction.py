"""What late interaction reads of texts, and what the graph is asked, without a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runtimes import VOCABULARY, RuleRuntime, tiny_config

from bert_onnx.errors import InputError, TokenizerError
from bert_onnx.late_interaction import LateInteraction
from bert_onnx.tokenization import load_tokenizer
from runtimes.loading import make_pipeline
from runtimes.pipelines.base import PipelineParts

Q, D = "[Q]", "[D]"
WORDS = [*VOCABULARY, Q, D]
START, END, MASK = (WORDS.index(f"[{name}]") for name in ("CLS", "SEP", "MASK"))
A, B, C = (WORDS.index(letter) for letter in "abc")


def by_place(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A vector for each token: its id and its place."""
    ids = inputs["input_ids"]
    places = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    return {"token_embeddings": np.stack([ids, places, places * 0, places * 0], axis=-1).astype(np.float32)}


def pipeline(folder: Path, **settings: Any) -> Any:
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    stated = {"query_prefix": Q, "document_prefix": D, "query_length": 8, "document_length": 7, "skiplist_words": ["b"]}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({**stated, **settings}))
    config = tiny_config(vocab_size=len(WORDS))
    runtime = RuleRuntime("late-interaction", config, by_place)
    return make_pipeline(PipelineParts("late-interaction", runtime, load_tokenizer(folder), config, 12, folder=folder))


def asked(model: Any) -> tuple[list[list[int]], list[list[int]]]:
    """Ids and mask of the last call."""
    call = model.runtime.calls[-1]
    return call["input_ids"].tolist(), call["attention_mask"].tolist()


@pytest.mark.parametrize("attends", [False, True])
def test_queries_are_filled_up_and_all_of_it_counts(attends: bool, tmp_path: Path) -> None:
    model = pipeline(tmp_path, attend_to_expansion_tokens=attends)
    (vectors,) = model.encode_query("a b")
    ids = [START, WORDS.index(Q), A, B, END, MASK, MASK, MASK]
    assert asked(model) == ([ids], [[1] * 5 + [int(attends)] * 3])
    assert vectors[:, 0].tolist() == ids
    assert model(["a b"], is_query=True)[0].tokens[5:] == ("[MASK]",) * 3


def test_queries_without_expansion_are_padded_and_the_padding_does_not_count(tmp_path: Path) -> None:
    model = pipeline(tmp_path, do_query_expansion=False, attend_to_expansion_tokens=True)
    long, short = model.encode_query(["a b c", "a"])
    assert (len(long), len(short)) == (6, 4)
    assert asked(model)[1] == [[1] * 6, [1] * 4 + [0] * 2]


def test_documents_are_cut_and_lack_skipped_words(tmp_path: Path) -> None:
    model = pipeline(tmp_path)
    first, second = model([" a b c ", "a b c a b c"])
    assert first.tokens == ("[CLS]", D, "a", "c", "[SEP]")
    assert second.tokens == ("[CLS]", D, "a", "c", "a", "[SEP]")
    assert (first.truncated, second.truncated) == (False, True)
    assert second.vectors[:, 1].tolist() == [0, 1, 2, 4, 5, 6]  # places of what is kept


def test_no_marker_where_it_is_empty(tmp_path: Path) -> None:
    model = pipeline(tmp_path, document_prefix="", document_length=99)
    (vectors,) = model.encode_document(["a " * 40])
    assert vectors[:, 0].tolist() == [START, *[A] * 10, END]  # as long as the model's positions
    assert model.settings == LateInteraction(Q, "", 8, 99, skiplist_words=("b",))


def test_wrong_texts_and_markers(tmp_path: Path) -> None:
    model = pipeline(tmp_path)
    for wrong in (None, 3, {"a": 1}, b"a"):
        for method in (model.encode_query, model.encode_document, model):
            with pytest.raises(InputError, match="a text is a string"):
                method(wrong)
        with pytest.raises(InputError, match="the query is a"):
            model.rank(wrong, ["a"])
    assert model.rank("a", []) == []
    with pytest.raises(TokenizerError, match=r"the marker '\[X\]' is no token"):
        pipeline(tmp_path, query_prefix="[X]")
