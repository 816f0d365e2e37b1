"""Writes the files with which other tools open an artifact: config, tokenizer, sentence-transformers.

The tokenizer's files are written anew, so that all of them say what its tokenizer.json does; the others are the
checkpoint's own where it has them (`companions` reads the same), so this stands beside the reader.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bert_onnx.checkpoint.companions import TOKENIZER_FILES, companion_files
from bert_onnx.checkpoint.cross_encoder import has_modules
from bert_onnx.checkpoint.finding import Checkpoint
from bert_onnx.checkpoint.sentence_files import (
    SETTINGS_FILE,
    TRANSFORMER_FILE,
    TransformerConfig,
    read_transformer_config,
)
from bert_onnx.checkpoint.write_sentence_modules import write_model_type, write_sentence_modules
from bert_onnx.config import BertConfig
from bert_onnx.errors import RuntimeUnavailableError
from bert_onnx.sentence_modules import is_sparse
from bert_onnx.tasks import Task, TaskOptions
from bert_onnx.tokenization import check_vocabulary, load_tokenizer, missing_files
from bert_onnx.tokenization.artifact import write_tokenizer

#: Tasks whose texts are cut where sentence-transformers cuts them.
_EMBEDDING_TASKS = ("sentence-similarity", "sparse-embedding", "feature-extraction")


def write_companions(
    stage: Path, checkpoint: Checkpoint, config: BertConfig, task: Task, options: TaskOptions
) -> tuple[int, tuple[str, ...]]:
    """Write everything but the graphs, the manifest and the card into `stage`.

    Returns:
        The length to which texts are cut, in tokens, and warnings.

    Raises:
        TokenizerError: a tokenizer that is damaged or does not fit the model.
    """
    config.save_pretrained(stage)
    found = {path.name: path for path in companion_files(checkpoint)}
    ranks_by_modules = task.name == "text-ranking" and has_modules(checkpoint)
    cut_as_stated = task.name in _EMBEDDING_TASKS or ranks_by_modules
    if cut_as_stated:
        for name in (SETTINGS_FILE, TRANSFORMER_FILE):
            if name in found:
                shutil.copyfile(found[name], stage / name)
    if task.embedding and options.modules:
        write_sentence_modules(stage, checkpoint, options.modules)
        if is_sparse(options.modules):
            write_model_type(stage / SETTINGS_FILE, "SparseEncoder")
    if ranks_by_modules:
        write_sentence_modules(stage, checkpoint, ())
    lacking = missing_files(checkpoint.folder)
    if lacking is not None:
        _copy(stage, found)
        warning = f"{checkpoint.source.model} has no tokenizer, so that `bert-onnx run` cannot read text with it."
        return config.max_position_embeddings, (f"{warning} {lacking}",)
    try:
        tokenizer = load_tokenizer(checkpoint.folder)
    except RuntimeUnavailableError as error:
        _copy(stage, found)
        return config.max_position_embeddings, (f"The graph is exported, but text cannot be read: {error}",)
    unreachable = check_vocabulary(tokenizer, config.vocab_size)
    stated = read_transformer_config(checkpoint) if cut_as_stated else TransformerConfig()
    tokenizer, warnings = write_tokenizer(tokenizer, checkpoint.folder, stage, stated.do_lower_case)
    longest = min(config.max_position_embeddings, stated.max_seq_length or tokenizer.model_max_length)
    return int(longest), (*warnings, *unreachable)


def _copy(stage: Path, found: dict[str, Path]) -> None:
    """The checkpoint's tokenizer files, unchanged, where they cannot be opened here."""
    for name in TOKENIZER_FILES:
        if name in found:
            shutil.copyfile(found[name], stage / name)
