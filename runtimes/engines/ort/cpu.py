"""ONNX Runtime on the CPU, behind the Runtime protocol."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtimes.engines.base import RuntimeOptions
from runtimes.engines.graph_file import GraphFile, Opened
from runtimes.engines.guard import GuardedRuntime
from runtimes.engines.ort.library import import_onnxruntime
from runtimes.engines.ort.session import open_session, opened, run_session, session_options
from runtimes.engines.ort.shared_pool import pool_for_session
from runtimes.machine.cpu import usable_threads


class OnnxRuntimeCpu(GuardedRuntime[Any]):
    """A session on ONNX Runtime's CPU provider."""

    name = "onnxruntime-cpu"

    @classmethod
    def _open_engine(cls, graph: GraphFile, options: RuntimeOptions) -> Opened[Any]:
        library = import_onnxruntime()
        threads = options.threads or usable_threads()
        settings = session_options(library, options, threads, on_cpu=True)
        settings.enable_mem_pattern = False  # it plans for one shape, and ours vary: docs/runtimes.md has the figures
        session = open_session(library, graph.path, settings)
        return opened(session, session, f"onnxruntime {library.__version__}", pool_for_session() or threads)

    def _compute(self, engine: Any, names: list[str], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return run_session(engine, self._guard.model, names, inputs)
