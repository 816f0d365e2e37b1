"""Ranking: order, ties, how many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bert_onnx.errors import UsageError
from runtimes.pipelines.ranked import RankedDocument, rank_documents

SCORES = np.array([0.5, 2.0, -1.0, 2.0], np.float32)
DOCUMENTS = ["a", "b", "c", "d"]


def test_highest_first_and_equals_in_their_order() -> None:
    found = rank_documents(SCORES, DOCUMENTS, [False, True, False, False], return_documents=True)
    assert [(one.corpus_id, one.text) for one in found] == [(1, "b"), (3, "d"), (0, "a"), (2, "c")]
    assert [one.truncated for one in found] == [True, False, False, False]
    assert found[0].to_dict() == {"corpus_id": 1, "score": 2.0, "text": "b", "truncated": True}


def test_top_k_and_texts_that_nobody_asked_for() -> None:
    found = rank_documents(SCORES, DOCUMENTS, [False] * 4, top_k=2)
    assert found == [RankedDocument(1, 2.0, None, False), RankedDocument(3, 2.0, None, False)]
    assert len(rank_documents(SCORES, DOCUMENTS, [False] * 4, top_k=9)) == 4
    assert rank_documents(np.empty(0, np.float32), [], []) == []


@pytest.mark.parametrize("top_k", [0, -1, True, 1.5])
def test_top_k_must_be_a_count(top_k: Any) -> None:
    with pytest.raises(UsageError, match="top_k is"):
        rank_documents(SCORES, DOCUMENTS, [False] * 4, top_k=top_k)
