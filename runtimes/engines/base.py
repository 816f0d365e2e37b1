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

    from runtimes.engines.ort.cuda_options import CudaOptions
    from runtimes.engines.ort.tensorrt_options import TensorRtOptions

OPTIMIZATIONS = ("none", "basic", "extended", "all")
#: What a float32 file may be computed in.
COMPUTE = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class RuntimeOptions:
    """How a runtime runs; what a runtime has no use for, it leaves aside.

    Args:
        threads: threads that compute one call; None takes what affinity and the cgroup quota allow.
        spinning: idle threads wait by spinning: quicker calls, but several sessions in a process slow each other.
        optimization: what the runtime may change in the graph while it loads it, one of `OPTIMIZATIONS`.
        profile: write the runtime's own profile to files whose names start so.
        compute: what a float32 file is computed in, one of `COMPUTE`; inputs and outputs stay as they are. A runtime
            that has no such choice refuses any but fp32.
        exact_integers: add products of int8 files without saturating on any processor. Without VNNI that is slower,
            and only ONNX Runtime's CPU has it; elsewhere it changes nothing.
        cuda, tensorrt: further options of those providers; None for the defaults.
    """

    threads: int | None = None
    spinning: bool = True
    optimization: str = "all"
    profile: Path | None = None
    compute: str = "fp32"
    exact_integers: bool = False
    cuda: CudaOptions | None = None
    tensorrt: TensorRtOptions | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and (not isinstance(self.threads, int) or self.threads < 1):
            raise UsageError(f"threads is {self.threads!r}; it must be a whole number of at least 1.")
        if self.optimization not in OPTIMIZATIONS:
            raise UsageError(f"optimization {self.optimization!r} is unknown; choose {', '.join(OPTIMIZATIONS)}.")
        if self.compute not in COMPUTE:
            raise UsageError(f"precision {self.compute!r} is unknown; choose {', '.join(COMPUTE)}.")

    def require_compute(self, runtime: str, *possible: str) -> None:
        """Refuse to compute in what `runtime` cannot.

        Raises:
            UsageError: `compute` is not among `possible`.
        """
        if self.compute not in possible:
            raise UsageError(
                f"{runtime} computes a float32 file in {' or '.join(possible)}, not in {self.compute}; "
                f"export a variant in {self.compute}, or choose another runtime."
            )


@dataclass(frozen=True)
class RuntimeDescription:
    """What runs, where and how: for people and for reports; `notes` are sentences about what is out of the ordinary."""

    name: str
    providers: tuple[str, ...]
    library: str
    threads: int
    model: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "name": self.name,
            "providers": list(self.providers),
            "library": self.library,
            "threads": self.threads,
            "model": self.model,
            "notes": list(self.notes),
        }


class Runtime(Protocol):
    """Runs one graph.

    `run` takes one array for every port of `inputs` and returns those of `outputs` that are asked for, by name
    (all of them where none are named). It checks what goes in (`runtimes.engines.inputs.check_inputs`) and what comes
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


def chosen_outputs(ports: Iterable[Port], asked: Sequence[str] | None) -> list[str]:
    """Names of the outputs to compute: `asked`, or every port's.

    Raises:
        UsageError: `asked` names an output that there is not.
    """
    names = [port.name for port in ports]
    if asked is None:
        return names
    for name in asked:
        if name not in names:
            raise UsageError(f"there is no output {name!r}; this model returns {', '.join(names)}.")
    return list(asked)


def check_finite(outputs: Mapping[str, np.ndarray], model: str) -> None:
    """Refuse outputs that hold infinities or are not numbers.

    Raises:
        InferenceError: the inputs were finite and the outputs are not: the weights or the precision are at fault.
    """
    import numpy as np

    for name, array in outputs.items():
        # Two reductions need no temporary array; both carry NaN through.
        if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise InferenceError(
                f"{model} returned {array[index]} in {name}{list(index)}; the input was finite, so the weights are "
                "damaged or overflow in this precision. Run `bert-onnx verify`, or use another variant."
            )


#: What runtimes say when memory is short, in lower case: C++, CUDA, ONNX Runtime, OpenVINO.
_MEMORY_WORDS = ("allocate memory", "bad_alloc", "out of memory", "failed to allocate", "available memory of")
_OUT_OF_MEMORY = "ran out of memory; use a smaller batch"


def is_out_of_memory(reason: str) -> bool:
    """Whether a runtime's message says that memory did not suffice."""
    return any(word in reason.lower() for word in _MEMORY_WORDS)


def out_of_memory(model: str, reason: str) -> InferenceError:
    """The error for it; `ran_out_of_memory` knows it again."""
    return InferenceError(f"{model} {_OUT_OF_MEMORY} ({reason}).")


def ran_out_of_memory(error: InferenceError) -> bool:
    """Whether a smaller batch may help."""
    return _OUT_OF_MEMORY in str(error)
