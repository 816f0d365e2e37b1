"""Names of a tokenizer's files, and JSON objects read from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bert_onnx.errors import TokenizerError

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is no such file. Raises TokenizerError for a damaged one."""
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise TokenizerError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{path} is damaged: it is not JSON ({error}); fetch the file again.") from None
    if not isinstance(data, dict):
        raise TokenizerError(f"{path} is damaged: it holds a {type(data).__name__} where an object belongs.")
    return data
