"""fill-mask and pretraining: the likeliest tokens for every [MASK], and whether a second text follows the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bert_onnx.errors import InputError, TokenizerError, UsageError
from runtimes.pipelines.base import PipelineParts, TokenizingPipeline
from runtimes.pipelines.batches import Row
from runtimes.pipelines.encoding import Window, check_texts, read_pairs
from runtimes.pipelines.options import check_count
from runtimes.pipelines.results import Result
from runtimes.pipelines.scores import best, softmax
from runtimes.pipelines.sentence_pair import NextSentence, next_sentence


@dataclass(frozen=True)
class TokenGuess(Result):
    """One token for a mask.

    Args:
        token: its id.
        token_str: the token as text.
        score: its probability.
        sequence: the text with the token in place of the mask; other masks stay.
    """

    token: int
    token_str: str
    score: float
    sequence: str


@dataclass(frozen=True)
class FilledText(Result):
    """For each mask of a text its likeliest tokens, best first; `truncated` where the end of the text was not read."""

    masks: tuple[tuple[TokenGuess, ...], ...]
    truncated: bool


@dataclass(frozen=True)
class PretrainingPrediction(Result):
    """What both heads say: for each mask its likeliest tokens, and, for a pair, whether the second text follows."""

    masks: tuple[tuple[TokenGuess, ...], ...]
    next_sentence: NextSentence | None
    truncated: bool


class _MaskPipeline(TokenizingPipeline):
    """Reads the logits of masked tokens."""

    def __init__(self, parts: PipelineParts) -> None:
        super().__init__(parts)
        if self.tokenizer.mask_token_id is None:
            raise TokenizerError("the tokenizer has no mask token; a model that fills masks needs one.")

    def _mask_positions(self, window: Window) -> list[int]:
        return [i for i, token in enumerate(window.ids) if token == self.tokenizer.mask_token_id]

    def _guesses(
        self, window: Window, logits: np.ndarray, top_k: int, targets: np.ndarray | None
    ) -> tuple[tuple[TokenGuess, ...], ...]:
        """For each mask of `window` the best of `targets`, or of all tokens. `logits` [S, V]."""
        positions = self._mask_positions(window)
        return tuple(self._guess(window, at, logits[at], top_k, targets, len(positions) == 1) for at in positions)

    def _guess(
        self, window: Window, at: int, logits: np.ndarray, top_k: int, targets: np.ndarray | None, single: bool
    ) -> tuple[TokenGuess, ...]:
        scores = softmax(logits)
        chosen = best(scores, top_k) if targets is None else targets[best(scores[targets], top_k)]
        guesses = []
        for token in (int(i) for i in chosen):
            ids = [*window.ids[:at], token, *window.ids[at + 1 :]]
            # Special tokens are left out, unless there are further masks: those are worth seeing.
            sequence = self.tokenizer.decode(ids, skip_special_tokens=single)
            guesses.append(TokenGuess(token, self.tokenizer.decode([token]), float(scores[token]), sequence))
        return tuple(guesses)

    def _target_ids(self, targets: Sequence[str] | None) -> np.ndarray | None:
        if targets is None:
            return None
        words = check_texts(targets, "target")
        ids = [self.tokenizer.convert_tokens_to_ids(word) for word in words]
        without = {None, self.tokenizer.unk_token_id, *self.tokenizer.unknown_to_model}
        unknown = [word for word, token in zip(words, ids, strict=True) if token in without]
        if unknown or not words:
            named = f"{unknown[0]!r} is not a token of this model" if unknown else "there are no targets"
            raise UsageError(f"{named}; each target must be one token of the vocabulary.")
        return np.array(list(dict.fromkeys(ids)), np.int64)


class FillMask(_MaskPipeline):
    """The likeliest tokens for every [MASK]."""

    def __call__(
        self,
        texts: str | Sequence[str],
        top_k: int = 5,
        targets: Sequence[str] | None = None,
        batch_size: int = 8,
    ) -> list[FilledText]:
        """The tokens for the masks of each text, in their order.

        Args:
            texts: each with at least one [MASK].
            top_k: most tokens a mask.
            targets: choose among these tokens only; probabilities stay those over the whole vocabulary.
            batch_size: texts that are run together; logits take S x V x 4 bytes a text.

        Raises:
            InputError: a text has no mask, or none before it is cut.
            UsageError: a target is not a token.
        """
        check_count("top_k", top_k)
        target_ids = self._target_ids(targets)
        windows = self._encode(check_texts(texts))
        for window in windows:
            if not self._mask_positions(window):
                where = f" in its first {len(window.ids)} tokens" if window.truncated else ""
                raise InputError(f"text {window.sample} has no {self.tokenizer.mask_token}{where}; put one in.")

        def finish(window: Window, row: Row) -> FilledText:
            return FilledText(self._guesses(window, row["logits"], top_k, target_ids), window.truncated)

        return self._run(windows, ["logits"], batch_size, finish)


class Pretraining(_MaskPipeline):
    """Both heads that BERT was trained with."""

    def __call__(
        self,
        texts: str | Sequence[str],
        pairs: str | Sequence[str] | None = None,
        top_k: int = 5,
        batch_size: int = 8,
    ) -> list[PretrainingPrediction]:
        """What both heads say of each text (or pair), in their order.

        Args:
            texts: with any number of masks.
            pairs: texts that may follow them.
            top_k: most tokens a mask.
            batch_size: texts that are run together; logits take S x V x 4 bytes a text.

        Raises:
            InputError: something among the texts is not a text.
        """
        check_count("top_k", top_k)
        first, second = read_pairs(texts, pairs, "pair")

        def finish(window: Window, row: Row) -> PretrainingPrediction:
            guesses = self._guesses(window, row["prediction_logits"], top_k, None)
            follows = None if second is None else next_sentence(row["seq_relationship_logits"], window.truncated)
            return PretrainingPrediction(guesses, follows, window.truncated)

        outputs = ["prediction_logits", "seq_relationship_logits"]
        return self._run(self._encode(first, second), outputs, batch_size, finish)
