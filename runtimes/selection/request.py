"""What a caller may ask of the choice of runtime, checked before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass

from bert_onnx.errors import UsageError
from runtimes.engines.table import find_runtime

DEFAULT_PRECISION = "fp32"
FASTEST = "fastest"
#: Without a measurement, smaller numbers are taken for faster: what `fastest` means then. Of 16 bits fp16 comes first:
#: every GPU that has bf16 multiplies it as fast, ONNX Runtime has more kernels for it, and its rounding is finer.
PRECISIONS = ("int8", "int4", "fp16", "bf16", "fp32")


@dataclass(frozen=True)
class RuntimeRequest:
    """What the caller named; None leaves the choice to `runtimes.selection.select`.

    Args:
        variant: a name in the manifest.
        runtime: a row of `runtimes.engines.table`.
        precision: of the variant or of the computation, or `fastest` for whatever was verified.
        threads: threads that compute one call.
        strict: a runtime that was named and cannot be had is an error; where not, another is taken.
        text_input: a graph that takes text, instead of one that takes token ids.
        offline: a graph that a hub's cache lacks is not asked for.
    """

    variant: str | None = None
    runtime: str | None = None
    precision: str | None = None
    threads: int | None = None
    strict: bool = True
    text_input: bool = False
    offline: bool = False

    def __post_init__(self) -> None:
        if self.runtime is not None:
            find_runtime(self.runtime)
        known = (*PRECISIONS, FASTEST)
        if self.precision is not None and self.precision not in known:
            raise UsageError(f"precision {self.precision!r} is unknown; choose one of {', '.join(known)}.")
