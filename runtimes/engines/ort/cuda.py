"""ONNX Runtime on an NVIDIA GPU: arrays or device tensors in and out, CUDA graphs on request, never a quiet CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from bert_onnx.errors import InputError
from bert_onnx.tasks import BATCH, SEQUENCE
from runtimes.engines.base import RuntimeOptions, chosen_outputs
from runtimes.engines.graph_file import GraphFile, Opened
from runtimes.engines.guard import GuardedRuntime
from runtimes.engines.inputs import check_shapes
from runtimes.engines.ort.bound_run import BoundRun
from runtimes.engines.ort.cuda_graphs import Bucket, CapturedGraph, cut, find_bucket, pad_to_bucket, padded_bucket
from runtimes.engines.ort.cuda_graphs import check_ports as check_graph_ports
from runtimes.engines.ort.cuda_options import CudaOptions
from runtimes.engines.ort.cuda_session import PROVIDER, GpuSession, open_gpu_session
from runtimes.engines.ort.library import CPU_PROVIDER, import_onnxruntime
from runtimes.engines.ort.session import run_failure, run_session
from runtimes.engines.table import find_runtime
from runtimes.machine.nvidia import require_provider


class OnnxRuntimeCuda(GuardedRuntime[GpuSession]):
    """A session on ONNX Runtime's CUDA provider. With CUDA graphs, one call runs at a time."""

    name = "onnxruntime-cuda"

    @classmethod
    def _open_engine(cls, graph: GraphFile, options: RuntimeOptions) -> Opened[GpuSession]:
        cuda = options.cuda or CudaOptions()
        if cuda.cuda_graphs:
            check_graph_ports(graph.inputs)
        library = import_onnxruntime()
        require_provider(library, PROVIDER, find_runtime(cls.name).install)
        provider = cuda.to_provider(library.__version__)
        return open_gpu_session(library, graph, [(PROVIDER, provider), CPU_PROVIDER], options, cuda)

    def _compute(self, engine: GpuSession, names: list[str], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        options, (batch, length) = engine.options, inputs["input_ids"].shape[-2:]
        bucket = None
        if options.cuda_graphs:
            bucket = find_bucket(batch, length, options.batches, options.lengths, self._longest())
        with engine.turn():
            if bucket is None:
                return self._run_kernels(engine, names, inputs)
            return self._replay(engine, names, inputs, bucket)

    def _run_kernels(
        self, engine: GpuSession, names: list[str], inputs: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """A run without a captured graph, padded to one of few shapes where that was asked for."""
        options = engine.not_captured() if engine.options.cuda_graphs else None
        if not engine.options.pad_shapes or any(port.axes != (BATCH, SEQUENCE) for port in self.inputs):
            return run_session(engine.session, self._guard.model, names, inputs, options)
        batch, length = inputs["input_ids"].shape
        bucket = padded_bucket(batch, length, self._longest())
        results = run_session(engine.session, self._guard.model, names, pad_to_bucket(inputs, bucket), options)
        ports = {port.name: port for port in self.outputs}
        return {name: cut(array, ports[name], batch, length) for name, array in results.items()}

    def _longest(self) -> int | None:
        """How many positions the model has, where that is known."""
        return None if self._guard.limits is None else self._guard.limits.longest_sequence

    def _replay(
        self, engine: GpuSession, names: Sequence[str], inputs: Mapping[str, np.ndarray], bucket: Bucket
    ) -> dict[str, np.ndarray]:
        """A run of the graph captured for `bucket`; the first one captures."""
        key = (bucket.batch, bucket.length)
        try:
            if key not in engine.graphs:
                ports = (self.inputs, self.outputs)
                engine.graphs[key] = CapturedGraph(
                    engine.library, engine.session, ports, bucket, engine.next_graph(), engine.options.device_id
                )
            return engine.graphs[key].run(inputs, names)
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise run_failure(self._guard.model, error) from error

    def run_device(
        self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None, checked: bool = True
    ) -> dict[str, Any]:
        """As `run`, for tensors on the GPU, which are not copied: anything with `__dlpack__`, int64, contiguous.

        Args:
            inputs: tensors of torch, cupy, jax ... by name, on this runtime's GPU. Their stream has been synchronised,
                or is the one of `CudaOptions.stream`.
            outputs: names; None for all.
            checked: copy inputs and outputs to the host for the checks that `run` makes. Leave that out only for
                ids that were checked before: an id out of range reads other memory.

        Returns:
            OrtValues on the GPU, which have `__dlpack__`: `torch.from_dlpack(value)`.

        Raises:
            InputError, UsageError, InferenceError: as `run`.
        """
        engine = self._opened()
        values = self._values(engine, inputs)
        if checked:
            self._guard.enter(_on_host(values), outputs)
        results = self._bind(engine, values, outputs).run(wait=checked or None)
        if checked:
            self._guard.leave(_on_host(results))
        return results

    def bind_device(self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None) -> BoundRun:
        """Tensors on the GPU, as for `run_device` without checks, bound once for many runs into the same outputs.

        With CUDA graphs the first run captures, whatever the shape, and later ones replay. Write new ids into the same
        tensors to compute with them.

        Raises:
            InputError, UsageError: as `run_device`.
        """
        engine = self._opened()
        return self._bind(engine, self._values(engine, inputs), outputs, capture=engine.options.cuda_graphs)

    def _values(self, engine: GpuSession, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _from_dlpack(engine.library, name, tensor) for name, tensor in inputs.items()}

    def _bind(
        self, engine: GpuSession, values: Mapping[str, Any], outputs: Sequence[str] | None, capture: bool = False
    ) -> BoundRun:
        names = chosen_outputs(self.outputs, outputs)
        sizes = check_shapes({name: value.shape() for name, value in values.items()}, self.inputs)
        ports = [port for port in self.outputs if port.name in names]
        try:
            return BoundRun(engine, self._guard.model, ports, values, sizes, capture)
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise run_failure(self._guard.model, error) from error


def _from_dlpack(library: ModuleType, name: str, tensor: Any) -> Any:
    if not hasattr(tensor, "__dlpack__"):
        raise InputError(f"{name} is a {type(tensor).__name__}; a tensor with __dlpack__ is needed here.")
    try:
        value = library.OrtValue.from_dlpack(tensor)
    except Exception as error:
        raise InputError(f"{name} cannot be shared through dlpack: {error}; make it contiguous.") from error
    if value.data_type() != "tensor(int64)":
        raise InputError(f"{name} is a {value.data_type()}; it must be int64.")
    return value


def _on_host(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in values.items()}
