"""Which files hold the weights of a folder (one file, or shards with an index), and which tensors they hold."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from bert_onnx.artifact.contract.hashing import hash_file
from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.header import TensorInfo, read_header
from bert_onnx.checkpoint.names import listed
from bert_onnx.checkpoint.other_weights import described, refuse_adapter
from bert_onnx.errors import CheckpointError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
SHARDED_PICKLE = "pytorch_model.bin.index.json"
#: Endings of the pickle formats, which can run code when opened and are never opened here.
PICKLE_ENDINGS = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
#: Pickles that training programs leave beside the weights.
_NOT_WEIGHTS = frozenset({"training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "scaler.pt"})
_NOT_WEIGHTS_FIRST = ("rng_state", "openvino_", "adapter_model")
_MAX_INDEX_BYTES = 16 * 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")


def tensor_names(checkpoint: Checkpoint) -> Mapping[str, TensorInfo]:
    """The tensors of a checkpoint by the names in its files, with shape and dtype; no data is read.

    Random weights have no files: the mapping is empty.

    Raises:
        CheckpointError: a weight file is missing or damaged.
    """
    return {} if checkpoint.source.kind == "random" else read_tensors(checkpoint.folder)


def read_tensors(folder: Path) -> dict[str, TensorInfo]:
    """The tensors of `folder`'s weight file or shards by name. Raises CheckpointError as `tensor_names`."""
    first, *shards = weight_files(folder)
    if first.name == SINGLE_FILE:
        return read_header(first)
    weight_map = read_index(first)
    tensors: dict[str, TensorInfo] = {}
    for shard in shards:
        for name, tensor in read_header(shard).items():
            if name in tensors:
                raise CheckpointError(
                    f"tensor {name!r} lies in two shards, {tensors[name].file.name} and {shard.name}, of {folder}; "
                    "fetch or save the checkpoint again."
                )
            tensors[name] = tensor
    _check_index(first, weight_map, tensors)
    return tensors


def weight_files(folder: Path) -> tuple[Path, ...]:
    """model.safetensors; or the index followed by its shards in the order of their names.

    Raises:
        CheckpointError: the folder has no weights, has them in a pickle format only, or lacks a shard.
    """
    if (folder / SINGLE_FILE).is_file():
        return (folder / SINGLE_FILE,)
    index = folder / INDEX_FILE
    if not index.is_file():
        raise _no_weights(folder)
    names = sorted(set(read_index(index).values()))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{index} names {len(missing)} shard(s) that {folder} lacks: {listed(missing)}.")
    return (index, *(folder / name for name in names))


def weights_digest(files: tuple[Path, ...]) -> str:
    """sha256 of `weight_files`, as `Source.weights_sha256` defines it.

    Raises:
        CheckpointError: a file cannot be read.
    """
    try:
        digests = [hash_file(path).sha256 for path in files]
        for path, digest in zip(files, digests, strict=True):
            _check_cached(path, digest)
    except OSError as error:
        raise CheckpointError(f"{error.filename or files[0]} cannot be read: {error.strerror}.") from None
    if len(files) == 1:
        return digests[0]
    lines = sorted((path.name, digest) for path, digest in zip(files, digests, strict=True))
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in lines).encode()).hexdigest()


def _check_cached(path: Path, digest: str) -> None:
    """The hub's cache links large files to blobs that are named by their sha256."""
    blob = path.resolve()
    if blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name) and blob.name != digest:
        raise CheckpointError(f"{path} differs from what the hub published; delete {blob} and fetch it again.")


def pickle_names(names: Iterable[str]) -> list[str]:
    """Those of the file `names` that are weights in a pickle format, by their endings; sorted."""
    return sorted(
        name
        for name in names
        if name.endswith(PICKLE_ENDINGS) and name not in _NOT_WEIGHTS and not name.startswith(_NOT_WEIGHTS_FIRST)
    )


def _no_weights(folder: Path) -> CheckpointError:
    names = [path.name for path in folder.iterdir() if path.is_file()]
    refuse_adapter(folder)
    pickles = pickle_names(names)
    if pickles or SHARDED_PICKLE in names:
        return CheckpointError(
            f"{folder} has its weights in a pickle format only ({listed(pickles or [SHARDED_PICKLE], 3)}), which can "
            f"run code when it is opened; convert them once with: bert-onnx convert-weights {folder}"
        )
    other = described(names, str(folder))
    looked = f"; looked for {SINGLE_FILE} and {INDEX_FILE}" if other is None else f" in safetensors: {other}"
    return CheckpointError(f"{folder} has no weights{looked}.")


def read_index(path: Path, ending: str = ".safetensors") -> dict[str, str]:
    """Tensor name -> shard file name, each with the `ending`.

    Raises:
        CheckpointError: for anything but plain names in this folder.
    """
    try:
        if path.stat().st_size > _MAX_INDEX_BYTES:
            raise CheckpointError(f"{path} has {path.stat().st_size} bytes; at most {_MAX_INDEX_BYTES} are read.")
        values = json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path} is not proper JSON; fetch or save the checkpoint again.") from None
    weight_map = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path} has no weight_map that says which shard holds which tensor.")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not _is_plain_name(shard, ending):
            raise CheckpointError(
                f"{path} puts tensor {name!r} into {str(shard)[:80]!r}, which is not the plain name of a "
                f"{ending} file beside it."
            )
    return weight_map


def _is_plain_name(name: str, ending: str) -> bool:
    """Whether `name` is a file name without any way out of its folder."""
    return name.endswith(ending) and not set(name) & set("/\\:\0") and not name.startswith(".")


def _check_index(index: Path, weight_map: Mapping[str, str], tensors: Mapping[str, TensorInfo]) -> None:
    """Index and shards say the same."""
    for name, shard in weight_map.items():
        if name not in tensors:
            raise CheckpointError(f"{index} puts tensor {name!r} into {shard}, which does not hold it.")
        if tensors[name].file.name != shard:
            raise CheckpointError(f"{index} puts tensor {name!r} into {shard}, but {tensors[name].file.name} holds it.")
    unlisted = sorted(set(tensors) - set(weight_map))
    if unlisted:
        raise CheckpointError(f"{index} does not list {len(unlisted)} tensor(s) of its shards: {listed(unlisted)}.")
