"""The JSON files of a sentence-transformers folder, read as they stand: modules.json, and what several of them have."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bert_onnx.config import CONFIG_NAME
from bert_onnx.errors import CheckpointError
from bert_onnx.sentence_modules import ACTIVATIONS

MODULES_FILE = "modules.json"
SETTINGS_FILE = "config_sentence_transformers.json"

WAY_OUT = "choose a pooling yourself by --pooling, with --normalize or --no-normalize, or export another --task"
#: What PyLate's folders state as their similarity.
MAX_SIM = "MaxSim"
_LIBRARY, _PYLATE = "sentence_transformers.", "pylate."
#: Classes of the module that reads texts; the second one gives logits, as the first does where its config says so.
TRANSFORMERS = ("Transformer", "MLMTransformer")
#: Modules that are something else than a BERT with what stands behind it, and what a user may do.
_ROUTES = (
    "one model for queries and another one for documents; open it with sentence-transformers, save each that is a "
    "transformer as a model of its own, and export those: "
    "type(model)(modules=[*model[0].sub_modules['document']]).save_pretrained(FOLDER)"
)
_OTHERS = {
    "Router": _ROUTES,
    "Asym": _ROUTES,
    "StaticEmbedding": "a table of one vector a token: there is no transformer in it",
    "BoW": "counts of words: there is no transformer in it",
    "SparseAutoEncoder": f"an autoencoder behind an embedding (CSR), which bert-onnx does not compute; {WAY_OUT}",
    "SparseStaticEmbedding": "a table of one weight a token: there is no transformer in it",
}


@dataclass(frozen=True)
class ModuleEntry:
    """An entry of modules.json: the last part of its class, its folder within the checkpoint, and whether the class is
    PyLate's rather than sentence-transformers'."""

    kind: str
    folder: str
    pylate: bool = False


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


def transformer_folder(root: Path) -> Path:
    """`root`; or where old versions of sentence-transformers put the transformer within it, such as 0_Transformer.

    Raises:
        CheckpointError: as `module_entries` and `refuse_others`.
    """
    entries = None if (root / CONFIG_NAME).exists() else module_entries(root)
    refuse_others(root / MODULES_FILE, entries or ())
    return root / entries[0].folder if entries and entries[0].kind in TRANSFORMERS else root


def refuse_others(path: Path, entries: Sequence[ModuleEntry]) -> None:
    """Raises CheckpointError where one of `entries` of `path` is something else than a transformer and what stands
    behind it; the message has the way on."""
    for entry in entries:
        if entry.kind in _OTHERS:
            raise CheckpointError(f"{path} has a {entry.kind}, {_OTHERS[entry.kind]}.")


def _entry(path: Path, value: Any) -> ModuleEntry:
    kind = value.get("type") if isinstance(value, dict) else None
    place = value.get("path", "") if isinstance(value, dict) else None
    if not isinstance(kind, str) or not isinstance(place, str):
        raise CheckpointError(f"{path} has an entry without type and path: {str(value)[:120]}; {WAY_OUT}.")
    if ".." in PurePosixPath(place).parts or place.startswith("/") or set(place) & set("\\:\0"):
        raise CheckpointError(f"{path} names the path {place[:120]!r}, which leads out of its folder.")
    if not kind.startswith((_LIBRARY, _PYLATE)):
        raise CheckpointError(
            f"{path} names {kind[:120]!r}, a class of the checkpoint's own, whose code is never run; {WAY_OUT}."
        )
    return ModuleEntry(kind.rpartition(".")[2], place, kind.startswith(_PYLATE))


def read_json(path: Path) -> Any:
    """The JSON document in `path`. Raises CheckpointError: it cannot be read, or is none."""
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; {WAY_OUT}.") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path} is not proper JSON; {WAY_OUT}.") from None


def read_size(values: Mapping[str, Any], key: str) -> int:
    """The whole number above 0 that `values` has for `key`. Raises ValueError: it has none."""
    size = values.get(key)
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size < 2**31:
        raise ValueError(f"{key} is {str(size)[:80]}, which is not a size")
    return size


def torch_activation(path: Any, key: str, known: Sequence[str] = ACTIVATIONS) -> str:
    """The class of torch.nn that the path of an activation ends with.

    Args:
        path: what a config has for `key`.
        known: the classes that may be named.

    Raises:
        ValueError: it is the path of something else.
    """
    package, _, name = path.rpartition(".") if isinstance(path, str) else ("", "", "")
    if name not in known or package not in ("torch.nn", "torch.nn.modules.activation", "torch.nn.modules.linear"):
        shown = str(path)[:120]
        raise ValueError(
            f"{key} {shown!r} is no activation of torch.nn that needs no arguments; those are {', '.join(known)}"
        )
    return name
