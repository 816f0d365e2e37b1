"""What all runtimes share: opening, names, the checks before and after a run, closing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np

from bert_onnx.errors import ArtifactError, UsageError
from bert_onnx.tasks import RIGHT_PADDING, Port
from runtimes.engines.base import RuntimeDescription, RuntimeOptions, check_finite, chosen_outputs
from runtimes.engines.graph_file import Engine, GraphFile, Opened
from runtimes.engines.inputs import Limits, check_inputs, check_right_padding
from runtimes.engines.linked_data import without_links
from runtimes.engines.table import find_runtime

Self = TypeVar("Self", bound="GuardedEngine[Any]")


@dataclass(frozen=True)
class Guard:
    """The checks of one graph.

    Args:
        model: the file's name, for messages.
        inputs, outputs: the graph's ports.
        limits: what its tables can look up, where that is known.
        right_padding: its masks must have all real tokens before the padding.
    """

    model: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    limits: Limits | None = None
    right_padding: bool = False

    def enter(
        self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None
    ) -> tuple[list[str], dict[str, np.ndarray]]:
        """Names of the outputs to compute, and the inputs, checked and in the graph's dtypes.

        Raises:
            InputError: the data does not fit the model.
            UsageError: an output that there is not.
        """
        names = chosen_outputs(self.outputs, outputs)
        checked = check_inputs(inputs, self.inputs, self.limits)
        if self.right_padding:
            check_right_padding(checked)
        return names, checked

    def leave(self, results: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`results`, if all of it is finite.

        Raises:
            InferenceError: it is not.
        """
        check_finite(results, self.model)
        return results


class GuardedEngine(Generic[Engine]):
    """Something that computes, its guard and its description, from opening to closing. A subclass opens an engine.

    Args:
        engine: what computes. `close` lets go of it; a run that has begun still ends with it.
        guard: the checks.
        description: what runs.
    """

    #: A row of `runtimes.engines.table`.
    name: str
    #: Weights may have several names; see `without_links`.
    hard_links = True

    def __init__(self, engine: Engine, guard: Guard, description: RuntimeDescription) -> None:
        self.inputs = guard.inputs
        self.outputs = guard.outputs
        self._engine: Engine | None = engine
        self._guard = guard
        self._description = description

    @classmethod
    def open(
        cls: type[Self],
        path: str | os.PathLike[str],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        options: RuntimeOptions | None = None,
        limits: Limits | None = None,
    ) -> Self:
        """A runtime for the graph in `path`, which takes `inputs` and returns `outputs`.

        Args:
            path: the .onnx file; external data lies beside it.
            inputs, outputs: the graph's ports, as the manifest has them.
            options: how it runs; None for the defaults.
            limits: what the model's tables can look up; None leaves the ranges of ids unchecked.

        Raises:
            RuntimeUnavailableError: a library, a driver or a device is missing (named), too old for this graph, or
                lacks an operator of it; or the processor lacks the precision.
            ArtifactError: the file is missing, damaged, or has other inputs or outputs.
            UsageError: `options` do not fit the runtime or the model.
        """
        options = options or RuntimeOptions()
        options.require_compute(cls.name, *find_runtime(cls.name).compute)
        graph = GraphFile(Path(path), tuple(inputs), tuple(outputs), limits)
        if not graph.path.is_file():
            raise ArtifactError(f"the model file {graph.path} is missing; export the model again.")
        with without_links(graph.path, cls.hard_links) as plain:
            opened = cls._open_engine(replace(graph, path=plain), options)
        graph.check_ports(opened.takes, opened.returns)
        guard = Guard(graph.path.name, graph.inputs, graph.outputs, limits, opened.requires == RIGHT_PADDING)
        description = RuntimeDescription(
            cls.name, opened.providers, opened.library, opened.threads, graph.path.name, opened.notes
        )
        return cls(opened.engine, guard, description)

    @classmethod
    def _open_engine(cls, graph: GraphFile, options: RuntimeOptions) -> Opened[Engine]:
        """The engine for `graph`, whose file exists. Raises as `open`."""
        raise NotImplementedError

    def describe(self) -> RuntimeDescription:
        """What runs; its notes name the nodes that another provider has, where there are any."""
        return self._description

    def close(self) -> None:
        """Give back the engine's memory and threads; a run is an error afterwards."""
        self._engine = None

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _opened(self) -> Engine:
        """The engine, held for the time of a run. Raises UsageError: it is closed."""
        engine = self._engine
        if engine is None:
            raise UsageError(f"the runtime of {self._guard.model} is closed; open it again.")
        return engine


class GuardedRuntime(GuardedEngine[Engine]):
    """A runtime whose every run goes through its guard: a subclass opens an engine, and computes with it."""

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Outputs by name; all of them where `outputs` names none.

        Raises:
            InputError: the data does not fit the model.
            UsageError: an output that there is not, or the runtime is closed.
            InferenceError: the graph failed, or an output is not finite.
        """
        engine = self._opened()
        names, checked = self._guard.enter(inputs, outputs)
        return self._guard.leave(self._compute(engine, names, checked))

    def _compute(self, engine: Engine, names: list[str], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs `names` for inputs that were checked. Raises InferenceError: the graph failed."""
        raise NotImplementedError
