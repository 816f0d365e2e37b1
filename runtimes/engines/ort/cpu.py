"""ONNX Runtime on the CPU, behind the Runtime protocol."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_onnx.tasks import Port
from runtimes.engines.base import RuntimeDescription, RuntimeOptions
from runtimes.engines.guard import GuardedRuntime
from runtimes.engines.inputs import Limits
from runtimes.engines.ort.session import (
    CPU_PROVIDER,
    check_ports,
    guard_of,
    import_onnxruntime,
    open_session,
    run_session,
    session_options,
)
from runtimes.engines.ort.shared_pool import pool_for_session
from runtimes.machine.cpu import usable_threads

__all__ = ["PROVIDER", "OnnxRuntimeCpu", "import_onnxruntime"]

PROVIDER = CPU_PROVIDER


class OnnxRuntimeCpu(GuardedRuntime[Any]):
    """A session on ONNX Runtime's CPU provider."""

    name = "onnxruntime-cpu"

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        options: RuntimeOptions | None = None,
        limits: Limits | None = None,
    ) -> OnnxRuntimeCpu:
        """A runtime for the graph in `path`, which takes `inputs` and returns `outputs`.

        Raises:
            RuntimeUnavailableError: onnxruntime is not installed, or too old for this graph.
            ArtifactError: the file is missing, damaged, or has other inputs or outputs.
            UsageError: `options` ask for another precision than the file's.
        """
        options = options or RuntimeOptions()
        options.require_compute(cls.name, "fp32")
        library = import_onnxruntime()
        threads = options.threads or usable_threads()
        settings = session_options(library, options, threads, on_cpu=True)
        settings.enable_mem_pattern = False  # it plans for one shape, and ours vary: docs/runtimes.md has the figures
        session = open_session(library, Path(path), settings)
        check_ports(session, Path(path), inputs, outputs)
        guard = guard_of(session, Path(path), inputs, outputs, limits)
        described = (f"onnxruntime {library.__version__}", pool_for_session() or threads, Path(path).name)
        return cls(session, guard, RuntimeDescription(cls.name, (PROVIDER,), *described))

    def _compute(self, engine: Any, names: list[str], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return run_session(engine, self._guard.model, names, inputs)
