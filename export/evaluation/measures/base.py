"""The Measure protocol: asks a runtime, compares two sets of answers, and scores one where labels are known."""

from __future__ import annotations

from typing import Any, Protocol

from runtimes.engines.base import Runtime


class Measure(Protocol):
    """What is measured for one kind of task. It is made of a subject and of examples."""

    @property
    def count(self) -> int:
        """How many texts (or pairs, or questions) are measured."""
        ...

    def ask(self, runtime: Runtime) -> Any:
        """The answers of `runtime` to every example."""
        ...

    def compare(self, expected: Any, found: Any) -> dict[str, float]:
        """Figures that say how far two sets of answers agree."""
        ...

    def score(self, answers: Any) -> dict[str, float]:
        """The task's own metrics, the principal one first; empty where the examples have no labels.

        Raises:
            InputError: a label that the model does not have.
        """
        ...
