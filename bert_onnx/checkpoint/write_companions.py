"""Writes the files with which other tools open an artifact: config, tokenizer, sentence-transformers.

The tokenizer's files are written anew, so that all of them say what its tokenizer.json does; the others are the
checkpoint's own where it has them (`companions` reads the same), so this stands beside the reader.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from bert_onnx.checkpoint.companions import TOKENIZER_FILES, companion_files
from bert_onnx.checkpoint.finding import Checkpoint
from bert_onnx.config import BertConfig
from bert_onnx.errors import RuntimeUnavailableError, TokenizerError
from bert_onnx.tasks import Task, TaskOptions
from bert_onnx.tokenization import FastTokenizer, check_vocabulary, load_tokenizer, missing_files
from bert_onnx.tokenization.artifact import write_tokenizer

_SENTENCE_FILES = ("config_sentence_transformers.json", "sentence_bert_config.json")

#: Tasks whose texts are cut where sentence-transformers cuts them.
_EMBEDDING_TASKS = ("sentence-similarity", "feature-extraction")


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
    found = {path.relative_to(checkpoint.folder).as_posix(): path for path in companion_files(checkpoint)}
    if task.name in _EMBEDDING_TASKS:
        for name in _SENTENCE_FILES:
            if name in found:
                shutil.copyfile(found[name], stage / name)
    if task.name == "sentence-similarity" and options.pooling != "none":
        _write_sentence_modules(stage, config, options)
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
    lower_case = task.name in _EMBEDDING_TASKS and _sentence_config(stage).get("do_lower_case") is True
    tokenizer, warnings = write_tokenizer(tokenizer, checkpoint.folder, stage, lower_case)
    return _longest_text(stage, tokenizer, config, task), (*warnings, *unreachable)


def _copy(stage: Path, found: dict[str, Path]) -> None:
    """The checkpoint's tokenizer files, unchanged, where they cannot be opened here."""
    for name in TOKENIZER_FILES:
        if name in found:
            shutil.copyfile(found[name], stage / name)


def _sentence_config(stage: Path) -> dict[str, Any]:
    """sentence_bert_config.json, empty where there is none."""
    path = stage / "sentence_bert_config.json"
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise TokenizerError(f"{path.name} of the checkpoint cannot be read as a JSON object: {error}.") from None


def _longest_text(stage: Path, tokenizer: FastTokenizer, config: BertConfig, task: Task) -> int:
    """The smallest of what the positions, the tokenizer and sentence-transformers allow."""
    longest = min(config.max_position_embeddings, tokenizer.model_max_length)
    if task.name in _EMBEDDING_TASKS:
        stated = _sentence_config(stage).get("max_seq_length")
        if isinstance(stated, int) and stated > 0:
            longest = min(longest, stated)
    return int(longest)


def _write_sentence_modules(stage: Path, config: BertConfig, options: TaskOptions) -> None:
    """modules.json and 1_Pooling/config.json for the pooling that the graph has, which may not be the checkpoint's."""
    package = "sentence_transformers.models"
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    if options.normalize:
        kinds.append(("2_Normalize", "Normalize"))
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"{package}.{kind}"}
        for index, (path, kind) in enumerate(kinds)
    ]
    pooling = {
        "word_embedding_dimension": config.hidden_size,
        "pooling_mode_cls_token": options.pooling == "cls",
        "pooling_mode_mean_tokens": options.pooling == "mean",
        "pooling_mode_max_tokens": options.pooling == "max",
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    (stage / "1_Pooling").mkdir()
    for name, values in (("modules.json", modules), ("1_Pooling/config.json", pooling)):
        (stage / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
