"""What a user may ask of precisions other than float32, checked before anything expensive starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bert_onnx.errors import InputError, UsageError
from export.evaluation.budgets import find_budget
from export.quantization.isa import DEFAULT_ISA, find_isa
from export.quantization.methods import METHODS

FP32 = "fp32"

#: Every precision; those that are quantised, and those of 16 bits.
PRECISIONS = (FP32, "fp16", "bf16", "int8", "int4")
HALVES = ("fp16", "bf16")

#: How integers are chosen where the user does not say.
DEFAULT_METHOD = {"int8": "static", "int4": "weights"}


@dataclass(frozen=True)
class PrecisionRequest:
    """Which precisions are made, how, and what they are judged by.

    Args:
        precisions: of each target; fp32 portable is always made, as the reference of the others.
        method: how int8 is made: static, dynamic or weights; None for each precision's own.
        isas: instruction sets that int8 files are laid out for, one file each.
        calibration: a file of texts that ranges are learned from; None for the built-in ones.
        evaluation: a file of held-out texts; None for the built-in ones.
        budget: what the principal figure must reach; None for the table's row.
        allow_degraded: publish what is below its budget, and say so.

    Raises:
        UsageError: naming the first thing that does not exist or does not fit.
        InputError: a file that does not exist.
    """

    precisions: tuple[str, ...] = (FP32,)
    method: str | None = None
    isas: tuple[str, ...] = (DEFAULT_ISA,)
    calibration: str | None = None
    evaluation: str | None = None
    budget: float | None = None
    allow_degraded: bool = False

    def __post_init__(self) -> None:
        if not self.precisions:
            raise UsageError(f"--precision is empty; choose from {', '.join(PRECISIONS)}.")
        for precision in self.precisions:
            if precision not in PRECISIONS:
                raise UsageError(f"the precision {precision!r} is unknown; choose from {', '.join(PRECISIONS)}.")
            if precision != FP32:
                find_budget(precision, self.budget)
        if self.method is not None and self.method not in METHODS:
            raise UsageError(f"the method {self.method!r} is unknown; choose one of {', '.join(METHODS)}.")
        if "int4" in self.precisions and self.method not in (None, "weights"):
            raise UsageError(f"int4 is for weights alone, and --method {self.method} is not; use --method weights.")
        if not self.isas:
            raise UsageError("--isa is empty; leave it out for the default.")
        for isa in self.isas:
            find_isa(isa)
        for option, name in (("--calibration", self.calibration), ("--eval", self.evaluation)):
            if name is not None and not Path(name).is_file():
                raise InputError(f"{option} {name} is not a file; name a .txt, .jsonl or .parquet file of texts.")

    @property
    def lower(self) -> tuple[str, ...]:
        """The precisions below fp32, each once."""
        return tuple(precision for precision in dict.fromkeys(self.precisions) if precision != FP32)

    def method_of(self, precision: str) -> str:
        """How integers of `precision` are chosen."""
        return self.method or DEFAULT_METHOD[precision]
