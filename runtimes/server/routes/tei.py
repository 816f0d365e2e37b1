"""text-embeddings-inference's /predict, /rerank and /info. With several models, `model` chooses; else it is the first
for the route's task."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from starlette.responses import Response

from runtimes.server.answers import json_answer
from runtimes.server.exchange import Exchange
from runtimes.server.inputs import any_of, several
from runtimes.server.ranks import TASKS as RANKING
from runtimes.server.ranks import WHAT as RANKS
from runtimes.server.ranks import rank
from runtimes.server.refusals import BadRequestError
from runtimes.server.texts import cut_text

_CLASSIFYING = ("text-classification", "text-ranking")
_TEXT = {"type": "string"}
_ROW = {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 2}


class Common(msgspec.Struct, kw_only=True):
    """What all bodies have."""

    model: str | None = None
    truncate: bool = True
    truncation_direction: Literal["Right", "Left", "right", "left"] | None = None

    @property
    def side(self) -> str | None:
        """Where long texts are cut; None for the tokenizer's own side."""
        return self.truncation_direction.lower() if self.truncation_direction else None


class PredictRequest(Common):
    """The body of /predict: a text, a pair of two texts, or a list of lists of one or two texts."""

    inputs: Annotated[Any, any_of(_TEXT, _ROW, several(_ROW))]
    raw_scores: bool = False


async def predict(exchange: Exchange) -> Response:
    """POST /predict: labels, the best first."""
    body = await exchange.options(PredictRequest)
    model = await exchange.choose(body.model, _CLASSIFYING, "classifies texts")
    alone, rows = _read_rows(body.inputs)

    def call() -> Any:
        cut = [[cut_text(model.tokenizer, text, model.max_length) for text in row] for row in rows]
        texts = [dict(zip(("text", "text_pair"), row, strict=False)) for row in cut]
        return model.pipeline(texts, function_to_apply="none" if body.raw_scores else None, batch_size=len(texts))

    found = await exchange.run(model, [" ".join(row) for row in rows], call)
    exchange.note_cuts(model, [one.truncated for one in found], body.truncate)
    labels = [[{"score": label.score, "label": label.label} for label in one.labels] for one in found]
    return json_answer(labels[0] if alone else labels)


def _read_rows(given: Any) -> tuple[bool, list[list[str]]]:
    """Whether it is one text or pair alone, and lists of one or two texts. Raises BadRequestError."""
    rows: Any = [[given]] if isinstance(given, str) else given
    alone = isinstance(given, str) or (isinstance(given, list) and bool(given) and isinstance(given[0], str))
    if alone and not isinstance(given, str):
        rows = [given]
    if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
        raise BadRequestError("inputs must be a text, a pair of texts, or a list of lists of one or two texts.")
    return alone, rows


def _is_row(row: Any) -> bool:
    return isinstance(row, list) and len(row) in (1, 2) and all(isinstance(text, str) for text in row)


class RerankRequest(Common):
    """The body of /rerank."""

    query: str
    texts: list[str]
    raw_scores: bool = False
    return_text: bool = False


async def rerank(exchange: Exchange) -> Response:
    """POST /rerank: scores are sigmoids of logits, or the logits themselves."""
    body = await exchange.options(RerankRequest)
    model = await exchange.choose(body.model, RANKING, RANKS)
    activation = "Identity" if body.raw_scores else "Sigmoid"
    ranked = await rank(exchange, model, body.query, body.texts, activation, body.truncate)
    return json_answer(
        [
            {"index": one.corpus_id, "score": one.score, **({"text": one.text} if body.return_text else {})}
            for one in ranked
        ]
    )


async def info(exchange: Exchange) -> Response:
    """GET /info: the first model, and the limits."""
    served = await exchange.service.model(next(iter(exchange.service.cards)))
    limits = exchange.service.settings.limits
    config = served.pipeline.config
    labels = {str(index): label for index, label in config.id2label.items()}
    classifier = {"id2label": labels, "label2id": {label: index for index, label in config.id2label.items()}}
    kinds = {
        "sentence-similarity": {"embedding": {}},
        "text-classification": {"classifier": classifier},
        "text-ranking": {"reranker": classifier},
    }
    return json_answer(
        {
            "model_id": served.name,
            "model_dtype": served.description.precision,
            "model_type": kinds.get(served.task, {served.task: {}}),
            "max_input_length": served.max_length,
            "max_batch_tokens": served.lane.queue.budget.tokens,
            "max_client_batch_size": limits.items,
            "auto_truncate": True,
            "version": exchange.service.version,
        }
    )
