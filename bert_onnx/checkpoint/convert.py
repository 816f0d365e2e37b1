"""Converts a pickle checkpoint (pytorch_model.bin) to model.safetensors, without ever running code from it."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_onnx.checkpoint.header import METADATA
from bert_onnx.checkpoint.names import listed
from bert_onnx.checkpoint.reading import (
    INDEX_FILE,
    PICKLE_ENDINGS,
    SHARDED_PICKLE,
    SINGLE_FILE,
    pickle_names,
    read_index,
)
from bert_onnx.checkpoint.saving import dtype_names, write_safetensors
from bert_onnx.checkpoint.sentence_weights import module_weight_folders
from bert_onnx.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

#: The name under which transformers saves a pickle; looked for first.
PICKLE_FILE = "pytorch_model.bin"
#: Wrappers of training programs: the key under which the state dict lies.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")


def convert_checkpoint(folder: str | os.PathLike[str]) -> tuple[Path, ...]:
    """`convert_weights` for `folder` and for the modules that its modules.json names, wherever there are pickles only.

    Raises:
        As `convert_weights`; for `folder` itself where there is nothing to convert.
    """
    place = Path(folder)
    folders = [one for one in (place, *module_weight_folders(place)) if _has_pickles_only(one)]
    return tuple(convert_weights(one) for one in folders or [place])


def _has_pickles_only(folder: Path) -> bool:
    if not folder.is_dir() or (folder / SINGLE_FILE).exists() or (folder / INDEX_FILE).exists():
        return False
    return bool(pickle_names(path.name for path in folder.iterdir() if path.is_file()))


def convert_weights(folder: str | os.PathLike[str]) -> Path:
    """Write `folder`/model.safetensors from the pickle in `folder`, or its shards, which stay. Returns the new file.

    The pickle is opened with torch's `weights_only`, which builds tensors and plain containers and refuses
    everything else; there is no other way in. Names are kept; tensors that share their storage are written once
    where they are equal in shape, else each by itself.

    Raises:
        CheckpointError: no pickle, several, one that is refused, or weights in safetensors already.
        StorageError: the disk does not take the new file.
    """
    place = Path(folder)
    tensors: dict[str, Tensor] = {}
    for source in _find_pickles(place):
        state = _state_dict(source)
        _check_kinds(source, state)
        state = _without_aliases(state)
        _check_size(source, state)
        if twice := sorted(state.keys() & tensors.keys()):
            raise CheckpointError(f"{source} holds tensors that another shard has, too: {listed(twice)}.")
        tensors |= state
    target = place / SINGLE_FILE
    write_safetensors(tensors, target)
    return target


def _find_pickles(folder: Path) -> tuple[Path, ...]:
    """The pickle, or its shards."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; name the one that holds {PICKLE_FILE}.")
    for name in (SINGLE_FILE, INDEX_FILE):
        if (folder / name).exists():
            raise CheckpointError(f"{folder} has {name} already; there is nothing to convert.")
    if (folder / PICKLE_FILE).is_file():
        return (folder / PICKLE_FILE,)
    if (folder / SHARDED_PICKLE).exists():
        names = sorted(set(read_index(folder / SHARDED_PICKLE, ".bin").values()))
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise CheckpointError(
                f"{folder / SHARDED_PICKLE} names {len(missing)} shard(s) that {folder} lacks: {listed(missing)}; "
                "fetch them, too."
            )
        return tuple(folder / name for name in names)
    others = pickle_names(path.name for path in folder.iterdir() if path.is_file())
    if len(others) != 1:
        found = listed(others) or "none"
        raise CheckpointError(
            f"{folder} has no {PICKLE_FILE}, and not exactly one other file ending in {', '.join(PICKLE_ENDINGS)} "
            f"(found: {found}); name the file to convert {PICKLE_FILE}."
        )
    return (folder / others[0],)


def _state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a pickle by name."""

    values = _load(path)
    for wrapper in _WRAPPERS:
        if isinstance(values, dict) and isinstance(values.get(wrapper), dict):
            values = values[wrapper]
    if not isinstance(values, dict) or not values:
        raise CheckpointError(f"{path} does not hold a state dict, but {type(values).__name__}.")
    strangers = [repr(name) for name, value in values.items() if not _is_named_tensor(name, value)]
    if strangers:
        raise CheckpointError(f"{path} holds things that are not named tensors: {listed(strangers)}.")
    return values


def _is_named_tensor(name: Any, value: Any) -> bool:
    """Whether safetensors can hold the pair: a name of proper text other than that of its metadata, and a tensor."""
    import torch

    if not isinstance(name, str) or name == METADATA or any("\ud800" <= letter <= "\udfff" for letter in name):
        return False
    return isinstance(value, torch.Tensor)


def _load(path: Path) -> Any:
    import torch

    try:
        mapped = zipfile.is_zipfile(path)  # the format before torch 1.6 is not a zip file and cannot be mapped
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice to its developers
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line or "nsupported" in line), "")
        raise CheckpointError(
            f"{path} is refused, since it holds more than tensors and opening it could run code"
            f"{': ' + reason.strip()[:200] if reason else ''}; get the checkpoint as safetensors from its author."
        ) from None
    except MemoryError:
        raise CheckpointError(f"{path} claims more memory than there is; it is damaged.") from None
    except Exception as error:  # a damaged file makes torch raise many kinds
        first = (str(error).splitlines() or [""])[0]
        raise CheckpointError(
            f"{path} cannot be read as a torch file ({type(error).__name__}: {first[:160]})."
        ) from None


def _check_kinds(path: Path, tensors: dict[str, Tensor]) -> None:
    """Plain dense tensors of the dtypes that safetensors has."""
    import torch

    dtypes = dtype_names()
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.dtype not in dtypes:
            raise CheckpointError(
                f"{path} holds {name!r} as a {tensor.device.type} tensor of layout {tensor.layout} and type "
                f"{tensor.dtype}, which safetensors does not store."
            )


def _check_size(path: Path, tensors: dict[str, Tensor]) -> None:
    """The data is in the file: a stride of 0 can claim terabytes of a few bytes."""
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if claimed > path.stat().st_size:
        raise CheckpointError(
            f"{path} claims {claimed} bytes of tensors but has only {path.stat().st_size}; it is damaged or made to "
            "exhaust the disk."
        )


def _without_aliases(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` without second names of the very same data, such as a tied decoder; the first name stays."""
    kept: dict[str, Tensor] = {}
    seen: set[tuple[Any, ...]] = set()
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if tensor.numel() and key in seen:
            continue
        seen.add(key)
        kept[name] = tensor
    return kept
