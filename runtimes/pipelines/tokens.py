"""token-classification: entities with their place in the text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bert_onnx.errors import InputError, UsageError
from runtimes.pipelines.base import TokenizingPipeline
from runtimes.pipelines.batches import Row
from runtimes.pipelines.encoding import Window, check_texts, encode_spans
from runtimes.pipelines.entities import AGGREGATIONS, WORD, Entity, Piece, aggregate, in_whole_words, without_overlaps
from runtimes.pipelines.results import Result
from runtimes.pipelines.scores import softmax

Offsets = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Entities(Result):
    """The entities of a text, in its order; `truncated` where the end of the text was not read."""

    entities: tuple[Entity, ...]
    truncated: bool


@dataclass(frozen=True)
class _Read:
    """What is searched: the text; where its words are given, those and the first character of each."""

    text: str
    words: list[str] | None = None
    starts: tuple[int, ...] = ()

    @property
    def given(self) -> str | list[str]:
        """As the tokenizer takes it."""
        return self.text if self.words is None else self.words


class TokenClassification(TokenizingPipeline):
    """Labels every token, and joins tokens to entities."""

    def __call__(
        self,
        texts: str | Sequence[str] | Sequence[Sequence[str]],
        aggregation: str = "simple",
        ignore_labels: Sequence[str] = ("O",),
        stride: int | None = None,
        batch_size: int = 32,
        is_split_into_words: bool = False,
        delimiter: str = " ",
        offset_mapping: Offsets | Sequence[Offsets] | None = None,
    ) -> list[Entities]:
        """The entities of each text, in their order.

        Args:
            texts: what to search.
            aggregation: `none` gives each token; `simple` joins neighbours with the same label (B- starts anew);
                `first`, `average` and `max` first give each word one label: that of its first token, of the mean of
                its tokens' scores, or of its most certain token. `word` is `average` over the tokenizer's own words
                (or those that are given), and joins windows token by token, so that no entity ends within a word.
            ignore_labels: labels that are left out, named as the results name them.
            stride: read long texts in windows that share this many tokens; None reads the first window only.
            batch_size: windows that are run together.
            is_split_into_words: each text is a list of words; a single list of strings is one text.
            delimiter: stands between such words where characters are counted.
            offset_mapping: first and past-the-last character of every token of a text, special ones included, in place
                of the tokenizer's; one for each text, or one alone for a single text.

        Raises:
            InputError: something among `texts` is not a text, or a mapping has another number of tokens.
            UsageError: an aggregation that does not exist, a stride without aggregation, or a mapping for windows.
        """
        if aggregation not in AGGREGATIONS:
            raise UsageError(f"aggregation {aggregation!r} is unknown; choose {', '.join(AGGREGATIONS)}.")
        if stride is not None and aggregation == "none":
            raise UsageError("windows that overlap need an aggregation: with 'none', tokens would come twice.")
        read = _in_words(texts, delimiter) if is_split_into_words else [_Read(text) for text in check_texts(texts)]
        windows = self._spans(read, stride)
        if offset_mapping is not None:
            windows = _with_offsets(windows, offset_mapping, len(read), stride)
        by_words = aggregation not in ("none", "simple")

        def finish(window: Window, row: Row) -> list[Piece]:
            return self._pieces(window, row, read[window.sample], by_words)

        found = self._run(windows, ["logits"], batch_size, finish)
        by_text: list[list[list[Piece]]] = [[] for _ in read]
        for window, pieces in zip(windows, found, strict=True):
            by_text[window.sample].append(pieces)
        cut = {window.sample for window in windows if window.truncated}
        results = []
        for index, parts in enumerate(by_text):
            if aggregation == WORD:
                parts = [in_whole_words(parts, self._word_ends(read[index]) if index in cut else {})]
            joined = [aggregate(part, aggregation, self.tokenizer) for part in parts]
            kept = [[entity for entity in part if entity.label not in ignore_labels] for part in joined]
            results.append(Entities(tuple(without_overlaps(kept)), index in cut))
        return results

    def _spans(self, read: Sequence[_Read], stride: int | None) -> list[Window]:
        return encode_spans(self.tokenizer, [one.given for one in read], None, self.max_length, stride)

    def _word_ends(self, read: _Read) -> dict[int, int]:
        """Past-the-last character of each word of a text that was cut, whether it was read or not."""
        places = [place for window in self._spans([read], 0) for place in _places(window, read)]
        return {word: end for _, end, word in places if word is not None}

    def _pieces(self, window: Window, row: Row, read: _Read, by_words: bool) -> list[Piece]:
        """The tokens of `window` that stand for text, with the probabilities of their labels.

        `by_words`: accents that the tokenizer left out belong to the token before them.
        """
        scores = softmax(row["logits"][: len(window.ids)])
        labels = tuple(self.config.id2label[i] for i in range(self.config.num_labels))
        tokens = self.tokenizer.convert_ids_to_tokens(window.ids)
        text = read.text
        pieces = []
        for index, (start, end, word_id) in enumerate(_places(window, read)):
            if window.special[index]:
                continue
            while by_words and end < len(text) and _combines(text[end]):
                end += 1
            unknown = window.ids[index] == self.tokenizer.unk_token_id
            word = text[start:end] if unknown else tokens[index]
            continues = not unknown and self._continues(word, text, start)
            pieces.append(Piece(word, scores[index], labels, start, end, index, continues, word_id))
        return pieces

    def _continues(self, token: str, text: str, start: int) -> bool:
        """Whether a token goes on with the word before it: by the prefix of a word's later pieces; tokenizers without
        one leave the spaces of the text to tell words apart."""
        prefix = self.tokenizer.continuing_subword_prefix
        if prefix is not None:
            return token.startswith(prefix) and token != prefix
        return start > 0 and " " not in text[start - 1 : start + 1]


def _combines(character: str) -> bool:
    """Whether it is a mark on the letter before it; variation selectors, which choose how an emoji looks, are none."""
    return unicodedata.category(character)[0] == "M" and not "\ufe00" <= character <= "\ufe0f"


def _in_words(texts: Sequence[str] | Sequence[Sequence[str]], delimiter: str) -> list[_Read]:
    """Texts that are given as words. Raises InputError for anything else."""
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Sequence):
        raise InputError("is_split_into_words takes a list of words, or lists of words.")
    alone = bool(texts) and all(isinstance(word, str) for word in texts)
    read = []
    for number, words in enumerate([texts] if alone else texts):
        if isinstance(words, str):
            raise InputError(f"text {number} is a string among lists of words; split it, too.")
        checked = check_texts(words, f"word of text {number}, number")
        starts, at = [], 0
        for word in checked:
            starts.append(at)
            at += len(word) + len(delimiter)
        read.append(_Read(delimiter.join(checked), checked, tuple(starts)))
    return read


def _places(window: Window, read: _Read) -> list[tuple[int, int, int | None]]:
    """First and past-the-last character in the text, and the word, of every token."""
    places = []
    for (start, end), word in zip(window.offsets, window.words, strict=True):
        shift = read.starts[word] if read.starts and word is not None else 0
        places.append((start + shift, end + shift, word))
    return places


def _with_offsets(
    windows: Sequence[Window], given: Offsets | Sequence[Offsets], texts: int, stride: int | None
) -> list[Window]:
    """`windows` with the caller's own offsets. Raises InputError and UsageError as the call."""
    alone = texts == 1 and len(given) > 0 and isinstance(given[0][0], int)
    mappings: list[Any] = [given] if alone else list(given)
    if stride is not None:
        raise UsageError("an offset_mapping is for texts that are read in one window; leave out one of it and stride.")
    if len(mappings) != texts:
        raise InputError(f"there are {texts} texts but {len(mappings)} offset mappings; give one for each.")
    for window, mapping in zip(windows, mappings, strict=True):
        if len(mapping) != len(window.ids):
            raise InputError(
                f"the offset mapping of text {window.sample} has {len(mapping)} tokens, and the text has "
                f"{len(window.ids)}, special ones included."
            )
    return [
        replace(window, offsets=[(int(start), int(end)) for start, end in mapping])
        for window, mapping in zip(windows, mappings, strict=True)
    ]
