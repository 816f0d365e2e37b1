"""What is asked of the eager model, and what comes back: between the two processes, too. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Computed:
    """What the eager model makes of one set of inputs.

    Args:
        outputs: in float32, by name.
        rounding: float32 less float64 of each output, float32, for the last rows of the batch (see `rounding`); None
            where that was not asked for.
    """

    outputs: dict[str, np.ndarray]
    rounding: dict[str, np.ndarray] | None = None


@dataclass(frozen=True)
class Expected:
    """Inputs that will be run.

    Args:
        inputs: by name.
        times: how often.
        rounding: whether the distance from float64 will be asked for.
    """

    inputs: Arrays
    times: int
    rounding: bool = False


#: Hands groups of inputs to the second process, and returns what will have the outputs of each group.
Prefetch = Callable[[Iterable[Sequence[Expected]]], list[Future[list[Computed]]]]
