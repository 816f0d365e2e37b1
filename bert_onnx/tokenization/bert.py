"""BertTokenizerFast: BERT's own tokenizer on the tokenizers library, from a vocab.txt or a tokenizer.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bert_onnx.errors import TokenizerError
from bert_onnx.tokenization.classes import BERT_CLASS, tokenizer_class
from bert_onnx.tokenization.fast import FastTokenizer
from bert_onnx.tokenization.folder import read_folder
from bert_onnx.tokenization.opening import SIDES_AND_CLEAN_UP, open_files, open_folder
from bert_onnx.tokenization.settings import NO_LIMIT, TokenizerSettings, special_tokens
from bert_onnx.tokenization.vocab import AddedToken


class BertTokenizerFast(FastTokenizer):
    """BERT's tokenizer on the tokenizers library.

    Args:
        vocab_file: a vocab.txt; used where there is no `tokenizer_file`.
        tokenizer_file: a tokenizer.json. As in the reference, the three options below win over what it says.
        do_lower_case, tokenize_chinese_chars, strip_accents: as for BertTokenizer.
        clean_up_tokenization_spaces: what `decode` does unless told otherwise; None means True with a vocab.txt, and
            False with a tokenizer.json, whose decoder cleans up by itself.
        model_max_length: tokens that the model takes; None for no limit.
        padding_side, truncation_side: None means what the tokenizer.json says, else "right".

    Raises TokenizerError for files that are missing or damaged.
    """

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        tokenizer_file: str | Path | None = None,
        do_lower_case: bool = True,
        unk_token: str | AddedToken | None = "[UNK]",
        sep_token: str | AddedToken = "[SEP]",
        pad_token: str | AddedToken | None = "[PAD]",
        cls_token: str | AddedToken = "[CLS]",
        mask_token: str | AddedToken | None = "[MASK]",
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        *,
        clean_up_tokenization_spaces: bool | None = None,
        model_max_length: int | None = None,
        padding_side: str | None = None,
        truncation_side: str | None = None,
        additional_special_tokens: Sequence[str | AddedToken] = (),
    ) -> None:
        if vocab_file is None and tokenizer_file is None:
            raise TokenizerError("BertTokenizerFast needs a vocab_file or a tokenizer_file; give one of them.")
        special = special_tokens(unk_token, sep_token, pad_token, cls_token, mask_token, additional_special_tokens)
        settings = TokenizerSettings(
            do_lower_case=do_lower_case,
            tokenize_chinese_chars=tokenize_chinese_chars,
            strip_accents=strip_accents,
            clean_up_tokenization_spaces=clean_up_tokenization_spaces is not False,
            model_max_length=NO_LIMIT if model_max_length is None else model_max_length,
            padding_side=padding_side or "right",
            truncation_side=truncation_side or "right",
            special=special,
        )
        given = (padding_side, truncation_side, clean_up_tokenization_spaces)
        unset = [name for name, value in zip(SIDES_AND_CLEAN_UP, given, strict=True) if value is None]
        super().__init__(*open_files(vocab_file, tokenizer_file, settings, tokenizer_class(BERT_CLASS), unset))

    @classmethod
    def from_pretrained(cls, folder: str | Path, **overrides: Any) -> BertTokenizerFast:
        """The tokenizer of a checkpoint folder: its tokenizer.json, else its vocab.txt, with its options.

        `overrides` win over tokenizer_config.json: special tokens by role and the options of the constructor.
        """
        tokenizer = cls.__new__(cls)
        found = read_folder(folder, overrides)
        FastTokenizer.__init__(tokenizer, *open_folder(found))
        return tokenizer
