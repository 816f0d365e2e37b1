"""Which tokens end a generated text: generation_config.json decides where there is one, as in transformers."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from bert_onnx.config import BertConfig
from bert_onnx.config_rules import is_int

GENERATION_FILE = "generation_config.json"

logger = logging.getLogger(__name__)


def with_ends(config: BertConfig, folder: Path) -> BertConfig:
    """`config` with the `eos_token_id` of `folder`'s generation_config.json; as it is where that file says nothing.

    A file that cannot be read counts for nothing, with a warning; ids outside the vocabulary never come up.
    """
    path = folder / GENERATION_FILE
    if not path.is_file():
        return config
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("%s cannot be read (%s); config.json says which tokens end a text.", path, error)
        return config
    if not isinstance(values, dict) or "eos_token_id" not in values:
        return config
    ends = values["eos_token_id"]
    given = [end for end in (ends if isinstance(ends, list) else [ends]) if end is not None and is_int(end)]
    return config.replace(eos_token_id=tuple(end for end in given if 0 <= end < config.vocab_size))
