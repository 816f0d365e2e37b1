"""Token classification: is the label of every token the same?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from export.evaluation.examples import Example
from export.evaluation.label_names import label_index
from export.evaluation.metrics import agreement, kl_divergence
from export.evaluation.subject import Row, Subject
from runtimes.engines.base import Runtime
from runtimes.pipelines.encoding import Window, encode_spans

#: The label of tokens that are of no interest.
_OUTSIDE = "O"


class TokenMeasure:
    """Logits of every token that stands for text.

    Figures: `label_agreement`, `kl_mean`. Where the words and their labels are known: `token_f1` (micro-averaged over
    all labels but O, a word taking the label of its first token) and `accuracy` of all words.
    """

    def __init__(self, subject: Subject, examples: Sequence[Example]) -> None:
        self._subject = subject
        self._config = subject.config
        texts = [" ".join(e.words) if e.words is not None and e.tags is not None else e.text for e in examples]
        self._windows = encode_spans(subject.tokenizer, texts, None, subject.max_length, None)
        self._gold: dict[int, dict[int, int]] = {}  # window -> token -> class of the word that it begins
        for index, example in enumerate(examples):
            if example.words is not None and example.tags is not None:
                self._gold[index] = self._tags_of_tokens(self._windows[index], example)

    @property
    def count(self) -> int:
        return len(self._windows)

    def predict(self, runtime: Runtime) -> list[np.ndarray]:
        """Logits of the tokens of each text, special ones included, [S, C]."""

        def finish(index: int, row: Row) -> np.ndarray:
            return row["logits"][: len(self._windows[index].ids)].copy()

        return self._subject.run(runtime, self._windows, ["logits"], finish)

    def compare(self, expected: list[np.ndarray], found: list[np.ndarray]) -> dict[str, float]:
        real = [np.array(window.special) == 0 for window in self._windows]
        first, second = (
            np.concatenate([logits[mask] for logits, mask in zip(predictions, real, strict=True)])
            for predictions in (expected, found)
        )
        return {
            "label_agreement": agreement(first.argmax(axis=1), second.argmax(axis=1)),
            "kl_mean": float(kl_divergence(first, second).mean()),
        }

    def score(self, predictions: list[np.ndarray]) -> dict[str, float]:
        pairs = [
            (int(predictions[index][token].argmax()), gold)
            for index, tokens in self._gold.items()
            for token, gold in tokens.items()
        ]
        if not pairs:
            return {}
        found, gold = np.array(pairs).T
        outside = [index for index, name in self._config.id2label.items() if name == _OUTSIDE]
        named, meant = ~np.isin(found, outside), ~np.isin(gold, outside)
        right = int(((found == gold) & meant).sum())
        total = int(named.sum() + meant.sum())
        return {"token_f1": 2 * right / total if total else 1.0, "accuracy": agreement(found, gold)}

    def _tags_of_tokens(self, window: Window, example: Example) -> dict[int, int]:
        """The class of each word by the index of its first token; words that were cut are left out."""
        words, tags = example.words or (), example.tags or ()
        starts = [0, *accumulate(len(word) + 1 for word in words)]
        first: dict[int, int] = {}
        for token, (begin, end) in enumerate(window.offsets):
            if not window.special[token] and end > begin:
                first.setdefault(int(np.searchsorted(starts, begin, side="right")) - 1, token)
        return {token: label_index(tags[word], self._config, example.where) for word, token in first.items()}
