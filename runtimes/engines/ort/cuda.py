"""ONNX Runtime on an NVIDIA GPU: arrays or device tensors in and out, CUDA graphs on request, never a quiet CPU."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np

from bert_onnx.errors import ArtifactError, InputError, RuntimeUnavailableError, UsageError
from runtimes.engines.base import RuntimeOptions, chosen_outputs
from runtimes.engines.graph_file import GraphFile, Opened
from runtimes.engines.guard import GuardedRuntime
from runtimes.engines.ort.cuda_graphs import NO_GRAPH, CapturedGraph, check_nodes, find_bucket, run_options
from runtimes.engines.ort.cuda_graphs import check_ports as check_graph_ports
from runtimes.engines.ort.cuda_options import CudaOptions
from runtimes.engines.ort.library import CPU_PROVIDER, import_onnxruntime
from runtimes.engines.ort.session import (
    Providers,
    nodes_by_provider,
    nodes_elsewhere,
    open_session,
    opened,
    run_failure,
    run_session,
    session_options,
)
from runtimes.engines.table import find_runtime
from runtimes.machine.nvidia import require_provider

PROVIDER = "CUDAExecutionProvider"
#: Says onnxruntime where it cannot capture a graph since nodes are on the CPU.
_NO_CAPTURE = "all compute graph nodes have not been partitioned to the CUDAExecutionProvider"


@dataclass(frozen=True)
class GpuSession:
    """An open session and what it was opened with.

    Args:
        library: the onnxruntime module.
        session: on the GPU.
        options: of the CUDA provider.
        graphs: what was captured, by (batch, length) of the bucket.
        lock: held while a captured graph runs on its buffers.
    """

    library: ModuleType
    session: Any
    options: CudaOptions
    graphs: dict[tuple[int, int], CapturedGraph] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


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
        return open_gpu_session(library, graph, [(PROVIDER, cuda.to_provider()), CPU_PROVIDER], options, cuda)

    def _compute(self, engine: GpuSession, names: list[str], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if not engine.options.cuda_graphs:
            return run_session(engine.session, self._guard.model, names, inputs)
        try:
            with engine.lock:
                return self._run_graph(engine, names, inputs)
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise run_failure(self._guard.model, error) from error

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
        engine = self._opened()
        names = chosen_outputs(self.outputs, outputs)
        values = {name: _from_dlpack(engine.library, name, tensor) for name, tensor in inputs.items()}
        if checked:
            self._guard.enter(_on_host(values), outputs)
        try:
            results = _run_bound(engine, values, names)
        except Exception as error:
            raise run_failure(self._guard.model, error) from error
        if checked:
            self._guard.leave(_on_host(results))
        return results

    def _run_graph(
        self, engine: GpuSession, names: Sequence[str], inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        batch, length = inputs["input_ids"].shape
        bucket = find_bucket(batch, length, engine.options.batches, engine.options.lengths)
        if bucket is None:
            values = {name: engine.library.OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
            return _on_host(_run_bound(engine, values, names))
        key = (bucket.batch, bucket.length)
        if key not in engine.graphs:
            ports = (self.inputs, self.outputs)
            engine.graphs[key] = CapturedGraph(
                engine.library, engine.session, ports, bucket, len(engine.graphs) + 1, engine.options.device_id
            )
        return engine.graphs[key].run(inputs, names)


def open_gpu_session(
    library: ModuleType, graph: GraphFile, providers: Providers, options: RuntimeOptions, cuda: CudaOptions
) -> Opened[GpuSession]:
    """A session whose first provider is the one that was asked for; the notes name nodes that have another.

    Raises:
        RuntimeUnavailableError: onnxruntime went on without the provider, or a node has no kernel and must have one.
        UsageError: CUDA graphs are wanted, and a node waits for the GPU, or does more than compute sizes on the CPU.
        ArtifactError: as `open_session`.
    """
    first = providers[0] if isinstance(providers[0], str) else providers[0][0]
    threads = options.threads or 1
    try:
        session = open_session(library, graph.path, session_options(library, options, threads, record=True), providers)
    except ArtifactError as error:
        if _NO_CAPTURE not in str(error):
            raise
        raise UsageError(
            f"CUDA graphs want every node on the GPU, and {graph.path.name} has others; leave cuda_graphs off, or "
            "export the model for ort-cuda."
        ) from error
    # A provider that fails to load is a warning for onnxruntime, which then runs on the CPU.
    if not session.get_providers() or session.get_providers()[0] != first:
        raise RuntimeUnavailableError(
            f"onnxruntime could not load {first} and would run {graph.path.name} on {session.get_providers()[0]}; "
            f"is there a GPU {cuda.device_id}? `bert-onnx doctor` shows what is missing."
        )
    if cuda.cuda_graphs:
        check_nodes([name for counts in nodes_by_provider(session).values() for name in counts], graph.path.name)
    elsewhere = nodes_elsewhere(session, first)
    if elsewhere and not cuda.allow_cpu_nodes and not _sizes_alone(library, graph, options, cuda):
        raise RuntimeUnavailableError(
            f"{graph.path.name} would compute in part on the CPU: {', '.join(elsewhere)}. Export the model for "
            "ort-cuda, or allow that with CudaOptions(allow_cpu_nodes=True)."
        )
    engine = GpuSession(library, session, cuda)
    return opened(engine, session, f"onnxruntime {library.__version__}", threads, elsewhere)


def _sizes_alone(library: ModuleType, graph: GraphFile, options: RuntimeOptions, cuda: CudaOptions) -> bool:
    """Whether nodes on the CPU do no more than compute sizes there: onnxruntime itself knows, since it captures a graph
    of kernels only then. So it is asked, with a session that runs nothing."""
    provider = replace(cuda, cuda_graphs=True).to_provider()
    try:
        open_session(library, graph.path, session_options(library, options, 1), [(PROVIDER, provider), CPU_PROVIDER])
    except ArtifactError as error:
        if _NO_CAPTURE not in str(error):
            raise
        return False
    return True


def _run_bound(engine: GpuSession, values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """One run outside any captured graph; outputs are made on the GPU."""
    binding = engine.session.io_binding()
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    for name in names:
        binding.bind_output(name, "cuda", engine.options.device_id)
    engine.session.run_with_iobinding(binding, run_options(engine.library, NO_GRAPH))
    binding.synchronize_outputs()
    return dict(zip(names, binding.get_outputs(), strict=True))


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
