"""What every runtime does around a run: names, the check of what goes in, the check of what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np

from bert_onnx.errors import UsageError
from bert_onnx.tasks import Port
from runtimes.engines.base import RuntimeDescription, check_finite, chosen_outputs
from runtimes.engines.inputs import Limits, check_inputs, check_right_padding

Engine = TypeVar("Engine")
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
    """Something that computes, its guard and what is said of it, from opening to closing.

    Args:
        engine: what computes: a session, a compiled model. It is let go of by `close`, when no run uses it any more.
        guard: the checks.
        description: what runs.
    """

    def __init__(self, engine: Engine, guard: Guard, description: RuntimeDescription) -> None:
        self.inputs = guard.inputs
        self.outputs = guard.outputs
        self._engine: Engine | None = engine
        self._guard = guard
        self._description = description

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
            InferenceError: the graph failed, or the answer is not finite.
        """
        engine = self._opened()
        names, checked = self._guard.enter(inputs, outputs)
        return self._guard.leave(self._compute(engine, names, checked))

    def _compute(self, engine: Engine, names: list[str], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs `names` for inputs that were checked. Raises InferenceError: the graph failed."""
        raise NotImplementedError
