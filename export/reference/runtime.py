"""The eager model behind the Runtime protocol: what every graph is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from export.reference.load import Eager
from export.reference.prefetch import AnswersAhead
from runtimes.engines.base import Runtime, RuntimeDescription
from runtimes.engines.eager import EagerRuntime


def eager_runtime(eager: Eager) -> Runtime:
    """The reference for graphs of `eager`."""
    return EagerRuntime(eager.module, eager.module.inputs, eager.module.outputs, eager.config)


def reference_for(eager: Eager, ahead: AnswersAhead | None) -> Runtime:
    """The reference for graphs of `eager`, whose answers come from `ahead` where there is one."""
    return eager_runtime(eager) if ahead is None else PreparedReference(eager, ahead)


class PreparedReference:
    """The reference for graphs of `eager`, whose answers come from `ahead` where it has them."""

    def __init__(self, eager: Eager, ahead: AnswersAhead) -> None:
        self._eager = eager_runtime(eager)
        self._ahead = ahead
        self.name = self._eager.name
        self.inputs = self._eager.inputs
        self.outputs = self._eager.outputs

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """As `EagerRuntime.run`."""
        found = self._ahead.find(inputs) if outputs is None else None
        return self._eager.run(inputs, outputs) if found is None else found

    def describe(self) -> RuntimeDescription:
        """What runs."""
        return self._eager.describe()

    def close(self) -> None:
        """Let go of the module."""
        self._eager.close()
