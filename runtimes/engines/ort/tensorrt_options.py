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
        batch: most rows of a call.
        longest: longest text in tokens; None for the model's own limit.
        histogram: how many texts there are of each length; None for one profile of all lengths.
        workspace: most bytes that a kernel may use beside weights and activations; None for TensorRT's own choice.
        level: how long the builder searches, 0 to 5.
        cache: where engines and timings are kept; None for the user's cache folder.
    """

    device_id: int = 0
    batch: int = 32
    longest: int | None = None
    histogram: Mapping[int, int] = field(default_factory=dict)
    workspace: int | None = None
    level: int = 3
    cache: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 5:
            raise UsageError(f"level is {self.level}; it must be from 0 to 5.")
        if self.batch < 1 or (self.longest is not None and self.longest < 1):
            raise UsageError(f"batch and longest are {self.batch} and {self.longest}; they must be at least 1.")
