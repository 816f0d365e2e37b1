"""Embeddings for a request: the rows of its texts, and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bert_onnx.errors import InferenceError, UsageError
from bert_onnx.sentence_modules import SENTENCE, SPARSE
from bert_onnx.tasks import PROMPT_LENGTH
from runtimes.pipelines.encoding import Window, prompt_length
from runtimes.pipelines.sentences import ChosenEmbedding
from runtimes.server.batching.work import Group, Work
from runtimes.server.exchange import Exchange
from runtimes.server.model import ServedModel
from runtimes.server.texts import Input, windows_of

TASKS = ("sentence-similarity",)
WHAT = "makes embeddings"


@dataclass(frozen=True)
class Choices:
    """What a request chooses.

    Args:
        prompt: put before texts.
        dimensions: values to keep; None for as many as the model's settings say.
        normalize: scale to length 1; what was cut is scaled afterwards.
        truncate: cut what is too long; else refuse it.
        side: where it is cut, `right` or `left`; None for the tokenizer's own.
    """

    prompt: str = ""
    dimensions: int | None = None
    normalize: bool = False
    truncate: bool = True
    side: str | None = None


@dataclass(frozen=True)
class Embedded:
    """Vectors [N, E], and for each text whether it was cut and its tokens."""

    vectors: np.ndarray
    truncated: list[bool]
    tokens: list[int]


async def read(exchange: Exchange, model: ServedModel, inputs: Sequence[Input], choices: Choices, output: str) -> Work:
    """The rows of `inputs`, in their order, and what the graph gives as `output` for each.

    Raises:
        InputError: an id that there is not, or a text that is too long and must not be cut.
        RefusalError: as `Exchange`.
    """
    exchange.check_inputs(inputs)
    ticket = exchange.ticket(model, inputs)

    def prepare() -> tuple[Group, list[Window]]:
        tokenizer: Any = model.tokenizer.with_limits(truncation_side=choices.side)
        further: tuple[tuple[str, int], ...] = ()
        if model.takes(PROMPT_LENGTH):
            further = ((PROMPT_LENGTH, prompt_length(tokenizer, choices.prompt, model.max_length)),)
        windows = windows_of(tokenizer, inputs, choices.prompt, model.max_length, choices.truncate)
        if output != SPARSE:  # of which most is zero
            model.check_answer((output,), [len(window.ids) for window in windows])
        return Group((output,), further), windows

    work = await exchange.attend(model, ticket, exchange.service.rows(model, ticket, prepare))
    exchange.note_cuts(model, work.truncated)
    return work


async def embed(exchange: Exchange, model: ServedModel, inputs: Sequence[Input], choices: Choices) -> Embedded:
    """The vectors of `inputs`, in their order.

    Raises:
        UsageError: more dimensions than the model has.
        InferenceError: a vector is zero, or the graph failed.
        Exception: as `read`.
    """
    width = model.pipeline.width()
    if choices.dimensions is not None and not 1 <= choices.dimensions <= width:
        raise UsageError(f"dimensions is {choices.dimensions}; this model's vectors have 1 to {width}.")
    work = await read(exchange, model, inputs, choices, SENTENCE)
    kept = choices.dimensions or model.sentence.truncate_dim
    vectors = np.stack([result[SENTENCE] for result in work.results])
    check_not_zero(vectors)
    vectors = ChosenEmbedding(choices.prompt, kept, choices.normalize).finish(vectors)
    return Embedded(vectors, list(work.truncated), [row.length for row in work.rows])


def check_not_zero(vectors: np.ndarray) -> None:
    """Raises InferenceError: one of `vectors` [N, E] is."""
    if not np.abs(vectors).sum(axis=1).all():
        raise InferenceError("a vector is zero, which no text has.")
