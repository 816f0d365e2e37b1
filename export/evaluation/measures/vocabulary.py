"""Distributions over the vocabulary: masked tokens, and the token that comes next."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bert_onnx.errors import TokenizerError
from export.evaluation.examples import Example
from export.evaluation.metrics import agreement, top_overlap
from export.evaluation.subject import BATCH_SIZE, Row, Subject
from runtimes.engines.base import Runtime
from runtimes.pipelines.encoding import Window
from runtimes.pipelines.scores import best

#: One token in so many is masked: 15%, as in BERT's training.
_MASKED_SHARE = 0.15
_GUESSES = 5

#: A row of logits takes V x 4 bytes a token, 120 kB for 30,000 words.
_BATCH_SIZE = min(8, BATCH_SIZE)


class MaskMeasure:
    """The five likeliest tokens at every masked place.

    Places are drawn from a generator that the text itself seeds, so that the same texts are masked in the same places
    everywhere. Masks that a text already has are kept, and then no others are made. Figures: `top1_agreement`,
    `top5_agreement`.
    """

    def __init__(self, subject: Subject, examples: Sequence[Example]) -> None:
        mask = subject.tokenizer.mask_token_id
        if mask is None:
            raise TokenizerError("the tokenizer has no mask token; a model that fills masks needs one.")
        self._subject = subject
        self._output = subject.task.outputs[0][0]
        special = set(subject.tokenizer.all_special_ids)
        texts = [example.text for example in examples]
        masked = [
            _masked(window, text, mask, special) for window, text in zip(subject.encode(texts), texts, strict=True)
        ]
        self._windows = [window for window, places in masked if places]
        self._places = [places for _, places in masked if places]

    @property
    def count(self) -> int:
        return len(self._windows)

    def predict(self, runtime: Runtime) -> np.ndarray:
        """Ids of the likeliest tokens [M, 5], likeliest first; M masked places of all texts."""

        def finish(index: int, row: Row) -> np.ndarray:
            return np.stack([best(row[self._output][place], _GUESSES) for place in self._places[index]])

        return np.concatenate(self._subject.run(runtime, self._windows, [self._output], finish, batch_size=_BATCH_SIZE))

    def compare(self, expected: np.ndarray, found: np.ndarray) -> dict[str, float]:
        return {
            "top1_agreement": agreement(expected[:, 0], found[:, 0]),
            "top5_agreement": top_overlap(expected, found),
        }

    def score(self, predictions: np.ndarray) -> dict[str, float]:
        return {}


class NextTokenMeasure:
    """The likeliest token after every token of a text. Figure: `next_token_agreement`."""

    def __init__(self, subject: Subject, examples: Sequence[Example]) -> None:
        self._subject = subject
        self._windows = subject.encode([example.text for example in examples])

    @property
    def count(self) -> int:
        return len(self._windows)

    def predict(self, runtime: Runtime) -> np.ndarray:
        """Ids of the likeliest next tokens, those of all texts one after the other."""

        def finish(index: int, row: Row) -> np.ndarray:
            return np.asarray(row["logits"][: len(self._windows[index].ids)].argmax(axis=-1))

        return np.concatenate(self._subject.run(runtime, self._windows, ["logits"], finish, batch_size=_BATCH_SIZE))

    def compare(self, expected: np.ndarray, found: np.ndarray) -> dict[str, float]:
        return {"next_token_agreement": agreement(expected, found)}

    def score(self, predictions: np.ndarray) -> dict[str, float]:
        return {}


def _masked(window: Window, text: str, mask: int, special: set[int]) -> tuple[Window, list[int]]:
    """The row with masks, and their places; none where there is nothing to mask."""
    places = [place for place, token in enumerate(window.ids) if token == mask]
    if places:
        return window, places
    free = [place for place, token in enumerate(window.ids) if token not in special]
    if not free:
        return window, []
    count = max(1, round(_MASKED_SHARE * len(free)))
    chosen = np.random.default_rng(zlib.crc32(text.encode())).choice(len(free), count, replace=False)
    places = sorted(free[i] for i in chosen)
    ids = [mask if place in places else token for place, token in enumerate(window.ids)]
    return replace(window, ids=ids), places
