"""Tensors that hold the rows of several layers, as some families save them, and the parts that the model has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from bert_onnx.checkpoint.header import TensorInfo
from bert_onnx.family import Family

if TYPE_CHECKING:
    import torch


def parts_of_stacks(tensors: Mapping[str, TensorInfo], family: Family) -> dict[str, TensorInfo]:
    """`tensors` by name, with those that `family` stacks in their parts; one whose rows do not divide stays whole.

    A part is a tensor of its own: rows lie one after the other in the file.
    """
    found: dict[str, TensorInfo] = {}
    for name, tensor in tensors.items():
        parts = family.parts_of(name)
        count = len(parts)
        if not tensor.shape or tensor.shape[0] % count or count == 1:
            found[name] = tensor
            continue
        shape, nbytes = (tensor.shape[0] // count, *tensor.shape[1:]), tensor.nbytes // count
        for place, part in enumerate(parts):
            offset = tensor.offset + place * nbytes
            found[part] = replace(tensor, shape=shape, offset=offset, nbytes=nbytes)
    return found


def stacked(tensors: Mapping[str, torch.Tensor], family: Family) -> dict[str, torch.Tensor]:
    """`tensors` by name, with parts that `family` stacks put together; the opposite of `parts_of_stacks`."""
    import torch

    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        whole = family.stack_of(name)
        if whole == name:
            found[name] = tensor
        elif whole not in found:
            found[whole] = torch.cat([tensors[part].detach() for part in family.parts_of(whole)])
    return found
