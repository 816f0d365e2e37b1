"""Files beside the weights: the tokenizer's, and those of sentence-transformers."""

from __future__ import annotations

from pathlib import Path

from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.names import SENTENCE_FILES, TOKENIZER_FILES


def companion_files(checkpoint: Checkpoint) -> tuple[Path, ...]:
    """Tokenizer and sentence-transformers files that `checkpoint` has, in the order of the tables in names.py."""
    paths = (checkpoint.folder / name for name in TOKENIZER_FILES)
    folders = dict.fromkeys((checkpoint.root, checkpoint.folder))
    beside = (folder / name for name in SENTENCE_FILES for folder in folders)
    return tuple(path for path in (*paths, *beside) if path.is_file())
