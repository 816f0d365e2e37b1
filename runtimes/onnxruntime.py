"""ONNX Runtime on the CPU, behind the Runtime protocol."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from bert_onnx.tasks import Port
from runtimes.base import RuntimeDescription, RuntimeOptions
from runtimes.cpu import usable_threads
from runtimes.guard import Guard
from runtimes.inputs import Limits
from runtimes.onnxruntime_session import (
    CPU_PROVIDER,
    check_ports,
    guard_of,
    import_onnxruntime,
    open_session,
    run_failure,
    session_options,
)
from runtimes.shared_pool import pool_for_session

__all__ = ["PROVIDER", "OnnxRuntimeCpu", "import_onnxruntime"]

PROVIDER = CPU_PROVIDER


@dataclass(frozen=True)
class _Details:
    """What a session does not know about itself."""

    path: Path
    threads: int
    version: str


class OnnxRuntimeCpu:
    """A session on ONNX Runtime's CPU provider."""

    name = "onnxruntime-cpu"

    def __init__(self, session: Any, guard: Guard, details: _Details) -> None:
        self.inputs = guard.inputs
        self.outputs = guard.outputs
        self._session = session
        self._guard = guard
        self._details = details

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
        settings = session_options(library, options, threads)
        settings.enable_mem_pattern = False  # it plans for one shape, and ours vary: docs/runtimes.md has the figures
        session = open_session(library, Path(path), settings)
        check_ports(session, Path(path), inputs, outputs)
        guard = guard_of(session, Path(path), inputs, outputs, limits)
        return cls(session, guard, _Details(Path(path), pool_for_session() or threads, library.__version__))

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Outputs by name; all of them where `outputs` names none.

        Raises:
            InputError: the data does not fit the model.
            UsageError: an output that there is not, or the runtime is closed.
            InferenceError: the graph failed, or the answer is not finite.
        """
        session = self._session
        if session is None:
            raise self._guard.closed()
        names, checked = self._guard.enter(inputs, outputs)
        try:
            values = session.run(names, checked)
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise run_failure(self._details.path.name, error) from error
        return self._guard.leave(dict(zip(names, values, strict=True)))

    def describe(self) -> RuntimeDescription:
        """What runs."""
        details = self._details
        return RuntimeDescription(
            self.name, (PROVIDER,), f"onnxruntime {details.version}", details.threads, details.path.name
        )

    def close(self) -> None:
        """Give back the session's memory and threads."""
        self._session = None

    def __enter__(self) -> OnnxRuntimeCpu:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
