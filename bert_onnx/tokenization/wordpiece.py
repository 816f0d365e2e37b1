"""Greedy longest-match-first word pieces."""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "##"
MAX_CHARS_PER_WORD = 100


class WordpieceTokenizer:
    """Splits words into the longest pieces that the vocabulary holds, from left to right.

    "unaffable" becomes un, ##aff, ##able. A word with a part that no piece covers, or with more than
    `max_input_chars_per_word` characters, becomes the unknown token as a whole.
    """

    def __init__(
        self,
        vocab: Mapping[str, int],
        unk_token: str = "[UNK]",
        max_input_chars_per_word: int = MAX_CHARS_PER_WORD,
    ) -> None:
        self.vocab = vocab
        self.unk_token = unk_token
        self.max_input_chars_per_word = max_input_chars_per_word
        # Continuations without their prefix save building two strings for each try. The longest piece bounds how
        # far a try has to look, so a word costs its length times that, not its length squared.
        self._tails = {token[len(PREFIX) :]: token for token in vocab if token.startswith(PREFIX)}
        self._longest_head = max(map(len, vocab), default=0)
        self._longest_tail = max(map(len, self._tails), default=0)

    def tokenize(self, text: str) -> list[str]:
        """The pieces of every word of `text`, words being separated by white space."""
        return [piece for word in text.split() for piece in self.split_word(word)]

    def split_word(self, word: str) -> list[str]:
        """The pieces of one word."""
        if word in self.vocab and len(word) <= self.max_input_chars_per_word:
            return [word]
        if len(word) > self.max_input_chars_per_word:
            return [self.unk_token]
        length = self._head_length(word)
        if not length:
            return [self.unk_token]
        pieces = [word[:length]]
        while length < len(word):
            for end in range(min(len(word), length + self._longest_tail), length, -1):
                piece = self._tails.get(word[length:end])
                if piece is not None:
                    pieces.append(piece)
                    length = end
                    break
            else:
                return [self.unk_token]
        return pieces

    def _head_length(self, word: str) -> int:
        """Length of the longest first piece, 0 when there is none."""
        for end in range(min(len(word), self._longest_head), 0, -1):
            if word[:end] in self.vocab:
                return end
        return 0
