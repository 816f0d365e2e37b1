"""Tokens of queries and documents for late interaction, and which of them count; as PyLate has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bert_onnx.errors import TokenizerError
from bert_onnx.late_interaction import LateInteraction
from runtimes.pipelines.encoding import Window, encode

if TYPE_CHECKING:
    from bert_onnx.tokenization import FastTokenizer


class TokenReader:
    """Makes rows of texts.

    Args:
        tokenizer: of the model.
        settings: markers, lengths, expansion, skipped words.
        longest: most tokens that the model has positions for.

    Raises:
        TokenizerError: a marker is no token, or there is none to expand queries with.
    """

    def __init__(self, tokenizer: FastTokenizer, settings: LateInteraction, longest: int) -> None:
        self._tokenizer, self._settings, self._longest = tokenizer, settings, longest
        known = tokenizer.get_vocab()
        missing = [marker for marker in settings.markers if marker not in known]
        if missing:
            raise TokenizerError(f"the marker {missing[0]!r} is no token of the tokenizer; export the model again.")
        skipped = tokenizer.convert_tokens_to_ids(list(settings.skiplist_words))
        self._skipped = frozenset(index for index in skipped if index is not None)
        fillers = (tokenizer.mask_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
        self._filler = next((index for index in fillers if index is not None), None)
        if self._filler is None and settings.do_query_expansion:
            raise TokenizerError("the tokenizer has no mask, end or padding token, one of which expands queries.")

    def length(self, is_query: bool) -> int:
        """Most tokens of a query or a document."""
        return min(self._settings.query_length if is_query else self._settings.document_length, self._longest)

    def rows(self, texts: Sequence[str], is_query: bool) -> list[Window]:
        """One row a text, with the marker behind the first token, cut to its length; queries are expanded."""
        marker = self._settings.query_prefix if is_query else self._settings.document_prefix
        stripped = [text.strip() for text in texts]
        windows = encode(self._tokenizer, stripped, None, self.length(is_query) - bool(marker))
        if marker:
            index = self._tokenizer.convert_tokens_to_ids(marker)
            windows = [
                replace(
                    one, ids=[*one.ids[:1], index, *one.ids[1:]], type_ids=[*one.type_ids[:1], 0, *one.type_ids[1:]]
                )
                for one in windows
            ]
        return [self._expanded(one) for one in windows] if is_query else windows

    def _expanded(self, row: Window) -> Window:
        """A query filled up to its length, where the model does so."""
        if self._filler is None or not self._settings.do_query_expansion:
            return row
        missing = self._settings.query_length - len(row.ids)
        seen = None if self._settings.attends else len(row.ids)
        return replace(row, ids=row.ids + [self._filler] * missing, type_ids=row.type_ids + [0] * missing, seen=seen)

    def kept(self, ids: Sequence[int], is_query: bool) -> list[int]:
        """Places of the tokens that count: all of a query, and those of a document that are not skipped."""
        return [place for place, token in enumerate(ids) if is_query or token not in self._skipped]
