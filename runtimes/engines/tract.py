"""tract, an inference engine in Rust without other libraries: small, one thread, the same on x86 and ARM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bert_onnx.errors import InferenceError, RuntimeUnavailableError
from bert_onnx.tasks import REQUIRES
from runtimes.engines.base import RuntimeOptions, is_out_of_memory, out_of_memory
from runtimes.engines.graph_file import GraphFile, Opened
from runtimes.engines.graph_summary import GraphSummary, summarize_graph
from runtimes.engines.guard import GuardedRuntime
from runtimes.engines.tract_rehearsal import reason_of, rehearse

INSTALL = "pip install tract"


@dataclass(frozen=True)
class _Runnable:
    """A graph that is ready to run, and the names of what it takes and returns, in its own order."""

    library: ModuleType
    runnable: Any
    takes: tuple[str, ...]
    returns: tuple[str, ...]


class Tract(GuardedRuntime[_Runnable]):
    """A graph that tract has optimised for this processor; batch and length stay free.

    Of the options it has use for none: a call is computed by the thread that makes it.
    """

    name = "tract"

    @classmethod
    def _open_engine(cls, graph: GraphFile, options: RuntimeOptions) -> Opened[_Runnable]:
        library = _import_tract()
        summary = summarize_graph(graph.path)
        graph.check_ports(summary.inputs, summary.outputs)  # before the rehearsal, which takes a second
        _check_operators(summary, graph.path)
        rehearse(graph.path, graph.inputs)
        try:
            read = library.onnx().load(graph.path)
            takes = tuple(read.input_name(position) for position in range(read.input_count()))
            runnable = read.into_model().into_runnable()
        except library.TractError as error:
            raise RuntimeUnavailableError(
                f"tract cannot run {graph.path.name}: {reason_of(error)}; use another runtime."
            ) from error
        return Opened(
            engine=_Runnable(library, runnable, takes, summary.outputs),
            takes=takes,
            returns=summary.outputs,
            requires=summary.metadata.get(REQUIRES, ""),
            providers=("cpu",),
            library=f"tract {library.version()}",
            threads=1,
        )

    def _compute(self, engine: _Runnable, names: list[str], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            values = engine.runnable.run([inputs[name] for name in engine.takes])
            by_name = dict(zip(engine.returns, values, strict=True))
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


def _check_operators(summary: GraphSummary, path: Path) -> None:
    """Refuse operators of other domains: tract takes com.microsoft.Attention for ONNX's operator of that name.

    Raises:
        RuntimeUnavailableError: naming them.
    """
    others = sorted(name for name in summary.operators if "." in name)
    if others:
        raise RuntimeUnavailableError(
            f"tract cannot run {path.name}: it has no {', '.join(others)}; use the portable graph, or another runtime."
        )
