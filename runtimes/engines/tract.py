"""tract, an inference engine in Rust without other libraries: small, one thread, the same on x86 and ARM."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bert_onnx.errors import ArtifactError, InferenceError, RuntimeUnavailableError
from bert_onnx.tasks import REQUIRES, RIGHT_PADDING, Port
from runtimes.engines.base import RuntimeDescription, RuntimeOptions, is_out_of_memory, out_of_memory
from runtimes.engines.graph_summary import GraphSummary, summarize_graph
from runtimes.engines.guard import Guard, GuardedRuntime
from runtimes.engines.inputs import Limits
from runtimes.engines.tract_rehearsal import reason_of, rehearse

INSTALL = "pip install tract"


@dataclass(frozen=True)
class _Opened:
    """A graph that is ready to run, and the names of what it takes and returns, in its own order."""

    library: ModuleType
    runnable: Any
    takes: tuple[str, ...]
    returns: tuple[str, ...]


class Tract(GuardedRuntime[_Opened]):
    """A graph that tract has optimised for this processor; batch and length stay free."""

    name = "tract"

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        options: RuntimeOptions | None = None,
        limits: Limits | None = None,
    ) -> Tract:
        """A runtime for the graph in `path`; of `options` it has use for none: a call is computed by its own thread.

        Raises:
            RuntimeUnavailableError: tract is not installed, or cannot run this graph.
            ArtifactError: the file is missing, damaged, or has other inputs or outputs.
            UsageError: `options` ask for another precision than the file's.
        """
        (options or RuntimeOptions()).require_compute(cls.name, "fp32")
        library = _import_tract()
        file = Path(path)
        summary = summarize_graph(file)
        _check_ports(summary, file, inputs, outputs)
        _check_operators(summary, file)
        rehearse(file, inputs)
        try:
            graph = library.onnx().load(file)
            takes = tuple(graph.input_name(position) for position in range(graph.input_count()))
            runnable = graph.into_model().into_runnable()
        except library.TractError as error:
            raise RuntimeUnavailableError(
                f"tract cannot run {file.name}: {reason_of(error)}; use another runtime."
            ) from error
        requires = summary.metadata.get(REQUIRES, "")
        guard = Guard(file.name, tuple(inputs), tuple(outputs), limits, requires == RIGHT_PADDING)
        description = RuntimeDescription(cls.name, ("cpu",), f"tract {library.version()}", 1, file.name)
        return cls(_Opened(library, runnable, takes, summary.outputs), guard, description)

    def _compute(self, engine: _Opened, names: list[str], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            answers = engine.runnable.run([inputs[name] for name in engine.takes])
            by_name = dict(zip(engine.returns, answers, strict=True))
            return {name: by_name[name].to_numpy() for name in names}  # copies
        except (engine.library.TractError, MemoryError) as error:
            reason = reason_of(error)
            if is_out_of_memory(reason) or isinstance(error, MemoryError):
                raise out_of_memory(self._guard.model, reason) from error
            raise InferenceError(f"tract failed in {self._guard.model}: {reason}.") from error


def _import_tract() -> ModuleType:
    try:
        import tract
    except (ImportError, OSError, AttributeError) as error:  # its library is loaded by ctypes
        raise RuntimeUnavailableError(f"tract cannot be imported ({error}); install it with {INSTALL}.") from None
    library: ModuleType = tract
    return library


def _check_ports(summary: GraphSummary, path: Path, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    known = {port.name for port in outputs} <= set(summary.outputs)
    if set(summary.inputs) != {port.name for port in inputs} or not known:
        raise ArtifactError(
            f"{path.name} takes {sorted(summary.inputs)} and returns {sorted(summary.outputs)}, which is not what its "
            "manifest says; export it again."
        )


def _check_operators(summary: GraphSummary, path: Path) -> None:
    """Refuse operators of other domains: tract takes com.microsoft.Attention for ONNX's operator of that name.

    Raises:
        RuntimeUnavailableError: naming them.
    """
    foreign = sorted(name for name in summary.operators if "." in name)
    if foreign:
        raise RuntimeUnavailableError(
            f"tract cannot run {path.name}: it has no {', '.join(foreign)}; use the portable graph, or another runtime."
        )
