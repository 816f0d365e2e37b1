"""Writes model.safetensors, tensor by tensor, so that no second copy of the weights is in memory, but for stacks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bert_onnx.checkpoint.header import DTYPE_SIZES, METADATA
from bert_onnx.checkpoint.reading import SINGLE_FILE
from bert_onnx.checkpoint.stacks import stacked
from bert_onnx.errors import StorageError

if TYPE_CHECKING:
    import torch

    from bert_onnx.modeling.pretrained import BertPreTrainedModel


def save_weights(model: BertPreTrainedModel, folder: str | os.PathLike[str]) -> Path:
    """Write the state of `model` to `folder`/model.safetensors under the names of its family, tied tensors once.

    The file appears whole or not at all. Equal states give equal bytes.

    Raises:
        StorageError: the disk does not take it; a file that was there before is untouched.
    """
    state: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:  # tied parameters are one object under several names
            seen.add(id(tensor))
            state[model.config.family.tensor_name(name)] = tensor
    path = Path(folder) / SINGLE_FILE
    write_safetensors(stacked(state, model.config.family), path)
    return path


def write_safetensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write `tensors` to `path` atomically, the widest dtypes first so that each tensor is aligned.

    Raises:
        StorageError: the disk does not take it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(tensors, temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error.strerror}; nothing was changed.") from None


def _write(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    names = dtype_names()
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {METADATA: {"format": "pt"}}
    position = 0
    for name in order:
        tensor = tensors[name]
        dtype = names[tensor.dtype]
        end = position + tensor.numel() * DTYPE_SIZES[dtype]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(_bytes(tensors[name]))
        file.flush()
        os.fsync(file.fileno())


def _bytes(tensor: torch.Tensor) -> memoryview:
    """The data of a tensor; a view of its own memory where it lies contiguous on the CPU."""
    import torch

    flat = tensor.detach().cpu().contiguous().view(-1)
    return flat.view(torch.uint8).numpy().data


def dtype_names() -> dict[torch.dtype, str]:
    """The format's name of each torch dtype that is written."""
    import torch

    return {
        torch.float32: "F32",
        torch.float16: "F16",
        torch.bfloat16: "BF16",
        torch.float64: "F64",
        torch.int64: "I64",
        torch.int32: "I32",
        torch.int16: "I16",
        torch.int8: "I8",
        torch.uint8: "U8",
        torch.bool: "BOOL",
    }
