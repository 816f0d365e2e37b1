"""ONNX Runtime on an NVIDIA GPU: arrays or device tensors in and out, CUDA graphs on request, never a quiet CPU."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from bert_onnx.errors import InputError, RuntimeUnavailableError, UsageError
from bert_onnx.tasks import Port
from runtimes.engines.base import RuntimeDescription, RuntimeOptions, chosen_outputs
from runtimes.engines.guard import Guard
from runtimes.engines.inputs import Limits
from runtimes.engines.ort.cuda_graphs import NO_GRAPH, CapturedGraph, find_bucket, run_options
from runtimes.engines.ort.cuda_graphs import check_ports as check_graph_ports
from runtimes.engines.ort.cuda_options import CudaOptions
from runtimes.engines.ort.session import (
    CPU_PROVIDER,
    Providers,
    check_ports,
    guard_of,
    import_onnxruntime,
    nodes_elsewhere,
    open_session,
    run_failure,
    session_options,
)
from runtimes.engines.table import find_runtime
from runtimes.machine.nvidia import require_provider

PROVIDER = "CUDAExecutionProvider"
_NO_CPU = "session.disable_cpu_ep_fallback"


@dataclass(frozen=True)
class GpuSession:
    """An open session and what it was opened with."""

    library: ModuleType
    session: Any
    guard: Guard
    options: CudaOptions
    description: RuntimeDescription


class OnnxRuntimeCuda:
    """A session on ONNX Runtime's CUDA provider."""

    name = "onnxruntime-cuda"

    def __init__(self, opened: GpuSession) -> None:
        self.inputs = opened.guard.inputs
        self.outputs = opened.guard.outputs
        self._opened: GpuSession | None = opened
        self._model = opened.guard.model
        self._description = opened.description
        self._graphs: dict[tuple[int, int], CapturedGraph] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        options: RuntimeOptions | None = None,
        limits: Limits | None = None,
        cuda: CudaOptions | None = None,
    ) -> OnnxRuntimeCuda:
        """A runtime for the graph in `path`, which takes `inputs` and returns `outputs`.

        Raises:
            RuntimeUnavailableError: there is no CUDA provider, driver or GPU here, or a library is missing (named);
                or `cuda.allow_cpu_nodes` is off and the graph has nodes without a CUDA kernel.
            ArtifactError: the file is missing, damaged, or has other inputs or outputs.
        """
        options, cuda = options or RuntimeOptions(), cuda or CudaOptions()
        options.require_compute(cls.name, "fp32")
        if cuda.cuda_graphs:
            check_graph_ports(inputs)
        library = import_onnxruntime()
        require_provider(library, PROVIDER, find_runtime(cls.name).install)
        providers: Providers = [(PROVIDER, cuda.to_provider()), CPU_PROVIDER]
        return cls(open_gpu_session(cls.name, library, Path(path), (inputs, outputs, limits), providers, options, cuda))

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Outputs by name; all of them where `outputs` names none. With CUDA graphs, one call runs at a time.

        Raises:
            InputError: the data does not fit the model.
            UsageError: an output that there is not, or the runtime is closed.
            InferenceError: the graph failed, or the answer is not finite.
        """
        opened = self._require_open()
        names, checked = opened.guard.enter(inputs, outputs)
        try:
            if opened.options.cuda_graphs:
                results = self._run_graph(opened, checked, names)
            else:
                results = dict(zip(names, opened.session.run(names, checked), strict=True))
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise run_failure(self._model, error) from error
        return opened.guard.leave(results)

    def run_device(
        self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None, checked: bool = True
    ) -> dict[str, Any]:
        """As `run`, for tensors on the GPU, which are not copied: anything with `__dlpack__`, int64, contiguous.

        Args:
            inputs: tensors of torch, cupy, jax ... by name, on this runtime's GPU, their stream synchronised.
            outputs: names; None for all.
            checked: copy inputs and outputs to the host for the checks that `run` makes. Leave that out only for
                ids that were checked before: an id out of range reads other memory.

        Returns:
            OrtValues on the GPU, which have `__dlpack__`: `torch.from_dlpack(value)`.

        Raises:
            InputError, UsageError, InferenceError: as `run`.
        """
        opened = self._require_open()
        names = chosen_outputs(self.outputs, outputs)
        values = {name: _from_dlpack(opened.library, name, tensor) for name, tensor in inputs.items()}
        if checked:
            opened.guard.enter(_on_host(values), outputs)
        try:
            results = self._run_bound(opened, values, names)
        except Exception as error:
            raise run_failure(self._model, error) from error
        if checked:
            opened.guard.leave(_on_host(results))
        return results

    def describe(self) -> RuntimeDescription:
        """What runs; its notes name the nodes that run on the CPU."""
        return self._description

    def close(self) -> None:
        """Give back the memory of the GPU."""
        self._graphs.clear()
        self._opened = None

    def __enter__(self) -> OnnxRuntimeCuda:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _require_open(self) -> GpuSession:
        if self._opened is None:
            raise UsageError(f"the runtime of {self._model} is closed; open it again.")
        return self._opened

    def _run_graph(
        self, opened: GpuSession, inputs: Mapping[str, np.ndarray], names: Sequence[str]
    ) -> dict[str, np.ndarray]:
        batch, length = inputs["input_ids"].shape
        bucket = find_bucket(batch, length, opened.options.batches, opened.options.lengths)
        if bucket is None:
            values = {name: opened.library.OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
            return _on_host(self._run_bound(opened, values, names))
        with self._lock:
            key = (bucket.batch, bucket.length)
            if key not in self._graphs:
                ports = (self.inputs, self.outputs)
                self._graphs[key] = CapturedGraph(
                    opened.library, opened.session, ports, bucket, len(self._graphs) + 1, opened.options.device_id
                )
            return self._graphs[key].run(inputs, names)

    def _run_bound(self, opened: GpuSession, values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
        """One run outside any graph; outputs are made on the GPU."""
        binding = opened.session.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        for name in names:
            binding.bind_output(name, "cuda", opened.options.device_id)
        opened.session.run_with_iobinding(binding, run_options(opened.library, NO_GRAPH))
        binding.synchronize_outputs()
        return dict(zip(names, binding.get_outputs(), strict=True))


def open_gpu_session(
    name: str,
    library: ModuleType,
    path: Path,
    ports: tuple[Sequence[Port], Sequence[Port], Limits | None],
    providers: Providers,
    options: RuntimeOptions,
    cuda: CudaOptions,
) -> GpuSession:
    """A session whose first provider is the one that was asked for, and a description that names other nodes.

    Raises:
        RuntimeUnavailableError: onnxruntime went on without the provider, or a node has no kernel and must have one.
        ArtifactError: as `open_session`.
    """
    inputs, outputs, limits = ports
    wanted = [provider if isinstance(provider, str) else provider[0] for provider in providers]
    settings = session_options(library, options, options.threads or 1, record=True)
    if not cuda.allow_cpu_nodes:
        settings.add_session_config_entry(_NO_CPU, "1")
    session = open_session(library, path, settings, providers)
    # A provider that fails to load is a warning for onnxruntime, which then runs on the CPU.
    if not session.get_providers() or session.get_providers()[0] != wanted[0]:
        raise RuntimeUnavailableError(
            f"onnxruntime could not load {wanted[0]} and would run {path.name} on {session.get_providers()[0]}; "
            f"is there a GPU {cuda.device_id}? `bert-onnx doctor` shows what is missing."
        )
    check_ports(session, path, inputs, outputs)
    notes = nodes_elsewhere(session, wanted[0])
    description = RuntimeDescription(
        name,
        tuple(session.get_providers()),
        f"onnxruntime {library.__version__}",
        options.threads or 1,
        path.name,
        notes,
    )
    return GpuSession(library, session, guard_of(session, path, inputs, outputs, limits), cuda, description)


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
