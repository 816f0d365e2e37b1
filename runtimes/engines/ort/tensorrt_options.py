"""What can be chosen about ONNX Runtime's TensorRT provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bert_onnx.errors import UsageError


@dataclass(frozen=True)
class TensorRtOptions:
    """Options of the TensorRT provider.

    Args:
        device_id: which GPU.
        batch: most rows that the engine is for; a call of more runs in several.
        longest: longest text in tokens; None for the model's own limit.
        histogram: how many texts there are of each length, in tokens: the engine is tuned for the one with most tokens,
            and runs all. Empty: it is tuned for the longest.
        precision: of the file, `fp32`, `fp16` or `int8`: TensorRT is told which kernels it may take beside those of
            float32. `load` gives that of the variant.
        workspace: most bytes that a kernel may use beside weights and activations; None for TensorRT's own choice.
        level: how long the builder searches, 0 to 5.
        cache: where engines and timings are kept; None for the user's cache folder.
    """

    device_id: int = 0
    batch: int = 32
    longest: int | None = None
    histogram: Mapping[int, int] = field(default_factory=dict)
    precision: str = "fp32"
    workspace: int | None = None
    level: int = 3
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "fp16", "int8"):
            raise UsageError(f"precision is {self.precision!r}; TensorRT runs files in fp32, fp16 or int8.")
        if not 0 <= self.level <= 5:
            raise UsageError(f"level is {self.level}; it must be from 0 to 5.")
        if self.batch < 1 or (self.longest is not None and self.longest < 1):
            raise UsageError(f"batch and longest are {self.batch} and {self.longest}; they must be at least 1.")
