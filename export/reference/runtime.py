"""The eager model behind the Runtime protocol: what every graph is compared with."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.reference.computed import Arrays, Computed, Expected, Prefetch
from export.reference.fused import fused_attention, has_large_scores
from export.reference.load import Eager
from export.reference.rounding import rounding_errors, run_together
from runtimes.engines.eager import EagerRuntime


@dataclass(eq=False)
class _Waiting:
    """Expected inputs, how often they will still be run, and what came of them or what will have it, at which place."""

    expected: Expected
    times: int
    computed: Computed | None = None
    future: Future[list[Computed]] | None = None
    place: int = 0


class Reference(EagerRuntime):
    """Runs `eager`, each of the expected inputs once and ahead: in a second process where there is one.

    Nothing depends on that process: outputs that it does not give are computed here.

    Args:
        eager: the model.
        prefetch: the second process.
    """

    def __init__(self, eager: Eager, prefetch: Prefetch | None = None) -> None:
        super().__init__(eager.module, eager.module.inputs, eager.module.outputs, eager.config)
        self.eager = eager
        self.limits = eager.config
        self._prefetch = prefetch
        self._waiting: list[_Waiting] = []

    def expect(self, expected: Iterable[Expected]) -> None:
        """All that will be run; outputs are kept until then. To be called once.

        Without a second process this runs the model: activations are gone before a graph and its session need memory.
        """
        self._waiting = [_Waiting(one, one.times) for one in expected]
        groups: dict[Hashable, list[_Waiting]] = {}
        for waiting in self._waiting:
            one = waiting.expected
            groups.setdefault(run_together(self.inputs, one.inputs) if one.rounding else id(one), []).append(waiting)
        if self._prefetch is None:
            for group in groups.values():
                for waiting, computed in zip(group, self.compute_together([w.expected for w in group]), strict=True):
                    waiting.computed = computed
            return
        with suppress(BrokenExecutor):  # it died
            futures = self._prefetch([[waiting.expected for waiting in group] for group in groups.values()])
            for group, future in zip(groups.values(), futures, strict=True):
                for place, waiting in enumerate(group):
                    waiting.future, waiting.place = future, place

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """As `EagerRuntime.run`; outputs that were expected more than once must be left as they are."""
        return super().run(inputs, outputs) if outputs is not None else self.compute(inputs, rounding=False).outputs

    def compute(self, inputs: Arrays, rounding: bool) -> Computed:
        """What was computed of expected inputs, else what is computed now."""
        waiting = next((one for one in self._waiting if _equal(one.expected.inputs, inputs)), None)
        if waiting is None:
            return self.compute_now(inputs, rounding)
        if waiting.future is not None:
            with suppress(Exception):  # whatever it was: it happens below, too, or does not
                waiting.computed, waiting.future = waiting.future.result()[waiting.place], None
        if waiting.computed is None or (rounding and waiting.computed.rounding is None):
            waiting.computed = self.compute_now(inputs, rounding)
        waiting.times -= 1
        if waiting.times == 0:
            self._waiting.remove(waiting)
        return waiting.computed

    def _compute(self, engine: Any, names: list[str], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        long = has_large_scores(self.eager.config, inputs)
        with fused_attention(self.eager.module) if long else nullcontext():
            return super()._compute(engine, names, inputs)

    def compute_now(self, inputs: Arrays, rounding: bool) -> Computed:
        """Run the model, and where `rounding` says so in float64, too."""
        return self.compute_together([Expected(inputs, 1, rounding)])[0]

    def compute_together(self, group: Sequence[Expected]) -> list[Computed]:
        """Run the model on each of `group`, and where the first of them says so in float64 on all at once."""
        outputs = [super(Reference, self).run(one.inputs) for one in group]
        if not group[0].rounding:
            return [Computed(own) for own in outputs]
        module, cases = self.eager.module, [(one.inputs, own) for one, own in zip(group, outputs, strict=True)]
        errors = rounding_errors(module, module.inputs, module.outputs, cases)
        return [Computed(own, error) for own, error in zip(outputs, errors, strict=True)]


def _equal(a: Arrays, b: Arrays) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
