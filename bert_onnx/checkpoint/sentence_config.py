"""The chain of modules that a sentence-transformers folder states.

Class names are those of any version of the library: `sentence_transformers.models.Pooling` as well as
`sentence_transformers.sentence_transformer.modules.pooling.Pooling`; the last part counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.errors import CheckpointError, UsageError
from bert_onnx.sentence_modules import (
    ACTIVATIONS,
    SENTENCE,
    Dense,
    LayerNorm,
    Module,
    Normalize,
    Pooling,
    embedding_width,
)

MODULES_FILE = "modules.json"

#: Switches of an old pooling config -> mode; the library joins those that are on in this order.
_POOLING_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_LIBRARY = "sentence_transformers."
#: What the library takes for an activation that it does not trust, or that nobody named.
_DEFAULT_ACTIVATION = "Tanh"
WAY_OUT = "choose a pooling yourself by --pooling, with --normalize or --no-normalize, or export another --task"


@dataclass(frozen=True)
class ModuleEntry:
    """An entry of modules.json: the last part of its class, and its folder within the checkpoint."""

    kind: str
    folder: str


def read_modules(checkpoint: Checkpoint) -> tuple[Module, ...] | None:
    """What modules.json puts behind the transformer; None where there is no such file, or nothing stands there.

    Raises:
        CheckpointError: one of the files is damaged, or states something that bert-onnx does not compute.
    """
    entries = module_entries(checkpoint.root)
    if entries is None:
        return None
    path = checkpoint.root / MODULES_FILE
    if entries[0].kind != "Transformer":
        raise CheckpointError(f"{path} begins with {entries[0].kind}, not with a Transformer; {WAY_OUT}.")
    modules: list[Module] = []
    for entry in entries[1:]:
        if entry.kind == "Dropout":  # does nothing at inference
            continue
        if entry.kind not in _READERS:
            raise CheckpointError(
                f"{path} has the module {entry.kind}, and bert-onnx computes {', '.join(_READERS)} behind a "
                f"Transformer; {WAY_OUT}."
            )
        modules.append(_read_module(checkpoint.root, entry))
    if not modules:
        return None
    try:
        embedding_width(modules, checkpoint.config.hidden_size)
    except UsageError as error:
        raise CheckpointError(f"{path}: {str(error).rstrip('.')}; {WAY_OUT}.") from None
    return tuple(modules)


def module_entries(root: Path) -> tuple[ModuleEntry, ...] | None:
    """The entries of modules.json, in order; None where there is no such file.

    Raises:
        CheckpointError: it is damaged, names a folder outside `root`, or a class of the checkpoint's own.
    """
    path = root / MODULES_FILE
    if not path.is_file():
        return None
    values = read_json(path)
    if not isinstance(values, list) or not values:
        raise CheckpointError(f"{path} is not a list of modules; {WAY_OUT}.")
    return tuple(_entry(path, value) for value in values)


def _entry(path: Path, value: Any) -> ModuleEntry:
    kind = value.get("type") if isinstance(value, dict) else None
    place = value.get("path", "") if isinstance(value, dict) else None
    if not isinstance(kind, str) or not isinstance(place, str):
        raise CheckpointError(f"{path} has an entry without type and path: {str(value)[:120]}; {WAY_OUT}.")
    if ".." in PurePosixPath(place).parts or place.startswith("/") or set(place) & set("\\:\0"):
        raise CheckpointError(f"{path} names the path {place[:120]!r}, which leads out of its folder.")
    if not kind.startswith(_LIBRARY):
        raise CheckpointError(
            f"{path} names {kind[:120]!r}, a class of the checkpoint's own, whose code is never run; {WAY_OUT}."
        )
    return ModuleEntry(kind.rpartition(".")[2], place)


def read_json(path: Path) -> Any:
    """The JSON document in `path`. Raises CheckpointError: it cannot be read, or is none."""
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; {WAY_OUT}.") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path} is not proper JSON; {WAY_OUT}.") from None


def _read_module(root: Path, entry: ModuleEntry) -> Module:
    path = root / entry.folder / "config.json"
    if entry.kind == "Normalize":
        return Normalize()
    values = read_json(path)
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not a JSON object; {WAY_OUT}.")
    try:
        return _READERS[entry.kind](values, entry.folder)
    except (UsageError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: {str(error).rstrip('.')}; {WAY_OUT}.") from None


def _pooling(values: Mapping[str, Any], folder: str) -> Pooling:
    stated = values.get("pooling_mode")
    if stated is None:
        stated = [mode for switch, mode in _POOLING_SWITCHES.items() if values.get(switch)] or ["mean"]
    modes = [stated] if isinstance(stated, str) else stated
    if not isinstance(modes, list) or not all(isinstance(mode, str) for mode in modes):
        raise ValueError(f"pooling_mode is {str(stated)[:80]}, neither a name nor a list of names")
    return Pooling(tuple(modes), bool(values.get("include_prompt", True)))


def _dense(values: Mapping[str, Any], folder: str) -> Dense:
    reads = values.get("module_input_name") or SENTENCE
    writes = values.get("module_output_name") or reads
    if not isinstance(reads, str) or not isinstance(writes, str):
        raise ValueError("module_input_name and module_output_name must be names")
    sizes = read_size(values, "in_features"), read_size(values, "out_features")
    return Dense(folder, *sizes, bool(values.get("bias", True)), _activation(values), reads, writes)


def _layer_norm(values: Mapping[str, Any], folder: str) -> LayerNorm:
    return LayerNorm(folder, read_size(values, "dimension"))


def read_size(values: Mapping[str, Any], key: str) -> int:
    """The whole number above 0 that `values` has for `key`. Raises ValueError: it has none."""
    size = values.get(key)
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size < 2**31:
        raise ValueError(f"{key} is {str(size)[:80]}, which is not a size")
    return size


def _activation(values: Mapping[str, Any]) -> str:
    """The class of torch.nn that the path of an activation ends with; Tanh for code that the library does not trust."""
    path = values.get("activation_function", f"torch.nn.{_DEFAULT_ACTIVATION}")
    if not isinstance(path, str):
        raise ValueError(f"activation_function is {str(path)[:80]}, not the path of a class")
    if not path.startswith("torch."):
        return _DEFAULT_ACTIVATION
    package, _, name = path.rpartition(".")
    if name not in ACTIVATIONS or package not in ("torch.nn", "torch.nn.modules.activation", "torch.nn.modules.linear"):
        raise ValueError(
            f"activation_function {path[:120]!r} is no activation of torch.nn that needs no arguments; those are "
            f"{', '.join(ACTIVATIONS)}"
        )
    return name


_READERS: dict[str, Callable[[Mapping[str, Any], str], Module]] = {
    "Pooling": _pooling,
    "Dense": _dense,
    "LayerNorm": _layer_norm,
    "Normalize": lambda values, folder: Normalize(),
}
