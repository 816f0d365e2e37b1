"""The Measure protocol: runs a runtime, compares two sets of predictions, and scores one where labels are known."""

from __future__ import annotations

from typing import Any, Protocol

from runtimes.engines.base import Runtime


class Measure(Protocol):
    """What is measured for one kind of task. It is made of a subject and of examples."""

    @property
    def count(self) -> int:
        """How many texts (or pairs, or questions) are measured."""
        ...

    def predict(self, runtime: Runtime) -> Any:
        """The predictions of `runtime` to every example."""
        ...

    def compare(self, expected: Any, found: Any) -> dict[str, float]:
        """Figures that say how far two sets of predictions agree."""
        ...

    def score(self, predictions: Any) -> dict[str, float]:
        """The task's own metrics, the principal one first; empty where the examples have no labels.

        Raises:
            InputError: a label that the model does not have.
        """
        ...
