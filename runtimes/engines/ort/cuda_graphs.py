"""CUDA graphs: one capture for each (batch, length) bucket, on buffers that stay where they are.

A captured graph replays kernels with the addresses and shapes of its capture. So each bucket has input and output
buffers of its own on the device; a smaller batch is padded to the bucket, and its part of the outputs is cut out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from bert_onnx.errors import UsageError
from bert_onnx.tasks import BATCH, SEQUENCE, Port

_GRAPH_ID = "gpu_graph_id"
_DO_NOT_WAIT = "disable_synchronize_execution_providers"
#: The number that onnxruntime takes for "do not capture".
NO_GRAPH = -1

#: Operators that wait for the GPU while they run.
_WAITING = frozenset({"RemovePadding"})


@dataclass(frozen=True)
class Bucket:
    """A shape that is captured: B rows of S tokens."""

    batch: int
    length: int


def find_bucket(
    batch: int, length: int, batches: Sequence[int], lengths: Sequence[int], longest: int | None = None
) -> Bucket | None:
    """The smallest bucket that holds `batch` rows of `length` tokens; None where none does.

    None is above `longest`, for which a model has positions.
    """
    rows = next((size for size in batches if size >= batch), None)
    tokens = next((size for size in lengths if size >= length), None)
    if rows is None or tokens is None:
        return None
    return Bucket(rows, tokens if longest is None else min(tokens, longest))


def padded_bucket(batch: int, length: int, longest: int | None) -> Bucket:
    """The shape that B rows of S tokens are padded to where each new shape costs a plan: at most a quarter more.

    Sizes have three significant bits; lengths are multiples of 8, and none is above `longest`.
    """
    tokens = _round_up(length, 8)
    return Bucket(_round_up(batch, 1), tokens if longest is None else min(tokens, longest))


def _round_up(size: int, least: int) -> int:
    step = max(least, 1 << max((size - 1).bit_length() - 3, 0))
    return -(-size // step) * step


def pad_to_bucket(inputs: Mapping[str, np.ndarray], bucket: Bucket) -> dict[str, np.ndarray]:
    """`inputs` [B, S] with padding up to the bucket.

    A row that is all padding gets one real token: a mean over no token is not a number.
    """
    padded = {}
    for name, array in inputs.items():
        full = np.zeros((bucket.batch, bucket.length), array.dtype)
        full[: array.shape[0], : array.shape[1]] = array
        if name == "attention_mask":
            full[array.shape[0] :, 0] = 1
        padded[name] = full
    return padded


def check_ports(inputs: Sequence[Port]) -> None:
    """Refuse a model whose inputs have other axes than batch and sequence.

    Raises:
        UsageError: naming the input.
    """
    for port in inputs:
        if port.axes != (BATCH, SEQUENCE):
            raise UsageError(
                f"CUDA graphs are for models whose inputs are [{BATCH}, {SEQUENCE}]; {port.name} is "
                f"[{', '.join(str(axis) for axis in port.axes)}]. Leave cuda_graphs off for this model."
            )


def check_nodes(operators: Iterable[str], model: str) -> None:
    """Refuse a graph that waits for the GPU in the middle: what follows depends on a number that the host must know.

    Args:
        operators: of its nodes.
        model: the file's name.

    Raises:
        UsageError: naming the operator.
    """
    for operator in operators:
        if operator in _WAITING:
            raise UsageError(
                f"{model} has {operator}, which waits for the GPU to say how many tokens there are, and CUDA graphs "
                "cannot capture that. Leave cuda_graphs off, or take the variant for ort-cuda."
            )


class CapturedGraph:
    """The buffers and the binding of one bucket; the first run captures, later ones replay.

    Args:
        library: the onnxruntime module.
        session: with CUDA graphs enabled.
        ports: inputs and outputs of the graph.
        bucket: the shape.
        number: the graph's id in the session, different for each bucket.
        device_id: the GPU.
    """

    def __init__(
        self,
        library: ModuleType,
        session: Any,
        ports: tuple[Sequence[Port], Sequence[Port]],
        bucket: Bucket,
        number: int,
        device_id: int,
    ) -> None:
        self.bucket = bucket
        self._session = session
        self._options = run_options(library, number)
        self._binding = session.io_binding()
        self._inputs: dict[str, Any] = {}
        self._outputs: dict[str, Any] = {}
        self._ports = {port.name: port for port in ports[1]}
        sizes = {BATCH: bucket.batch, SEQUENCE: bucket.length}
        for port in ports[0]:
            self._inputs[port.name] = buffer(library, port, sizes, device_id)
            self._binding.bind_ortvalue_input(port.name, self._inputs[port.name])
        for port in ports[1]:
            self._outputs[port.name] = buffer(library, port, sizes, device_id)
            self._binding.bind_ortvalue_output(port.name, self._outputs[port.name])

    def run(self, inputs: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
        """The outputs called `names` for `inputs` [B, S], which fit the bucket. Not for several threads at once."""
        batch, length = inputs["input_ids"].shape
        for name, array in pad_to_bucket(inputs, self.bucket).items():
            self._inputs[name].update_inplace(array)
        self._session.run_with_iobinding(self._binding, self._options)
        return {name: cut(self._outputs[name].numpy(), self._ports[name], batch, length) for name in names}


def run_options(library: ModuleType, number: int, wait: bool = True) -> Any:
    """RunOptions that capture or replay the graph `number`, or neither for `NO_GRAPH`.

    Args:
        wait: the run ends when the GPU is done.
    """
    options = library.RunOptions()
    options.add_run_config_entry(_GRAPH_ID, str(number))
    if not wait:
        options.add_run_config_entry(_DO_NOT_WAIT, "1")
    return options


def buffer(library: ModuleType, port: Port, sizes: Mapping[str, int], device_id: int) -> Any:
    """An OrtValue on the GPU for `port`, whose axes have `sizes`."""
    return library.OrtValue.ortvalue_from_shape_and_type(
        list(port.shape(sizes)), np.dtype(port.dtype).type, "cuda", device_id
    )


def cut(array: np.ndarray, port: Port, batch: int, length: int) -> np.ndarray:
    """The part of a padded output that `batch` rows of `length` tokens have."""
    sizes = {BATCH: batch, SEQUENCE: length}
    slices = tuple(slice(sizes.get(axis)) if isinstance(axis, str) else slice(None) for axis in port.axes)
    return array[slices].copy()
