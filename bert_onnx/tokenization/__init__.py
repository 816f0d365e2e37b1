"""BERT's tokenizers: BertTokenizer in plain Python, BertTokenizerFast on the tokenizers library.

Importing this package loads neither that library nor numpy; BertTokenizerFast loads the first when it is made,
`return_tensors="np"` the second.
"""

from __future__ import annotations

from pathlib import Path

from bert_onnx.tokenization.base import Tokenizer
from bert_onnx.tokenization.basic import BasicTokenizer
from bert_onnx.tokenization.encoding import BatchEncoding
from bert_onnx.tokenization.fast import BertTokenizerFast
from bert_onnx.tokenization.slow import BertTokenizer
from bert_onnx.tokenization.vocab import AddedToken, check_vocabulary
from bert_onnx.tokenization.wordpiece import WordpieceTokenizer

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


def load_tokenizer(folder: str | Path) -> BertTokenizerFast:
    """The tokenizer of a checkpoint folder: its tokenizer.json, else its vocab.txt, with the options beside it.

    Raises TokenizerError for files that are missing, damaged, not BERT's, or lack a special token.
    """
    return BertTokenizerFast.from_pretrained(folder)
