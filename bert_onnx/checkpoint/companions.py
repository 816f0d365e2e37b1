"""Files beside the weights: tokenizer and sentence-transformers files, and the pooling that the latter state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.names import SENTENCE_FILES, TOKENIZER_FILES
from bert_onnx.errors import CheckpointError

#: sentence-transformers' names of the poolings that bert-onnx computes -> ours.
_POOLINGS = {"mean": "mean", "cls": "cls", "max": "max"}
#: Switches of a pooling config -> name of the pooling; sentence-transformers joins those that are true.
_POOLING_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_WAY_OUT = "choose yourself by --pooling mean|cls|max|none with --normalize or --no-normalize"


@dataclass(frozen=True)
class Pooling:
    """How a sentence-transformers checkpoint makes one vector of a text.

    Args:
        mode: `mean`, `cls` or `max`, as in `TaskOptions.pooling`.
        normalize: scale the vector to length 1.
    """

    mode: str
    normalize: bool


def companion_files(checkpoint: Checkpoint) -> tuple[Path, ...]:
    """Tokenizer and sentence-transformers files that `checkpoint` has, in the order of the tables in names.py."""
    paths = (checkpoint.folder / name for name in (*TOKENIZER_FILES, *SENTENCE_FILES))
    return tuple(path for path in paths if path.is_file())


def read_pooling(checkpoint: Checkpoint) -> Pooling | None:
    """The pooling that modules.json and the pooling config state; None where there is no modules.json.

    Raises:
        CheckpointError: one of these files is damaged, or states something that bert-onnx does not compute.
    """
    path = checkpoint.folder / "modules.json"
    if not path.is_file():
        return None
    kinds = []
    mode: str | None = None
    for kind, place in _modules(path):
        kinds.append(kind)
        if kind == "Pooling":
            mode = _pooling_mode(checkpoint.folder / place / "config.json", checkpoint.config.hidden_size)
    if kinds == ["Transformer"]:
        return None
    if mode is None or kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise CheckpointError(
            f"{path} joins the modules {', '.join(kinds)}; bert-onnx computes Transformer, Pooling and then, "
            f"optionally, Normalize; {_WAY_OUT}."
        )
    return Pooling(mode, "Normalize" in kinds)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; {_WAY_OUT}.") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path} is not proper JSON; {_WAY_OUT}.") from None


def _modules(path: Path) -> list[tuple[str, str]]:
    """(last part of the type, path) of each entry of modules.json, in order."""
    values = _read_json(path)
    if not isinstance(values, list) or not values:
        raise CheckpointError(f"{path} is not a list of modules; {_WAY_OUT}.")
    modules = []
    for entry in values:
        kind = entry.get("type") if isinstance(entry, dict) else None
        place = entry.get("path", "") if isinstance(entry, dict) else None
        if not isinstance(kind, str) or not isinstance(place, str):
            raise CheckpointError(f"{path} has an entry without type and path: {str(entry)[:120]}; {_WAY_OUT}.")
        parts = PurePosixPath(place).parts
        if ".." in parts or place.startswith("/") or set(place) & set("\\:\0"):
            raise CheckpointError(f"{path} names the path {place[:120]!r}, which leads out of its folder.")
        modules.append((kind.rpartition(".")[2], place))
    return modules


def _pooling_mode(path: Path, hidden_size: int) -> str:
    values = _read_json(path)
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not a JSON object; {_WAY_OUT}.")
    width = values.get("word_embedding_dimension", values.get("embedding_dimension", hidden_size))
    if width != hidden_size:
        raise CheckpointError(f"{path} pools vectors of {width} values, but the model's hidden_size is {hidden_size}.")
    modes = _stated_modes(values)
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise CheckpointError(
            f"{path} asks for the pooling {' + '.join(modes) or 'none'}; bert-onnx computes one of "
            f"{', '.join(_POOLINGS)}; {_WAY_OUT}."
        )
    return _POOLINGS[modes[0]]


def _stated_modes(values: Mapping[str, Any]) -> list[str]:
    """Names of the poolings that a pooling config switches on."""
    stated = values.get("pooling_mode")
    if isinstance(stated, (str, list, tuple)):
        return [stated] if isinstance(stated, str) else [str(mode) for mode in stated]
    on = [mode for switch, mode in _POOLING_SWITCHES.items() if values.get(switch) is True]
    nothing_said = not any(switch in values for switch in _POOLING_SWITCHES)
    return ["mean"] if nothing_said else on
