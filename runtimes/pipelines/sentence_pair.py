"""next-sentence-prediction: does the second text follow the first?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bert_onnx.errors import InputError
from runtimes.pipelines.base import TokenizingPipeline
from runtimes.pipelines.encoding import check_pairs, check_texts
from runtimes.pipelines.results import Result
from runtimes.pipelines.scores import softmax


@dataclass(frozen=True)
class NextSentence(Result):
    """Whether the second text follows the first; `score` is the probability that it does."""

    is_next: bool
    score: float
    truncated: bool


def next_sentence(logits: np.ndarray, truncated: bool) -> NextSentence:
    """The prediction in `logits` [2]: class 0 is "follows", class 1 "random"."""
    score = float(softmax(logits)[0])
    return NextSentence(bool(logits[0] >= logits[1]), score, truncated)


class NextSentencePrediction(TokenizingPipeline):
    """Judges pairs of texts."""

    def __call__(
        self, texts: str | Sequence[str], pairs: str | Sequence[str] | None, batch_size: int = 32
    ) -> list[NextSentence]:
        """A prediction for each pair, in their order.

        Raises:
            InputError: there is no second text, or not one for each.
        """
        first = check_texts(texts)
        second = check_pairs(first, pairs, "next sentence")
        if second is None:
            raise InputError("next-sentence-prediction needs a second text for each; give pairs (--pair).")
        return self._run(
            self._encode(first, second),
            ["logits"],
            batch_size,
            lambda window, row: next_sentence(row["logits"], window.truncated),
        )
