"""Writes the files with which other tools open an artifact: config, tokenizer, sentence-transformers.

They are the checkpoint's own files where it has them (`companions` reads the same), so this stands beside the reader.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from bert_onnx.checkpoint.companions import companion_files
from bert_onnx.checkpoint.finding import Checkpoint
from bert_onnx.config import BertConfig
from bert_onnx.errors import TokenizerError
from bert_onnx.tasks import Task, TaskOptions
from bert_onnx.tokenization import BertTokenizerFast, check_vocabulary, load_tokenizer

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
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
    if "tokenizer.json" not in found and "vocab.txt" not in found:
        warning = f"{checkpoint.source.model} has no tokenizer, so that `bert-onnx run` cannot read text with it."
        return config.max_position_embeddings, (warning,)
    tokenizer = load_tokenizer(checkpoint.folder)
    check_vocabulary(tokenizer, config.vocab_size)
    _write_tokenizer(stage, tokenizer, found)
    return _longest_text(stage, tokenizer, config, task), ()


def _write_tokenizer(stage: Path, tokenizer: BertTokenizerFast, found: dict[str, Path]) -> None:
    """The checkpoint's own files, unchanged; those that it lacks are written by our tokenizer."""
    for name, path in found.items():
        if name in (*_TOKENIZER_FILES, "added_tokens.json"):
            shutil.copyfile(path, stage / name)
    missing = [name for name in _TOKENIZER_FILES if name not in found]
    if missing:
        scratch = stage / ".tokenizer"
        tokenizer.save_pretrained(scratch)
        for name in missing:
            if (scratch / name).is_file():
                (scratch / name).replace(stage / name)
        shutil.rmtree(scratch)


def _longest_text(stage: Path, tokenizer: BertTokenizerFast, config: BertConfig, task: Task) -> int:
    """The smallest of what the positions, the tokenizer and sentence-transformers allow."""
    longest = min(config.max_position_embeddings, tokenizer.model_max_length)
    path = stage / "sentence_bert_config.json"
    if task.name in _EMBEDDING_TASKS and path.is_file():
        try:
            stated = json.loads(path.read_text(encoding="utf-8")).get("max_seq_length")
        except (ValueError, AttributeError) as error:
            raise TokenizerError(f"{path.name} of the checkpoint cannot be read as a JSON object: {error}.") from None
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
