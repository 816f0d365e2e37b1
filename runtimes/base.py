"""The Runtime protocol: what runs a graph. Arrays by name in, arrays by name out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bert_onnx.errors import InferenceError, UsageError
from bert_onnx.tasks import Port

if TYPE_CHECKING:
    import numpy as np

OPTIMIZATIONS = ("none", "basic", "extended", "all")


@dataclass(frozen=True)
class RuntimeOptions:
    """How a runtime runs; what a runtime has no use for, it leaves aside.

    Args:
        threads: threads that compute one call; None takes what affinity and the cgroup quota allow.
        spinning: idle threads wait by spinning: quicker calls, but several sessions in a process slow each other.
        optimization: what the runtime may change in the graph while it loads it, one of `OPTIMIZATIONS`.
        profile: write the runtime's own profile to files whose names start so.
    """

    threads: int | None = None
    spinning: bool = True
    optimization: str = "all"
    profile: Path | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and (not isinstance(self.threads, int) or self.threads < 1):
            raise UsageError(f"threads is {self.threads!r}; it must be a whole number of at least 1.")
        if self.optimization not in OPTIMIZATIONS:
            raise UsageError(f"optimization {self.optimization!r} is unknown; choose {', '.join(OPTIMIZATIONS)}.")


@dataclass(frozen=True)
class RuntimeDescription:
    """What runs, where and how: for people and for reports."""

    name: str
    providers: tuple[str, ...]
    library: str
    threads: int
    model: str

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "name": self.name,
            "providers": list(self.providers),
            "library": self.library,
            "threads": self.threads,
            "model": self.model,
        }


class Runtime(Protocol):
    """Runs one graph.

    `run` takes one array for every port of `inputs` and returns those of `outputs` that are asked for, by name
    (all of them where none are named). It checks what goes in (`runtimes.inputs.check_inputs`) and what comes
    out, and never changes the arrays it is given. Several threads may call it at once.
    """

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Outputs by name. Raises InputError for data that the model cannot take."""
        ...

    def describe(self) -> RuntimeDescription:
        """What runs."""
        ...

    def close(self) -> None:
        """Give back memory and threads; `run` is an error afterwards."""
        ...


def chosen_outputs(ports: Iterable[Port], wanted: Sequence[str] | None) -> list[str]:
    """Names of the outputs to compute: `wanted`, or every port's.

    Raises:
        UsageError: `wanted` names an output that there is not.
    """
    names = [port.name for port in ports]
    if wanted is None:
        return names
    for name in wanted:
        if name not in names:
            raise UsageError(f"there is no output {name!r}; this model returns {', '.join(names)}.")
    return list(wanted)


def check_finite(outputs: Mapping[str, np.ndarray], model: str) -> None:
    """Refuse an answer that holds infinities or is not a number.

    Raises:
        InferenceError: the inputs were finite and the outputs are not: the weights or the precision are at fault.
    """
    import numpy as np

    for name, array in outputs.items():
        # Two reductions need no temporary array; both carry NaN through.
        if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise InferenceError(
                f"{model} answered {array[index]} in {name}{list(index)}; the input was finite, so the weights are "
                "damaged or overflow in this precision. Run `bert-onnx verify`, or use another variant."
            )
