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
from bert_onnx.checkpoint.late_interaction import read_late_interaction, written_settings
from bert_onnx.checkpoint.names import STANFORD_FILE, TRANSFORMER_FILES
from bert_onnx.checkpoint.sentence_files import SETTINGS_FILE
from bert_onnx.checkpoint.transformer_config import TransformerConfig, read_transformer_config, transformer_file
from bert_onnx.checkpoint.write_sentence_modules import write_json, write_model_type, write_sentence_modules
from bert_onnx.config import BertConfig
from bert_onnx.errors import CheckpointError, RuntimeUnavailableError
from bert_onnx.late_interaction import LateInteraction
from bert_onnx.sentence_modules import is_sparse, keeps_tokens
from bert_onnx.tasks import Task, TaskOptions
from bert_onnx.tokenization import FastTokenizer, check_vocabulary, load_tokenizer, missing_files
from bert_onnx.tokenization.artifact import write_tokenizer

#: Tasks whose texts are cut where sentence-transformers cuts them.
_EMBEDDING_TASKS = ("sentence-similarity", "sparse-embedding", "late-interaction", "feature-extraction")


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
        read = {SETTINGS_FILE: found.get(SETTINGS_FILE), TRANSFORMER_FILES[0]: transformer_file(checkpoint.folder)}
        for name, path in read.items():
            if path is not None:
                shutil.copyfile(path, stage / name)
    late = read_late_interaction(checkpoint) if keeps_tokens(options.modules) else None
    if late is not None:
        write_json(stage / SETTINGS_FILE, written_settings(checkpoint, late))
    elif task.embedding and options.modules:
        write_sentence_modules(stage, checkpoint, options.modules)
        if is_sparse(options.modules):
            write_model_type(stage / SETTINGS_FILE, "SparseEncoder")
    if ranks_by_modules:
        write_sentence_modules(stage, checkpoint, ())
    lacking = missing_files(checkpoint.folder)
    if lacking is not None:
        _copy(stage, found)
        warning = f"{checkpoint.source.model} has no tokenizer, so that `bert-onnx run` cannot read text with it."
        return config.longest_sequence, (f"{warning} {lacking}",)
    try:
        tokenizer = load_tokenizer(checkpoint.folder)
    except RuntimeUnavailableError as error:
        _copy(stage, found)
        return config.longest_sequence, (f"The graph is exported, but text cannot be read: {error}",)
    unreachable = check_vocabulary(tokenizer, config.vocab_size)
    if late is not None:
        _add_markers(tokenizer, late, config.vocab_size, checkpoint.source.model)
    stated = read_transformer_config(checkpoint) if cut_as_stated else TransformerConfig()
    longest = int(min(config.longest_sequence, stated.max_seq_length or tokenizer.model_max_length))
    _, warnings = write_tokenizer(tokenizer, checkpoint.folder, stage, stated.do_lower_case, longest)
    if late is not None:
        longest = min(config.longest_sequence, late.document_length)
    return longest, (*warnings, *unreachable)


def _add_markers(tokenizer: FastTokenizer, late: LateInteraction, vocab_size: int, model: str) -> None:
    """Let the tokenizer find markers whole in texts, as PyLate does.

    Raises:
        CheckpointError: one is no token of the model.
    """
    known = tokenizer.get_vocab()
    unknown = [marker for marker in late.markers if known.get(marker, vocab_size) >= vocab_size]
    if unknown:
        raise CheckpointError(
            f"the marker {unknown[0]!r} of {model} is no token of its vocabulary, so that it has no trained vector; "
            f"state markers that it has as query_prefix and document_prefix in {SETTINGS_FILE} (query_token_id and "
            f"doc_token_id in {STANFORD_FILE} of Stanford's library)."
        )
    tokenizer.add_tokens(late.markers)


def _copy(stage: Path, found: dict[str, Path]) -> None:
    """The checkpoint's tokenizer files, unchanged, where they cannot be opened here."""
    for name in TOKENIZER_FILES:
        if name in found:
            shutil.copyfile(found[name], stage / name)
