"""text-classification: labels with scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from runtimes.pipelines.base import TokenizingPipeline
from runtimes.pipelines.batches import Row
from runtimes.pipelines.encoding import Window, read_pairs
from runtimes.pipelines.options import check_count
from runtimes.pipelines.results import Result
from runtimes.pipelines.scores import best, sigmoid, softmax


@dataclass(frozen=True)
class Label(Result):
    """One label and its score."""

    label: str
    score: float


@dataclass(frozen=True)
class Classification(Result):
    """The labels of a text, highest score first; `truncated` where the end of the text was not read."""

    labels: tuple[Label, ...]
    truncated: bool

    @property
    def best(self) -> Label:
        """The label with the highest score."""
        return self.labels[0]


class TextClassification(TokenizingPipeline):
    """Scores are probabilities: softmax where one label is right, sigmoid where several may be or there is only one.

    A regression model's score is the number that it predicts.
    """

    def __call__(
        self,
        texts: str | Mapping[str, str] | Sequence[str | Mapping[str, str]],
        pairs: str | Sequence[str] | None = None,
        top_k: int | None = None,
        batch_size: int = 32,
    ) -> list[Classification]:
        """The labels of each text (or pair), in their order.

        Args:
            texts: what to classify: texts, or mappings of `text` and `text_pair`.
            pairs: the second text of each, for models of pairs; a single one goes with every text.
            top_k: most labels a text; None for all.
            batch_size: texts that are run together.

        Raises:
            InputError: something among the texts is not a text.
        """
        if top_k is not None:
            check_count("top_k", top_k)
        windows = self._encode(*read_pairs(texts, pairs, "pair"))

        def finish(window: Window, row: Row) -> Classification:
            scores = label_scores(row["logits"], self.config.problem_type)
            return ranked_labels(scores, self.config.id2label, top_k, window.truncated)

        return self._run(windows, ["logits"], batch_size, finish)


def label_scores(logits: np.ndarray, problem: str | None) -> np.ndarray:
    """The scores in `logits` [N] for a config's `problem_type`."""
    if problem == "regression":
        return logits
    if problem == "multi_label_classification" or len(logits) == 1:
        return sigmoid(logits)
    return softmax(logits)


def ranked_labels(scores: np.ndarray, names: Mapping[int, str], top_k: int | None, truncated: bool) -> Classification:
    """The `top_k` labels with the highest of `scores` [N]; all of them for None."""
    chosen = best(scores, len(scores) if top_k is None else top_k)
    return Classification(tuple(Label(names[int(i)], float(scores[i])) for i in chosen), truncated)
