"""Vectors of tokens for a request: of late interaction, where queries and documents differ, and of plain encoders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bert_onnx.sentence_modules import TOKENS
from runtimes.pipelines.encoding import Window
from runtimes.pipelines.max_sim import max_sim
from runtimes.pipelines.ranked import RankedDocument, rank_documents
from runtimes.server.batching.work import Group, Work
from runtimes.server.exchange import Exchange
from runtimes.server.model import ServedModel
from runtimes.server.texts import Input, token_windows
from runtimes.server.vectors import Choices, check_not_zero, read

LATE = "late-interaction"
TASKS = (LATE, "feature-extraction", "sentence-similarity")
WHAT = "gives vectors of tokens"
_HIDDEN = "last_hidden_state"


async def embed_tokens(
    exchange: Exchange, model: ServedModel, inputs: Sequence[Input], choices: Choices, is_query: bool
) -> list[np.ndarray]:
    """[S, E] for each of `inputs`; of late interaction those that count in MaxSim.

    Args:
        is_query: read them as queries rather than documents, which differ in late interaction alone.

    Raises:
        InferenceError: a vector is zero, or the graph failed.
        Exception: as `read`.
    """
    if model.task != LATE:
        work = await read(exchange, model, inputs, choices, _HIDDEN)
        return [result[_HIDDEN][: row.length] for row, result in zip(work.rows, work.results, strict=True)]
    exchange.check_inputs(inputs)
    work, windows = await _read_sides(exchange, model, [(is_query, choices.prompt, inputs)], choices.truncate)
    return _counting(model, work, windows, [is_query] * len(inputs))


async def rank_tokens(
    exchange: Exchange, model: ServedModel, query: str, documents: Sequence[str], truncate: bool
) -> list[RankedDocument]:
    """`documents` by their MaxSim with `query`, the best first. Raises as `embed_tokens`."""
    exchange.check_inputs(documents, query=len(query))
    sentence = model.sentence
    sides = [(True, sentence.resolve(None, None), [query]), (False, sentence.default_prompt, documents)]
    work, windows = await _read_sides(exchange, model, sides, truncate)
    cut, *cuts = work.truncated

    def score() -> np.ndarray:
        asked, *found = _counting(model, work, windows, [True] + [False] * len(documents))
        return max_sim([asked], found)[0]

    scores = await exchange.service.aside(score)
    return rank_documents(scores, documents, [cut or one for one in cuts], return_documents=True)


async def _read_sides(
    exchange: Exchange, model: ServedModel, sides: Sequence[tuple[bool, str, Sequence[Input]]], truncate: bool
) -> tuple[Work, list[Window]]:
    """Texts of late interaction: for each side whether it is a query, its prompt and its texts."""
    ticket = exchange.ticket(model, [one for _, _, own in sides for one in own])
    windows: list[Window] = []

    def prepare() -> tuple[Group, list[Window]]:
        for is_query, prompt, own in sides:
            windows.extend(token_windows(model.pipeline, own, prompt, is_query, truncate))
        model.check_answer((TOKENS,), [len(window.ids) for window in windows])
        return Group((TOKENS,)), windows

    work = await exchange.attend(model, ticket, exchange.service.rows(model, ticket, prepare))
    exchange.note_cuts(model, work.truncated)
    return work, windows


def _counting(
    model: ServedModel, work: Work, windows: Sequence[Window], are_queries: Sequence[bool]
) -> list[np.ndarray]:
    """The vectors [S, E] of each row that count. Raises InferenceError: one is zero."""
    found = []
    for window, result, is_query in zip(windows, work.results, are_queries, strict=True):
        vectors: np.ndarray = model.pipeline.finish(window, result[TOKENS], is_query).vectors
        check_not_zero(vectors)
        found.append(vectors)
    return found
