"""Prompts, similarity and lengths that a sentence-transformers folder states."""

from __future__ import annotations

from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.sentence_files import MAX_SIM, MODULES_FILE, SETTINGS_FILE, read_json, read_size
from bert_onnx.errors import CheckpointError, UsageError
from bert_onnx.sentence_settings import SentenceSettings


def read_settings(checkpoint: Checkpoint, sparse: bool = False) -> SentenceSettings:
    """Prompts, similarity and length of vectors; those of a folder without modules.json count for nothing, as in the
    library.

    Args:
        sparse: of sparse embeddings, which are compared by dot products where nothing is stated, and are never cut.

    Raises:
        CheckpointError: the file is damaged, or names a prompt or a similarity that there is not.
    """
    similarity = "dot" if sparse else SentenceSettings.similarity_fn_name
    path = checkpoint.root / SETTINGS_FILE
    if not path.is_file() or not (checkpoint.root / MODULES_FILE).is_file():
        return SentenceSettings(similarity_fn_name=similarity)
    values = read_json(path)
    stated = values.get("similarity_fn_name") if isinstance(values, dict) else None
    prompts = values.get("prompts") or {} if isinstance(values, dict) else None
    if not isinstance(prompts, dict) or not all(text is None or isinstance(text, str) for text in prompts.values()):
        raise CheckpointError(f"{path} does not hold an object whose prompts are texts by name; mend or remove it.")
    try:
        return SentenceSettings(
            prompts={name: text or "" for name, text in prompts.items()},
            default_prompt_name=values.get("default_prompt_name"),
            # MaxSim compares vectors of single tokens by cosine.
            similarity_fn_name=stated if stated and stated != MAX_SIM else similarity,
            truncate_dim=None if sparse or values.get("truncate_dim") is None else read_size(values, "truncate_dim"),
        )
    except (UsageError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: {str(error).rstrip('.')}; mend or remove it.") from None
