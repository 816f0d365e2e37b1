"""Embeddings: do they point where the reference points, and are their neighbours the same?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bert_onnx.errors import InputError
from bert_onnx.sentence_modules import SPARSE, TOKENS
from export.evaluation.examples import Example
from export.evaluation.metrics import cosines, neighbour_agreement, pair_similarities, spearman
from export.evaluation.subject import BATCH_SIZE, Row, Subject
from runtimes.engines.base import Runtime
from runtimes.pipelines.max_sim import max_sim

#: Most vectors whose pairs are all compared: n (n - 1) / 2 similarities are sorted.
_MOST_PAIRED = 2048
#: Texts of a call where each token has logits of the whole vocabulary.
_SPARSE_ROWS = min(8, BATCH_SIZE)


class EmbeddingMeasure:
    """Embeddings, or the mean of the last hidden state where the graph returns none. Texts count once.

    Figures: `cosine_mean`, `cosine_min`, `neighbour_agreement` (among all texts), `spearman` (of the similarities of
    all pairs). With pairs and their similarities: `spearman_gold`.
    """

    def __init__(self, subject: Subject, examples: Sequence[Example]) -> None:
        self._subject = subject
        every = (text for example in examples for text in (example.text, example.pair) if text is not None)
        self._place = {text: index for index, text in enumerate(dict.fromkeys(every))}
        self._windows = subject.encode(list(self._place))
        self._gold = [(e.text, e.pair, _similarity(e)) for e in examples if e.pair is not None and e.label is not None]

    @property
    def count(self) -> int:
        return len(self._windows)

    def predict(self, runtime: Runtime) -> np.ndarray:
        """Vectors [N, D], one a text."""
        embedding = self._subject.task.embedding
        pooled = any(port.name == embedding for port in runtime.outputs)
        output = embedding if embedding is not None and pooled else "last_hidden_state"

        def finish(index: int, row: Row) -> np.ndarray:
            if pooled:
                return row[output]
            return np.asarray(row[output][: len(self._windows[index].ids)].mean(axis=0, dtype=np.float64))

        rows = _SPARSE_ROWS if output == SPARSE else BATCH_SIZE
        return np.stack(self._subject.run(runtime, self._windows, [output], finish, batch_size=rows))

    def compare(self, expected: np.ndarray, found: np.ndarray) -> dict[str, float]:
        similar = cosines(expected, found)
        figures = {"cosine_mean": float(similar.mean()), "cosine_min": float(similar.min())}
        if len(expected) > 1:
            figures["neighbour_agreement"] = neighbour_agreement(expected, found)
        if len(expected) > 2:
            pairs = (pair_similarities(vectors[:_MOST_PAIRED]) for vectors in (expected, found))
            figures["spearman"] = spearman(*pairs)
        return figures

    def score(self, predictions: np.ndarray) -> dict[str, float]:
        if len(self._gold) < 2:
            return {}
        first = predictions[[self._place[text] for text, _, _ in self._gold]]
        second = predictions[[self._place[pair] for _, pair, _ in self._gold if pair is not None]]
        return {"spearman_gold": spearman(cosines(first, second), np.array([gold for _, _, gold in self._gold]))}


class LateInteractionMeasure:
    """Vectors of the tokens of each text, special ones included.

    Figures: `cosine_mean` over all tokens, `cosine_min`, the smallest mean cosine of a text; `neighbour_agreement` and
    `spearman` (of the scores of all pairs) by MaxSim, each text as a query and as a document.
    """

    def __init__(self, subject: Subject, examples: Sequence[Example]) -> None:
        self._subject = subject
        every = (text for example in examples for text in (example.text, example.pair) if text is not None)
        self._windows = subject.encode(list(dict.fromkeys(every)))

    @property
    def count(self) -> int:
        return len(self._windows)

    def predict(self, runtime: Runtime) -> list[np.ndarray]:
        """Vectors [S, E] of each text."""

        def finish(index: int, row: Row) -> np.ndarray:
            return np.array(row[TOKENS][: len(self._windows[index].ids)])

        return self._subject.run(runtime, self._windows, [TOKENS], finish)

    def compare(self, expected: list[np.ndarray], found: list[np.ndarray]) -> dict[str, float]:
        similar = [cosines(*pair) for pair in zip(expected, found, strict=True)]
        figures = {
            "cosine_mean": float(np.concatenate(similar).mean()),
            "cosine_min": min(float(one.mean()) for one in similar),
        }
        scores = [max_sim(vectors, vectors) for vectors in (expected[:_MOST_PAIRED], found[:_MOST_PAIRED])]
        others = ~np.eye(len(scores[0]), dtype=bool)
        if len(expected) > 1:
            nearest = [np.where(others, score, -np.inf).argmax(axis=1) for score in scores]
            figures["neighbour_agreement"] = float((nearest[0] == nearest[1]).mean())
        if len(expected) > 2:
            figures["spearman"] = spearman(*(score[others] for score in scores))
        return figures

    def score(self, predictions: list[np.ndarray]) -> dict[str, float]:
        return {}


def _similarity(example: Example) -> float:
    try:
        return float(example.label)  # type: ignore[arg-type]  # None was left out
    except ValueError:
        raise InputError(f"{example.where}: the similarity {example.label!r} is not a number.") from None
