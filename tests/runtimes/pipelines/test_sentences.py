"""Prompts, truncation and similarity of sentence embeddings, against sentence-transformers."""

from __future__ import annotations

import numpy as np
import pytest

from bert_onnx.errors import InputError, UsageError
from bert_onnx.sentence_settings import SIMILARITIES, SentenceSettings
from runtimes.pipelines.sentences import ChosenEmbedding, EmbeddingOptions
from runtimes.pipelines.similarity import similarity

SETTINGS = SentenceSettings({"query": "q: ", "passage": "p: "}, "passage")


def test_prompts_are_resolved_as_in_the_library() -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import BoW, Pooling

    theirs = SentenceTransformer(
        modules=[BoW(["a"]), Pooling(1)], device="cpu", prompts=SETTINGS.prompts, default_prompt_name="passage"
    )
    for name, prompt in ((None, None), ("query", None), ("document", None), ("query", "own: "), (None, "")):
        assert SETTINGS.resolve(name, prompt) == theirs._resolve_prompt(prompt, name)


def test_the_first_name_for_documents_counts() -> None:
    assert SETTINGS.document_name == "document"  # every model has it; it is empty here, as in the library
    assert SETTINGS.resolve(SETTINGS.document_name) == ""
    assert SentenceSettings({"document": "d: "}).resolve("document") == "d: "


@pytest.mark.parametrize("settings", [SETTINGS, SentenceSettings()])
def test_an_unknown_prompt_lists_those_that_there_are(settings: SentenceSettings) -> None:
    with pytest.raises(UsageError, match=r"no prompt 'corpus'; this model has query, document"):
        settings.resolve("corpus")
    with pytest.raises(UsageError, match="is a int; it must be a string"):
        settings.resolve(prompt=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -1, True, 1.5])
def test_a_length_that_is_none_is_refused(value: int) -> None:
    with pytest.raises(UsageError, match="truncate_dim"):
        EmbeddingOptions(truncate_dim=value)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("length", [None, 3, 99])
def test_vectors_are_cut_and_then_scaled(length: int | None, normalize: bool) -> None:
    import torch
    from sentence_transformers.util import truncate_embeddings

    vectors = np.random.default_rng(0).standard_normal((4, 7)).astype(np.float32)
    expected = torch.from_numpy(vectors)
    if length is not None:
        expected = truncate_embeddings(expected, length)
    if normalize:
        expected = torch.nn.functional.normalize(expected, dim=1)
    found = ChosenEmbedding("", length, normalize).finish(vectors)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-7)
    assert found.dtype == np.float32


@pytest.mark.parametrize("measure", SIMILARITIES)
def test_similarities_are_those_of_the_library(measure: str) -> None:
    from sentence_transformers.util import SimilarityFunction

    rng = np.random.default_rng(1)
    first, second = (rng.standard_normal((count, 5)).astype(np.float32) for count in (3, 4))
    first[1] = 0
    theirs = SimilarityFunction.to_similarity_fn(measure)
    np.testing.assert_allclose(similarity(first, second, measure), theirs(first, second).numpy(), atol=2e-6)
    np.testing.assert_allclose(similarity(first[0], second, measure), theirs(first[0], second).numpy(), atol=2e-6)
    assert similarity(first[:0], second, measure).shape == (0, 4)


@pytest.mark.parametrize(
    ("first", "second"), [(np.ones((2, 3)), np.ones((2, 4))), (np.ones((1, 2, 3)), np.ones((2, 3)))]
)
def test_vectors_that_cannot_be_compared(first: np.ndarray, second: np.ndarray) -> None:
    with pytest.raises(InputError, match="cannot be compared"):
        similarity(first, second, "cosine")
