"""MaxSim: how well documents fit queries, both of them given as vectors of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bert_onnx.errors import InputError

#: Tokens of documents that are compared at once.
_BLOCK = 1 << 14


def max_sim(queries: Sequence[np.ndarray], documents: Sequence[np.ndarray]) -> np.ndarray:
    """For each query and document the sum, over the tokens of the query, of the largest dot product with a token of the
    document (Khattab and Zaharia 2020), float32 [N, M].

    Args:
        queries, documents: vectors of tokens [S, E], of any lengths.

    Raises:
        InputError: something among them is not a matrix of vectors of that size, or has no token.
    """
    _check([*queries, *documents])
    scores = np.empty((len(queries), len(documents)), np.float32)
    for first, block in _blocks(documents):
        starts = np.cumsum([0, *(len(document) for document in block[:-1])])
        tokens = np.concatenate(block)  # [T, E]
        for row, query in enumerate(queries):
            best = np.maximum.reduceat(query @ tokens.T, starts, axis=1)  # [S, M]
            scores[row, first : first + len(block)] = best.sum(axis=0)
    return scores


def _blocks(documents: Sequence[np.ndarray]) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Runs of documents with about `_BLOCK` tokens, and the place of the first of each."""
    block: list[np.ndarray] = []
    first = tokens = 0
    for place, document in enumerate(documents):
        if block and tokens + len(document) > _BLOCK:
            yield first, block
            first, block, tokens = place, [], 0
        block.append(document)
        tokens += len(document)
    if block:
        yield first, block


def _check(texts: Sequence[np.ndarray]) -> None:
    widths = {text.shape[1] if text.ndim == 2 else None for text in texts}
    if len(widths) > 1 or None in widths:
        raise InputError("late interaction compares vectors of tokens: a matrix [S, E] for each text, of one width E.")
    if not all(map(len, texts)):
        raise InputError("a text without any token cannot be compared.")
