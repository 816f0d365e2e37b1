"""Tokenizers: FastTokenizer for any tokenizer.json, BertTokenizerFast for BERT's own, BertTokenizer in plain Python.

Importing this package loads neither the tokenizers library nor numpy; a fast tokenizer loads the first when it is made,
`return_tensors="np"` the second. What is in plain Python is loaded when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_onnx.tokenization.base import Tokenizer
from bert_onnx.tokenization.batch import BatchEncoding, CharSpan, TokenSpan
from bert_onnx.tokenization.bert import BertTokenizerFast
from bert_onnx.tokenization.classes import BERT_CLASS, JAPANESE_CLASS
from bert_onnx.tokenization.fast import FastTokenizer
from bert_onnx.tokenization.folder import missing_files, read_folder
from bert_onnx.tokenization.opening import open_folder
from bert_onnx.tokenization.vocab import AddedToken, check_vocabulary

if TYPE_CHECKING:
    from bert_onnx.tokenization.basic import BasicTokenizer
    from bert_onnx.tokenization.slow import BertTokenizer
    from bert_onnx.tokenization.wordpiece import WordpieceTokenizer

_LAZY = {"BasicTokenizer": "basic", "BertTokenizer": "slow", "WordpieceTokenizer": "wordpiece"}

__all__ = [
    "AddedToken",
    "BasicTokenizer",
    "BatchEncoding",
    "BertTokenizer",
    "BertTokenizerFast",
    "CharSpan",
    "FastTokenizer",
    "TokenSpan",
    "Tokenizer",
    "WordpieceTokenizer",
    "check_vocabulary",
    "load_tokenizer",
    "missing_files",
]


def __getattr__(name: str) -> Any:
    """A tokenizer in plain Python; running an artifact takes none."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def load_tokenizer(folder: str | Path, vocab_size: int | None = None) -> FastTokenizer:
    """The tokenizer of a checkpoint folder: its tokenizer.json, else its vocab.txt, with the options beside it.

    Which tokenizer it is, word pieces, Unigram, BPE or another, is what transformers' AutoTokenizer makes of the same
    files. `vocab_size` is the number of the model's embeddings ([V, D]): a text that holds a token without one is then
    an InputError that names it; see `check_vocabulary`. Raises TokenizerError for files that are missing or damaged.
    """
    found = read_folder(folder)
    if found.class_name == JAPANESE_CLASS:
        from bert_onnx.tokenization.japanese import open_japanese

        tokenizer = open_japanese(found)
    elif found.class_name.removesuffix("Fast") == BERT_CLASS:
        tokenizer = BertTokenizerFast.from_pretrained(folder)
    else:
        tokenizer = FastTokenizer(*open_folder(found))
    if vocab_size is not None:
        check_vocabulary(tokenizer, vocab_size)
    return tokenizer
