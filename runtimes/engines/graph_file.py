"""A graph before and after an engine opens it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from bert_onnx.errors import ArtifactError, RuntimeUnavailableError
from bert_onnx.tasks import INPUT_DEFAULTS, Port
from runtimes.engines.inputs import Limits

Engine = TypeVar("Engine")


@dataclass(frozen=True)
class GraphFile:
    """A file that is to be opened, and what its manifest says of it.

    Args:
        path: the .onnx file.
        inputs, outputs: the ports that it must have.
        limits: what its tables can look up, where that is known.
    """

    path: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    limits: Limits | None = None

    def check_ports(self, takes: Iterable[str], returns: Iterable[str]) -> None:
        """Compare the names of a graph's own inputs and outputs with the manifest's.

        Raises:
            ArtifactError: it takes others, or lacks an output.
            RuntimeUnavailableError: the runtime made a constant of an input that has a default.
        """
        takes, returns = sorted(takes), sorted(returns)
        constants = [port.name for port in self.inputs if port.name in INPUT_DEFAULTS and port.name not in takes]
        if constants:
            raise RuntimeUnavailableError(
                f"this runtime takes {constants[0]} of {self.path.name}, an input with a default, for a constant; "
                "use onnxruntime, or a variant that was made for this runtime."
            )
        if takes != sorted(port.name for port in self.inputs) or not {p.name for p in self.outputs} <= set(returns):
            raise ArtifactError(
                f"{self.path.name} takes {takes} and returns {returns}, which is not what its manifest says; "
                "export it again."
            )


@dataclass(frozen=True)
class Opened(Generic[Engine]):
    """A graph that an engine has opened.

    Args:
        engine: what computes: a session, a compiled model.
        takes, returns: names of the graph's inputs and outputs.
        requires: what its metadata says of its inputs, under `REQUIRES`.
        providers, library, threads, notes: see `RuntimeDescription`.
    """

    engine: Engine
    takes: Iterable[str]
    returns: Iterable[str]
    requires: str
    providers: tuple[str, ...]
    library: str
    threads: int
    notes: tuple[str, ...] = ()
