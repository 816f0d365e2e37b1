"""Prompts, similarity and lengths that a sentence-transformers folder states."""

from __future__ import annotations

from dataclasses import dataclass

from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.sentence_config import MODULES_FILE, WAY_OUT, read_json, read_size
from bert_onnx.errors import CheckpointError, UsageError
from bert_onnx.sentence_settings import SentenceSettings

SETTINGS_FILE = "config_sentence_transformers.json"
TRANSFORMER_FILE = "sentence_bert_config.json"


def read_settings(checkpoint: Checkpoint) -> SentenceSettings:
    """Prompts, similarity and length of vectors; those of a folder without modules.json count for nothing, as in the
    library.

    Raises:
        CheckpointError: the file is damaged, or names a prompt or a similarity that there is not.
    """
    path = checkpoint.root / SETTINGS_FILE
    if not path.is_file() or not (checkpoint.root / MODULES_FILE).is_file():
        return SentenceSettings()
    values = read_json(path)
    prompts = values.get("prompts") or {} if isinstance(values, dict) else None
    if not isinstance(prompts, dict) or not all(text is None or isinstance(text, str) for text in prompts.values()):
        raise CheckpointError(f"{path} does not hold an object whose prompts are texts by name; mend or remove it.")
    try:
        return SentenceSettings(
            prompts={name: text or "" for name, text in prompts.items()},
            default_prompt_name=values.get("default_prompt_name"),
            similarity_fn_name=values.get("similarity_fn_name") or SentenceSettings.similarity_fn_name,
            truncate_dim=None if values.get("truncate_dim") is None else read_size(values, "truncate_dim"),
        )
    except (UsageError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: {str(error).rstrip('.')}; mend or remove it.") from None


@dataclass(frozen=True)
class TransformerConfig:
    """sentence_bert_config.json, as far as it decides what a text's tokens are.

    Args:
        max_seq_length: length to which texts are cut, in tokens; None where it says nothing.
        do_lower_case: texts are lower-cased, whatever the tokenizer does.
    """

    max_seq_length: int | None = None
    do_lower_case: bool = False


def read_transformer_config(checkpoint: Checkpoint) -> TransformerConfig:
    """What sentence_bert_config.json says; nothing where there is none.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = checkpoint.folder / TRANSFORMER_FILE
    if not path.is_file():
        return TransformerConfig()
    values = read_json(path)
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not a JSON object; {WAY_OUT}.")
    longest = values.get("max_seq_length")
    return TransformerConfig(
        longest if isinstance(longest, int) and longest > 0 else None, values.get("do_lower_case") is True
    )
