"""What a cross-encoder of sentence-transformers states: its activation and its prompts.

`CrossEncoder` 5.7 looks for the activation in config_sentence_transformers.json (written since 5.0, with modules.json
beside it), then in config.json under `sentence_transformers` (4.x), then under `sbert_ce_default_activation_function`
(before); without any it is Sigmoid for one label and Identity for more.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.sentence_config import read_activation
from bert_onnx.checkpoint.sentence_files import MODULES_FILE, SETTINGS_FILE, module_entries, read_json
from bert_onnx.checkpoint.sentence_settings import read_settings
from bert_onnx.config import CONFIG_NAME
from bert_onnx.errors import CheckpointError
from bert_onnx.sentence_modules import SCORE_ACTIVATIONS
from bert_onnx.sentence_settings import SentenceSettings

_KIND = "CrossEncoder"
_KEY = "activation_fn"
_OLD_KEY = "sbert_ce_default_activation_function"
_WAY_ON = "name the one that the model was trained with there, or export it with --task text-classification"

logger = logging.getLogger(__name__)


def is_cross_encoder(checkpoint: Checkpoint) -> bool:
    """Whether a file of `checkpoint` says that `CrossEncoder` saved it."""
    config = checkpoint.config
    return has_modules(checkpoint) or config.sentence_transformers is not None or _old_path(checkpoint) is not None


def has_modules(checkpoint: Checkpoint) -> bool:
    """Whether it is a folder of modules, whose config_sentence_transformers.json counts."""
    path = checkpoint.root / SETTINGS_FILE
    if not (path.is_file() and (checkpoint.root / MODULES_FILE).is_file()):
        return False
    values = read_json(path)
    return isinstance(values, dict) and values.get("model_type") == _KIND


def check_modules(checkpoint: Checkpoint) -> None:
    """Raises CheckpointError where modules behind the transformer make the scores of a folder of modules."""
    further = [entry.kind for entry in (module_entries(checkpoint.root) or ())[1:]]
    if further:
        raise CheckpointError(
            f"{checkpoint.root / MODULES_FILE} makes scores by {', '.join(further)} behind the transformer, and "
            "bert-onnx computes those of a BertForSequenceClassification alone; export what is below them with --task "
            "feature-extraction."
        )


def read_activation_fn(checkpoint: Checkpoint) -> str:
    """What makes scores of logits, one of SCORE_ACTIVATIONS.

    Raises:
        CheckpointError: a file is damaged; the activation is none that we compute; scores are made by modules behind
            the classifier.
    """
    default = "Sigmoid" if checkpoint.config.num_labels == 1 else "Identity"
    if has_modules(checkpoint):
        check_modules(checkpoint)
        path = checkpoint.root / SETTINGS_FILE
        stated = read_json(path).get(_KEY)
        name = None if stated is None else _read(stated, path, _KEY)
        if name is not None:
            return name
    return _of_config(checkpoint, default)


def read_prompts(checkpoint: Checkpoint) -> SentenceSettings:
    """The prompts of a folder of modules; a cross-encoder of another layout has none.

    Raises:
        CheckpointError: the file is damaged, or names a prompt that there is not.
    """
    if not has_modules(checkpoint):
        return SentenceSettings()
    stated = read_settings(checkpoint)
    return SentenceSettings(stated.prompts, stated.default_prompt_name)


def _of_config(checkpoint: Checkpoint, default: str) -> str:
    """What config.json says; the newer key counts, even where it says nothing."""
    stated: Any
    key, stated = _OLD_KEY, _old_path(checkpoint)
    values = checkpoint.config.sentence_transformers
    if values is not None and _KEY in values:
        key, stated = f"sentence_transformers.{_KEY}", values[_KEY]
    return default if stated is None else _read(stated, checkpoint.folder / CONFIG_NAME, key) or default


def _old_path(checkpoint: Checkpoint) -> str | None:
    return checkpoint.config.sbert_ce_default_activation_function


def _read(stated: Any, file: Path, key: str) -> str | None:
    """The activation's name; None, with a warning, for code that is not torch's, which the library does not run."""
    try:
        name = read_activation(stated, key, "", SCORE_ACTIVATIONS)
    except ValueError as error:
        raise CheckpointError(f"{file}: {error}; {_WAY_ON}.") from None
    if not name:
        logger.warning(
            "%s: %s names %.120r, code that is never run; scores are made as if it were not there.", file, key, stated
        )
    return name or None
