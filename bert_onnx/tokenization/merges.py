"""BPE tokenizers of a vocab.json and a merges.txt: RoBERTa's byte-level one, and HerBERT's."""

from __future__ import annotations

import json
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from bert_onnx.errors import TokenizerError
from bert_onnx.tokenization.settings import TokenizerSettings
from bert_onnx.tokenization.vocab import Vocabulary

_VERSION = "#version:"


def read_vocabulary_json(path: Path) -> Vocabulary:
    """Read a vocab.json, an object of ids by token. Raises TokenizerError for a damaged one."""
    try:
        ids = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise TokenizerError(f"The vocabulary {path} is damaged ({error}); fetch the file again.") from None
    if not isinstance(ids, dict) or not ids or not all(type(index) is int and index >= 0 for index in ids.values()):
        raise TokenizerError(f"The vocabulary {path} is no object of ids by token; fetch the file again.")
    return Vocabulary(ids, frozenset(), str(path))


def from_merges(
    vocabulary: Vocabulary, merges_file: Path, settings: TokenizerSettings, byte_level: bool
) -> tokenizers.Tokenizer:
    """RoBERTa's tokenizer (`byte_level`) or HerBERT's, as transformers makes them of the same files.

    Raises TokenizerError for files that are damaged or do not belong together.
    """
    try:
        lines = merges_file.read_text(encoding="utf-8").split("\n")[:-1]
        # RoBERTa's class takes the first line for a title whatever it says.
        lines = lines[1:] if byte_level or (lines and _VERSION in lines[0]) else lines
        merges = [(left, right) for left, right, *_ in map(str.split, lines)]
        unknown = None if byte_level or settings.special.unk_token is None else settings.special.unk_token.content
        model = models.BPE(vocabulary.ids, merges, unk_token=unknown, end_of_word_suffix="" if byte_level else "</w>")
    except Exception as error:  # the library raises the bare class
        raise TokenizerError(
            f"{merges_file} is damaged or belongs to another {vocabulary.source} ({error}); fetch both again."
        ) from None
    tokenizer = tokenizers.Tokenizer(model)
    if byte_level:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=settings.add_prefix_space)
        tokenizer.decoder = decoders.ByteLevel()
    else:
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    return tokenizer
