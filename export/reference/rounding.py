"""How far eager float32 is from the same model in float64: the rounding error that a graph is judged by.

Float32 results of one model differ by the order of their sums, and in an ill-conditioned model they differ much. So
neither can be the truth. The eager model in float64 is: its own rounding is 2^29 times smaller.

    error = float32(eager32(inputs) - eager64(inputs))        kept in float32, since it is small itself

Modules compute in float64 one after the other: a hook widens the parameters of a module just before it runs and puts
the float32 ones back behind it, so that memory grows by one layer, not by a second model. Layers of one size take turns
in the same memory, since memory that is new each time costs more than the conversion. Embedding tables are looked
up in float32 and what they give is widened, which is the same. Rows of a batch do not depend on each other: of large
batches the last row runs alone, and cases of one length run as one batch.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bert_onnx.tasks import BATCH, Port
from export.reference.computed import Arrays
from export.reference.fused import fused_attention

#: Most tokens of a case that run in float64 with all of its rows; of a larger one the last row runs.
_WHOLE_BATCH_TOKENS = 128


def float64_rows(inputs: Arrays) -> slice:
    """The rows of `inputs` [B, ...] to compute in float64."""
    ids = inputs["input_ids"]
    return slice(0, None) if ids.size <= _WHOLE_BATCH_TOKENS else slice(len(ids) - 1, None)


def run_together(inputs: Sequence[Port], given: Arrays) -> Hashable:
    """A key that is equal for cases whose rows can run in float64 as one batch, which widens every layer once."""
    rows = float64_rows(given)
    return tuple(
        given[port.name][rows].shape[1:] if port.axes[0] == BATCH else given[port.name].tobytes() for port in inputs
    )


def rounding_errors(
    module: nn.Module, inputs: Sequence[Port], outputs: Sequence[Port], cases: Sequence[tuple[Arrays, Arrays]]
) -> list[dict[str, np.ndarray]]:
    """For each of `cases` the errors of its outputs, in the rows that run in float64.

    Args:
        module: takes and returns tensors for the ports `inputs` and `outputs`, in order.
        cases: what was given to `module` in float32, and what it returned; all of one key of `run_together`.
    """
    rows = [float64_rows(given) for given, _ in cases]
    tensors = [torch.from_numpy(_joined(port, cases, rows)) for port in inputs]
    with torch.inference_mode(), _in_float64(module), fused_attention(module):
        wide = module(*(tensor.double() if tensor.is_floating_point() else tensor for tensor in tensors))
    errors: list[dict[str, np.ndarray]] = [{} for _ in cases]
    begin = 0
    for own, (given, narrow), part in zip(errors, cases, rows, strict=True):
        count = len(given["input_ids"][part])
        for port, tensor in zip(outputs, wide, strict=True):
            if tensor.is_floating_point():
                exact = tensor[begin : begin + count].numpy()
                own[port.name] = (narrow[port.name][-count:] - exact).astype(np.float32)
        begin += count
    return errors


def _joined(port: Port, cases: Sequence[tuple[Arrays, Arrays]], rows: Sequence[slice]) -> np.ndarray:
    """An input of all cases; without a batch axis, such as the length of a prompt, it is the same for all."""
    if port.axes[0] != BATCH:
        return cases[0][0][port.name]
    return np.concatenate([given[port.name][part] for (given, _), part in zip(cases, rows, strict=True)])


@contextmanager
def _in_float64(module: nn.Module) -> Iterator[None]:
    """While this is entered, every submodule of `module` computes in float64."""
    handles, wide = [], _WideParameters()
    for part in module.modules():
        if isinstance(part, nn.Embedding):
            handles.append(part.register_forward_hook(_widen_output))
        elif any(parameter is not None and parameter.is_floating_point() for parameter in part._parameters.values()):
            handles.append(part.register_forward_pre_hook(wide.widen))
            handles.append(part.register_forward_hook(wide.restore, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _widen_output(part: nn.Module, given: Any, output: Tensor) -> Tensor:
    return output.double()


class _WideParameters:
    """Float64 copies of the parameters of the modules that run now, in memory that those before them had."""

    def __init__(self) -> None:
        self._narrow: dict[nn.Module, dict[str, nn.Parameter | None]] = {}
        self._free: dict[torch.Size, list[nn.Parameter]] = {}

    def widen(self, part: nn.Module, given: Any) -> None:
        self._narrow[part] = dict(part._parameters)
        for name, parameter in self._narrow[part].items():
            if parameter is not None and parameter.is_floating_point():
                part._parameters[name] = self._copy(parameter)

    def restore(self, part: nn.Module, given: Any, output: Any) -> None:
        narrow = self._narrow.pop(part)
        for name, parameter in part._parameters.items():
            if parameter is not None and parameter is not narrow[name]:
                self._free[parameter.shape].append(parameter)
        part._parameters.update(narrow)

    def _copy(self, parameter: nn.Parameter) -> nn.Parameter:
        free = self._free.setdefault(parameter.shape, [])
        if not free:
            return nn.Parameter(parameter.double(), requires_grad=False)
        wide = free.pop()
        wide.copy_(parameter)
        return wide
