"""fill-mask and pretraining: the likeliest tokens for every [MASK], and whether a second text follows the first."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bert_onnx.errors import InputError, TokenizerError, UsageError
from runtimes.pipelines.base import PipelineParts, TokenizingPipeline
from runtimes.pipelines.batches import Row
from runtimes.pipelines.encoding import Window, check_texts, check_truncation, encode, read_pairs
from runtimes.pipelines.options import check_count
from runtimes.pipelines.results import Result
from runtimes.pipelines.scores import best, softmax
from runtimes.pipelines.sentence_pair import NextSentence, next_sentence

logger = logging.getLogger(__name__)

#: What fill-mask lets a caller choose about tokens; padding changes no result.
_TOKENIZER_OPTIONS = ("truncation", "max_length", "add_special_tokens", "padding")


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

    def _target_ids(self, targets: str | Sequence[str] | None) -> np.ndarray | None:
        """The token of each target, each once. Of a word that is no token its first piece stands for it.

        Raises:
            UsageError: nothing is left of the targets, or the model has no output for one.
        """
        if targets is None:
            return None
        ids = list(dict.fromkeys(token for word in check_texts(targets, "target") for token in self._target(word)))
        if not ids:
            raise UsageError("there are no targets, or none that has a token; give at least one word.")
        for token in ids:
            if token in self.tokenizer.unknown_to_model:
                name = self.tokenizer.convert_ids_to_tokens(token)
                raise UsageError(f"the model has no output for the target {name!r}; leave it out.")
        return np.array(ids, np.int64)

    def _target(self, word: str) -> list[int]:
        """The token `word`; else the first of its pieces, with a warning, or none."""
        token = self.tokenizer.convert_tokens_to_ids(word)
        if token is not None and (token != self.tokenizer.unk_token_id or word == self.tokenizer.unk_token):
            return [token]
        pieces = self.tokenizer.convert_tokens_to_ids(self.tokenizer.tokenize(word))[:1]
        stands = f"{self.tokenizer.convert_ids_to_tokens(pieces[0])!r} stands for it" if pieces else "it is left out"
        logger.warning("the target %r is not a token of this model; %s.", word, stands)
        return list(pieces)


class FillMask(_MaskPipeline):
    """The likeliest tokens for every [MASK]."""

    def __call__(
        self,
        texts: str | Sequence[str],
        top_k: int = 5,
        targets: str | Sequence[str] | None = None,
        batch_size: int = 8,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
    ) -> list[FilledText]:
        """The tokens for the masks of each text, in their order.

        Args:
            texts: each with at least one [MASK].
            top_k: most tokens a mask.
            targets: choose among these tokens only; probabilities stay those over the whole vocabulary. A word that is
                no token is taken for its first piece, with a warning.
            batch_size: texts that are run together; logits take S x V x 4 bytes a text.
            tokenizer_kwargs: `truncation` (True where it is not given), `max_length`, `add_special_tokens`.

        Raises:
            InputError: a text has no mask, or none before it is cut.
            UsageError: there are no targets, or an option does not exist.
        """
        check_count("top_k", top_k)
        target_ids = self._target_ids(targets)
        windows = self._read(check_texts(texts), tokenizer_kwargs or {})
        for window in windows:
            if not self._mask_positions(window):
                where = f" in its first {len(window.ids)} tokens" if window.truncated else ""
                raise InputError(f"text {window.sample} has no {self.tokenizer.mask_token}{where}; put one in.")

        def finish(window: Window, row: Row) -> FilledText:
            return FilledText(self._guesses(window, row["logits"], top_k, target_ids), window.truncated)

        return self._run(windows, ["logits"], batch_size, finish)

    def _read(self, texts: list[str], options: Mapping[str, Any]) -> list[Window]:
        unknown = options.keys() - _TOKENIZER_OPTIONS
        if unknown:
            raise UsageError(
                f"tokenizer_kwargs has {sorted(unknown)[0]!r}; it may have {', '.join(_TOKENIZER_OPTIONS)}."
            )
        longest = self.max_length
        if options.get("max_length") is not None:
            longest = min(longest, check_count("max_length", options["max_length"]))
        special, truncation = options.get("add_special_tokens", True), check_truncation(options.get("truncation", True))
        return encode(self.tokenizer, texts, None, longest, bool(special), truncation)


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
