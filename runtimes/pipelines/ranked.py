"""Documents in the order of their scores for a query: what every pipeline that ranks returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bert_onnx.errors import InputError
from runtimes.pipelines.encoding import check_texts
from runtimes.pipelines.options import check_count
from runtimes.pipelines.results import Result
from runtimes.pipelines.scores import best


@dataclass(frozen=True)
class RankedDocument(Result):
    """A document among those that were ranked.

    Args:
        corpus_id: its index among the documents, as they were given.
        score: how well it fits the query; larger is better.
        text: the document; None where it was not asked for.
        truncated: the end of the query or of the document was not read.
    """

    corpus_id: int
    score: float
    text: str | None
    truncated: bool


def check_ranking(query: str, documents: Sequence[str]) -> list[str]:
    """`documents` as a list. Raises InputError: one of them, or `query`, is not a text."""
    if not isinstance(query, str):
        raise InputError(f"the query is a {type(query).__name__}; it must be a string.")
    return check_texts(documents, "document")


def rank_documents(
    scores: np.ndarray,
    documents: Sequence[str],
    truncated: Sequence[bool],
    top_k: int | None = None,
    return_documents: bool = False,
) -> list[RankedDocument]:
    """`documents` by their `scores` [N], highest first; equals stay in the order in which they were given.

    Args:
        truncated: for each document whether its end was not read.
        top_k: most documents to return; None for all.
        return_documents: with their texts.

    Raises:
        UsageError: `top_k` is not a whole number of at least 1.
    """
    count = len(documents) if top_k is None else check_count("top_k", top_k)
    return [
        RankedDocument(int(i), float(scores[i]), documents[i] if return_documents else None, bool(truncated[i]))
        for i in best(scores, count)
    ]
