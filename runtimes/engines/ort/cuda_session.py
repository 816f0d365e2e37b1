"""A session of ONNX Runtime on an NVIDIA GPU: opened on the provider that was asked for, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from types import ModuleType
from typing import Any

from bert_onnx.errors import ArtifactError, RuntimeUnavailableError, UsageError
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.graph_file import GraphFile, Opened
from runtimes.engines.ort.cuda_graphs import NO_GRAPH, CapturedGraph, check_nodes, run_options
from runtimes.engines.ort.cuda_options import CudaOptions
from runtimes.engines.ort.library import CPU_PROVIDER
from runtimes.engines.ort.session import (
    Providers,
    nodes_by_provider,
    nodes_elsewhere,
    open_session,
    opened,
    session_options,
)
from runtimes.machine.nvidia import attention_problem

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
        lock: held by each run of a session that captures graphs; see `turn`.
    """

    library: ModuleType
    session: Any
    options: CudaOptions
    graphs: dict[tuple[int, int], CapturedGraph] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def next_graph(self) -> int:
        """The id of a graph that is captured next."""
        return next(self._numbers)

    def not_captured(self) -> Any:
        """RunOptions of a run outside any captured graph."""
        return run_options(self.library, NO_GRAPH)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """For one run at a time where graphs are captured: a replay writes to memory that other runs may have been
        given since, and onnxruntime wants no two runs of such a session at once."""
        if not self.options.cuda_graphs:
            yield
            return
        with self.lock:
            yield


def open_gpu_session(
    library: ModuleType, graph: GraphFile, providers: Providers, options: RuntimeOptions, cuda: CudaOptions
) -> Opened[GpuSession]:
    """A session whose first provider is the one that was asked for.

    The notes name nodes that have another, and what leaves slow kernels alone for attention.

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
    slow = attention_problem(cuda.device_id)
    notes = (*elsewhere, *([slow] if slow else []))
    engine = GpuSession(library, session, cuda)
    return opened(engine, session, f"onnxruntime {library.__version__}", threads, notes)


def _sizes_alone(library: ModuleType, graph: GraphFile, options: RuntimeOptions, cuda: CudaOptions) -> bool:
    """Whether nodes on the CPU do no more than compute sizes there: onnxruntime itself knows, since it captures a graph
    of kernels only then. So it is asked, with a session that runs nothing."""
    provider = replace(cuda, cuda_graphs=True).to_provider(library.__version__)
    try:
        open_session(library, graph.path, session_options(library, options, 1), [(PROVIDER, provider), CPU_PROVIDER])
    except ArtifactError as error:
        if _NO_CAPTURE not in str(error):
            raise
        return False
    return True
