"""BERT's tokenizers: BertTokenizer in plain Python, BertTokenizerFast on the tokenizers library.

Importing this package loads neither that library nor numpy; BertTokenizerFast loads the first when it is made,
`return_tensors="np"` the second. What is in plain Python is loaded when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_onnx.tokenization.base import Tokenizer
from bert_onnx.tokenization.encoding import BatchEncoding
from bert_onnx.tokenization.fast import BertTokenizerFast
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
    "Tokenizer",
    "WordpieceTokenizer",
    "check_vocabulary",
    "load_tokenizer",
]


def __getattr__(name: str) -> Any:
    """A tokenizer in plain Python; running an artifact takes none."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def load_tokenizer(folder: str | Path) -> BertTokenizerFast:
    """The tokenizer of a checkpoint folder: its tokenizer.json, else its vocab.txt, with the options beside it.

    Raises TokenizerError for files that are missing, damaged, not BERT's, or lack a special token.
    """
    return BertTokenizerFast.from_pretrained(folder)
