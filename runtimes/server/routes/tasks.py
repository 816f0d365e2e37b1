"""Routes for what the other APIs lack: masks, entities, answers, in the shapes of Hugging Face's inference API."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from runtimes.pipelines.entities import AGGREGATIONS, Entity
from runtimes.pipelines.fill_mask import FilledText
from runtimes.server.answers import json_answer
from runtimes.server.exchange import Exchange
from runtimes.server.inputs import Count
from runtimes.server.model import ServedModel
from runtimes.server.texts import cut_text


class OneRead(msgspec.Struct, kw_only=True):
    """What bodies have whose inputs are read once, and cut if need be."""

    model: str | None = None
    truncate: bool = True


class Texts(OneRead):
    """What bodies with texts have."""

    inputs: str | list[str]

    @property
    def texts(self) -> list[str]:
        """All of them."""
        return [self.inputs] if isinstance(self.inputs, str) else self.inputs


def one_or_all(inputs: Any, found: list[Any]) -> Response:
    """A list of what was found where `inputs` is one; else the one that there is."""
    return json_answer(found if isinstance(inputs, list) else found[0])


def cut_texts(model: ServedModel, texts: list[str]) -> list[str]:
    """`texts` without what the model cannot read of each; see `cut_text`."""
    return [cut_text(model.tokenizer, text, model.max_length) for text in texts]


class FillMaskRequest(Texts):
    """The body of /fill-mask."""

    top_k: Count = 5
    targets: list[str] | None = None


async def fill_mask(exchange: Exchange) -> Response:
    """POST /fill-mask: for one mask its likeliest tokens; for several, a list for each."""
    body = await exchange.options(FillMaskRequest)
    model = await exchange.choose(body.model, ("fill-mask",), "fills masks")

    def call() -> list[FilledText]:
        found: list[FilledText] = model.pipeline(cut_texts(model, body.texts), top_k=body.top_k, targets=body.targets)
        return found

    found = await exchange.run(model, body.texts, call)
    exchange.note_cuts(model, [one.truncated for one in found], body.truncate)
    masks = [[[guess.to_dict() for guess in mask] for mask in one.masks] for one in found]
    return one_or_all(body.inputs, [one[0] if len(one) == 1 else one for one in masks])


class EntitiesRequest(Texts):
    """The body of /entities; for the fields see `TokenClassification`."""

    aggregation_strategy: Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(AGGREGATIONS)})] = "simple"
    ignore_labels: list[str] = msgspec.field(default_factory=lambda: ["O"])
    stride: Annotated[int, msgspec.Meta(ge=0)] | None = None


async def entities(exchange: Exchange) -> Response:
    """POST /entities: the named parts of each text."""
    body = await exchange.options(EntitiesRequest)
    model = await exchange.choose(body.model, ("token-classification",), "finds entities")
    whole = body.stride is not None

    def call() -> Any:
        texts = body.texts if whole else cut_texts(model, body.texts)
        return model.pipeline(texts, body.aggregation_strategy, body.ignore_labels, body.stride)

    found = await exchange.run(model, body.texts, call, whole)
    exchange.note_cuts(model, [one.truncated for one in found], body.truncate)
    return one_or_all(body.inputs, [[_entity(entity) for entity in one.entities] for one in found])


def _entity(entity: Entity) -> dict[str, Any]:
    """Tokens have a label `entity`, joined ones an `entity_group`."""
    label = {"entity_group": entity.label} if entity.index is None else {"entity": entity.label, "index": entity.index}
    return {**label, "score": entity.score, "word": entity.word, "start": entity.start, "end": entity.end}


class Asked(msgspec.Struct):
    """A question, and where its answer is."""

    question: str
    context: str


class AnswersRequest(msgspec.Struct, kw_only=True):
    """The body of /answers; for the fields see `QuestionAnswering`."""

    inputs: Asked | list[Asked]
    model: str | None = None
    top_k: Count = 1
    max_answer_len: Count = 15
    max_seq_len: int | None = None
    doc_stride: Annotated[int, msgspec.Meta(ge=0)] | None = None
    handle_impossible_answer: bool = False
    align_to_words: bool = True


async def answers(exchange: Exchange) -> Response:
    """POST /answers: the best answer to each question, or a list of `top_k`. Long contexts are read in windows."""
    body = await exchange.options(AnswersRequest)
    model = await exchange.choose(body.model, ("question-answering",), "answers questions")
    asked = body.inputs if isinstance(body.inputs, list) else [body.inputs]

    def call() -> Any:
        return model.pipeline(
            [one.question for one in asked],
            [one.context for one in asked],
            top_k=body.top_k,
            max_answer_len=body.max_answer_len,
            handle_impossible_answer=body.handle_impossible_answer,
            max_seq_len=body.max_seq_len,
            doc_stride=body.doc_stride,
            align_to_words=body.align_to_words,
        )

    found = await exchange.run(model, [one.question + " " + one.context for one in asked], call, whole=True)
    written = [[answer.to_dict() for answer in one.answers] for one in found]
    chosen = [one[0] if body.top_k == 1 and one else one for one in written]
    return one_or_all(body.inputs, chosen)
