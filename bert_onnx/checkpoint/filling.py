"""Reads tensor data straight into the memory of parameters. Loads torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from bert_onnx.checkpoint.header import TensorInfo
from bert_onnx.checkpoint.planning import Slot
from bert_onnx.errors import CheckpointError

_DTYPES: dict[str, torch.dtype] = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F64": torch.float64,
}
#: Bytes read and checked at a time: nearly all the memory that loading needs beside the parameters.
_CHUNK_BYTES = 1 << 20


@torch.no_grad()
def fill(model: nn.Module, reads: Sequence[tuple[Slot, TensorInfo]], mapped: bool) -> None:
    """Read each tensor into its parameter; for `mapped` see `load_weights`.

    Raises:
        CheckpointError: the data ends early, holds NaN or infinity, or exceeds the range of the model's dtype.
    """
    scratch = torch.empty(_CHUNK_BYTES, dtype=torch.uint8)
    for slot, tensor in reads:
        if mapped and _map(model, slot, tensor):
            continue
        parameter = _with_memory(model, slot.names)
        target = parameter.detach()
        flat = target.view(-1) if target.is_contiguous() else torch.empty(target.numel(), dtype=target.dtype)
        for start, chunk in _chunks(tensor, flat, scratch):
            _check_finite(tensor, chunk, start, "")
            part = flat[start : start + chunk.numel()]
            if chunk.data_ptr() != part.data_ptr():
                part.copy_(chunk)
                _check_finite(tensor, part, start, f" in {str(target.dtype).removeprefix('torch.')}")
        if not target.is_contiguous():
            target.copy_(flat.view(target.shape))


def same_values(first: TensorInfo, second: TensorInfo) -> bool:
    """Whether two tensors of files hold the same numbers in the same type."""
    if first.dtype != second.dtype:
        return False  # how much they differ by rounding is not worth telling apart
    one, two = (torch.empty(_CHUNK_BYTES, dtype=torch.uint8) for _ in range(2))
    pairs = zip(_chunks(first, None, one), _chunks(second, None, two), strict=True)
    return all(torch.equal(left, right) for (_, left), (_, right) in pairs)


def _with_memory(model: nn.Module, names: tuple[str, ...]) -> nn.Parameter:
    """The parameter of that name; from the meta device it moves to the CPU first, under all its names."""
    parameter = model.get_parameter(names[0])
    if not parameter.is_meta:
        return parameter
    memory = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
    return _set_parameter(model, names, nn.Parameter(memory, requires_grad=parameter.requires_grad))


def _set_parameter(model: nn.Module, names: tuple[str, ...], parameter: nn.Parameter) -> nn.Parameter:
    for name in names:
        path, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(path), leaf, parameter)
    return parameter


def _map(model: nn.Module, slot: Slot, tensor: TensorInfo) -> bool:
    """Let the parameter of `slot` lie in the file; False where those are other numbers, or cannot be mapped."""
    old = model.get_parameter(slot.names[0])
    dtype = _DTYPES[tensor.dtype]
    if dtype != old.dtype or not tensor.nbytes or tensor.offset % dtype.itemsize:
        return False
    try:
        data = np.memmap(tensor.file, np.uint8, "c", tensor.offset, tensor.nbytes)
    except (OSError, ValueError):  # no such mapping here; reading says what is wrong with the file
        return False
    values = torch.from_numpy(data).view(dtype)
    _check_finite(tensor, values, 0, "")
    _set_parameter(model, slot.names, nn.Parameter(values.view(old.shape), requires_grad=old.requires_grad))
    return True


def _chunks(tensor: TensorInfo, flat: Tensor | None, scratch: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(index of the first element, elements) of the tensor's data, piece by piece.

    The pieces are slices of `flat` itself where it can be read into as it is, else lie in `scratch`.
    """
    dtype = _DTYPES[tensor.dtype]
    direct = flat is not None and flat.dtype == dtype and flat.device.type == "cpu"
    count, step = tensor.nbytes // dtype.itemsize, _CHUNK_BYTES // dtype.itemsize
    buffer = scratch.view(dtype)
    try:
        with open(tensor.file, "rb", buffering=0) as file:
            file.seek(tensor.offset)
            for start in range(0, count, step):
                size = min(step, count - start)
                piece = flat[start : start + size] if direct and flat is not None else buffer[:size]
                _read_exactly(file, piece, tensor)
                yield start, piece
    except OSError as error:
        raise CheckpointError(f"{tensor.file} cannot be read: {error.strerror}.") from None


def _read_exactly(file: BinaryIO, piece: Tensor, tensor: TensorInfo) -> None:
    view = piece.view(torch.uint8).numpy().data
    while view.nbytes:
        count = file.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise CheckpointError(f"{tensor.file} ended while tensor {tensor.name!r} was read; fetch or save it again.")
        view = view[count:]


def _check_finite(tensor: TensorInfo, chunk: Tensor, start: int, where: str) -> None:
    """NaN or infinity anywhere makes the sum non-finite: one pass without temporaries in the usual case."""
    if bool(torch.isfinite(chunk.sum(dtype=torch.float32))):
        return
    bad = torch.nonzero(~torch.isfinite(chunk)).view(-1)
    if not len(bad):  # finite values whose sum is not
        return
    first = [int(index) for index in torch.unravel_index(bad[0] + start, tensor.shape)]
    raise CheckpointError(
        f"tensor {tensor.name!r} of {tensor.file} holds {float(chunk[bad[0]])}{where} at index {first}, and at least "
        f"{len(bad)} such value(s) in all; the checkpoint is damaged or its training diverged."
    )
