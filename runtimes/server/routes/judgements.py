"""Our own routes for judgements about pairs of texts: next sentence, choices, labels that a caller names."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from runtimes.pipelines.zero_shot import TEMPLATE
from runtimes.server.exchange import Exchange
from runtimes.server.refusals import BadRequestError
from runtimes.server.routes.tasks import OneRead, Texts, cut_texts, one_or_all


class Pair(msgspec.Struct):
    """Two texts."""

    text: str
    text_pair: str


class NextSentenceRequest(OneRead):
    """The body of /next-sentence."""

    inputs: Pair | list[Pair]


async def next_sentence(exchange: Exchange) -> Response:
    """POST /next-sentence: does the second text follow the first? `score` is the probability that it does."""
    body = await exchange.options(NextSentenceRequest)
    model = await exchange.choose(body.model, ("next-sentence-prediction",), "judges next sentences")
    pairs = body.inputs if isinstance(body.inputs, list) else [body.inputs]

    def call() -> Any:
        first, second = [one.text for one in pairs], [one.text_pair for one in pairs]
        return model.pipeline(cut_texts(model, first), cut_texts(model, second), batch_size=len(pairs))

    found = await exchange.run(model, [one.text + " " + one.text_pair for one in pairs], call)
    exchange.note_cuts(model, [one.truncated for one in found], body.truncate)
    return one_or_all(body.inputs, [one.to_dict() for one in found])


class Choosing(msgspec.Struct):
    """A text, and what may follow it."""

    text: str
    choices: list[str]


class ChoicesRequest(OneRead):
    """The body of /choices."""

    inputs: Choosing | list[Choosing]


async def choices(exchange: Exchange) -> Response:
    """POST /choices: which choice fits best, and the probability of each."""
    body = await exchange.options(ChoicesRequest)
    model = await exchange.choose(body.model, ("multiple-choice",), "chooses")
    asked = body.inputs if isinstance(body.inputs, list) else [body.inputs]

    sizes = [len(one.text) * len(one.choices) + sum(map(len, one.choices)) for one in asked]
    exchange.check_size(sum(len(one.choices) for one in asked), sum(sizes))

    def call() -> Any:
        texts = cut_texts(model, [one.text for one in asked])
        return model.pipeline(texts, [cut_texts(model, one.choices) for one in asked], batch_size=len(asked))

    found = await exchange.run(model, [f"{one.text} {choice}" for one in asked for choice in one.choices], call)
    exchange.note_cuts(model, [one.truncated for one in found], body.truncate)
    whole = [{**one.to_dict(), "choice": own.choices[one.index]} for own, one in zip(asked, found, strict=True)]
    return one_or_all(body.inputs, whole)


class ZeroShotRequest(Texts):
    """The body of /zero-shot; for the fields see `ZeroShotClassification`."""

    candidate_labels: str | list[str]
    hypothesis_template: str = TEMPLATE
    multi_label: bool = False


async def zero_shot(exchange: Exchange) -> Response:
    """POST /zero-shot: how well each label fits each text, best first; for a model of natural language inference."""
    body = await exchange.options(ZeroShotRequest)
    model = await exchange.choose(body.model, ("text-classification",), "classifies texts")
    template = body.hypothesis_template
    if template.count("{}") != 1 or template.count("{") + template.count("}") != 2:
        raise BadRequestError("hypothesis_template needs one {} where the label is to stand, and no other braces.")
    labels = body.candidate_labels
    labels = [part.strip() for part in labels.split(",") if part.strip()] if isinstance(labels, str) else labels
    characters = [sum(map(len, body.texts)), sum(len(label) + len(template) for label in labels)]
    exchange.check_size(len(body.texts) * len(labels), characters[0] * len(labels) + characters[1] * len(body.texts))
    rows = [f"{text} {template.format(label)}" for text in body.texts for label in labels]

    def call() -> Any:
        texts = cut_texts(model, body.texts)
        return model.pipeline.zero_shot(texts, labels, template, body.multi_label, batch_size=len(rows))

    found = await exchange.run(model, rows, call)
    exchange.note_cuts(model, [one.truncated for one in found], body.truncate)
    whole = [{**one.to_dict(), "sequence": text} for text, one in zip(body.texts, found, strict=True)]
    return one_or_all(body.inputs, whole)
