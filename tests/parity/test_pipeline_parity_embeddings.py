"""Sentence embeddings against transformers with pooling written out, and against sentence-transformers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pipeline_models import MAX_LENGTH, open_artifact, reference_tokenizer, save_checkpoint, tiny_model

pytestmark = pytest.mark.slow

TOLERANCE = 1e-5
TEXTS = [
    "A man is eating food.",
    "",
    "The girl is carrying a baby, isn't she?",
    "Ünïcödé naïve café — 東京 🙂",
    "a",
    "word " * 200,
    "Two men pushed carts through the woods. " * 3,
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tiny_model("BertModel"), tmp_path_factory.mktemp("embeddings") / "checkpoint")


@pytest.fixture(scope="module")
def ours(checkpoint: Path) -> Iterator[Any]:
    with open_artifact("sentence-similarity", checkpoint, checkpoint.parent / "artifact") as pipeline:
        yield pipeline


def test_the_mean_over_real_tokens_with_length_one(ours: Any) -> None:
    model = tiny_model("BertModel")
    inputs = reference_tokenizer()(TEXTS, padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
    with torch.no_grad():
        states = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"][:, :, None]
    expected = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1))
    np.testing.assert_allclose(ours.embed(TEXTS, batch_size=3), expected, atol=TOLERANCE)
    assert [embedding.truncated for embedding in ours(TEXTS)] == [text.startswith("word word") for text in TEXTS]


def test_a_vector_does_not_depend_on_its_batch(ours: Any) -> None:
    alone = np.stack([ours.embed(text)[0] for text in TEXTS])
    for batch_size in (1, 2, 7):
        np.testing.assert_allclose(ours.embed(TEXTS, batch_size=batch_size), alone, atol=1e-6)


def test_sentence_transformers_agrees(ours: Any, checkpoint: Path) -> None:
    library = pytest.importorskip("sentence_transformers", reason="the bench extra has it")
    modules = pytest.importorskip("sentence_transformers.models")
    reader = modules.Transformer(str(checkpoint), max_seq_length=MAX_LENGTH)
    pooling = modules.Pooling(32, pooling_mode="mean")
    theirs = library.SentenceTransformer(modules=[reader, pooling, modules.Normalize()], device="cpu")
    np.testing.assert_allclose(ours.embed(TEXTS), theirs.encode(TEXTS), atol=TOLERANCE)
