"""Documents ranked for a query by a cross-encoder or by late interaction, for the routes of several APIs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from runtimes.pipelines.ranked import RankedDocument
from runtimes.server.exchange import Exchange
from runtimes.server.model import ServedModel
from runtimes.server.texts import cut_text
from runtimes.server.token_vectors import LATE, rank_tokens

TASKS = ("text-ranking", LATE)
WHAT = "ranks documents"


async def rank(
    exchange: Exchange, model: ServedModel, query: str, documents: Sequence[str], activation: str | None, truncate: bool
) -> list[RankedDocument]:
    """`documents`, the best first.

    Args:
        activation: what makes scores of logits, by its name in torch.nn; None for the model's own. The score of late
            interaction is MaxSim in any case.
        truncate: cut what is too long; else refuse it.

    Raises:
        UsageError: the model has several labels.
        InputError: a pair is too long and must not be cut.
        RefusalError: as `Exchange`.
    """

    if model.task == LATE:
        return await rank_tokens(exchange, model, query, documents, truncate)

    def call() -> list[RankedDocument]:
        first = cut_text(model.tokenizer, query, model.max_length)
        texts = [cut_text(model.tokenizer, text, model.max_length) for text in documents]
        found: list[RankedDocument] = model.pipeline.rank(first, texts, batch_size=len(texts), activation_fn=activation)
        return found

    exchange.check_inputs(documents, query=len(query))
    # Each pair has the query's tokens, too.
    ranked = await exchange.run(model, [query + " " + document for document in documents], call)
    by_document = sorted(ranked, key=lambda one: one.corpus_id)
    exchange.note_cuts(model, [one.truncated for one in by_document], truncate)
    return [replace(one, text=documents[one.corpus_id]) for one in ranked]
