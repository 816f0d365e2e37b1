"""Which precision runs on which target, what its files are called, and which operators it adds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bert_onnx.errors import UsageError
from export.precision_request import FP32, HALVES, PrecisionRequest
from export.quantization.isa import Isa, find_isa
from export.targets import TARGETS, Target

REFERENCE_TARGET = "portable"

#: Operators that a precision brings, beside those of its target.
ADDED_OPERATORS: dict[str, frozenset[str]] = {
    FP32: frozenset(),
    "fp16": frozenset({"Clip"}),
    "bf16": frozenset({"Clip"}),
    "int8": frozenset(
        {"QuantizeLinear", "DequantizeLinear", "Sum"}  # static
        | {"Abs", "ReduceMax", "Max", "Div"}  # dynamic
        | {"com.microsoft.MatMulNBits"}  # weights
    ),
    "int4": frozenset({"DequantizeLinear", "Sum", "com.microsoft.MatMulNBits"}),
}

#: Lowest opset of a precision: 4-bit types and blocked scales came with 21.
LOWEST_OPSET = {"int4": 21}

#: Why a precision does not run on a target, and what to do instead.
_INSTEAD: dict[str, str] = {
    "fp16": "its fused operators have no fp16 kernels on CPUs; use --target portable, web, openvino or ort-cuda",
    "bf16": (
        "ONNX Runtime has no bf16 kernels on CPUs; use --target ort-cuda, or run the fp32 file on OpenVINO, "
        "which computes in bf16 where the CPU can"
    ),
    "int8": (
        "it has no fast int8 kernels for this target's operators; use --target portable, ort-cpu, ort-cpu-unpadded, "
        "openvino, openvino-unpadded or web, and fp16 on CUDA"
    ),
    "int4": "use --target portable, ort-cpu-unpadded or web",
}


@dataclass(frozen=True)
class VariantPlan:
    """One variant that is to be made.

    Args:
        target: its row.
        precision: `fp32`, `int8` ...
        method: how integers are chosen; None for floats.
        isa: the row of the instruction set that integers are laid out for; None where it makes no difference.
    """

    target: Target
    precision: str = FP32
    method: str | None = None
    isa: Isa | None = None

    @property
    def name(self) -> str:
        """Stem of its file, as sentence-transformers, optimum and transformers.js name files."""
        if self.target.name == "web" and self.precision == "int8" and self.method == "static":
            return "model_quantized"  # what transformers.js takes for 8 bits
        stem = "model" if self.target.name == REFERENCE_TARGET else f"model_{self.target.name.replace('-', '_')}"
        return stem + self._suffix()

    def _suffix(self) -> str:
        if self.precision == FP32:
            return ""
        if self.precision == "int4":
            return "_q4"
        if self.precision == "int8" and self.method == "weights":
            return "_int8_weights"
        if self.isa is not None:
            return f"_{self.isa.suffix}" + ("_dynamic" if self.method == "dynamic" else "")
        return f"_{self.precision}"

    @property
    def budget(self) -> str:
        """The row of budgets that it is judged by."""
        return "int8-dynamic" if self.method == "dynamic" else self.precision

    @property
    def title(self) -> str:
        """In words."""
        kind = self.precision if self.method is None else f"{self.method} {self.precision}"
        return f"{kind} graph for {self.target.name}" + (f" ({self.isa.name})" if self.isa is not None else "")


def check_precision(precision: str, target: Target) -> None:
    """Refuse a target whose clients cannot run `precision`.

    Raises:
        UsageError: with what to do instead.
    """
    if precision not in target.precisions:
        raise UsageError(f"{precision} does not run on the target {target.name}: {_INSTEAD[precision]}.")


def variant_plans(targets: tuple[str, ...], request: PrecisionRequest) -> tuple[VariantPlan, ...]:
    """The variants of an export: portable fp32 first, then target by target.

    Raises:
        UsageError: a precision that a target does not run.
    """
    plans = [VariantPlan(TARGETS[REFERENCE_TARGET])]
    for name in dict.fromkeys(targets):
        target = TARGETS[name]
        if FP32 in request.precisions:
            plans.append(VariantPlan(target))
        plans += lower_plans(target, request)
    return tuple(dict.fromkeys(plans))


def lower_plans(target: Target, request: PrecisionRequest) -> Iterator[VariantPlan]:
    """The variants of `target` below fp32.

    Raises:
        UsageError: a precision that it does not run.
    """
    for precision in request.lower:
        check_precision(precision, target)
        if precision in HALVES:
            yield VariantPlan(target, precision)
            continue
        method = request.method_of(precision)
        if method == "weights":
            yield VariantPlan(target, precision, method)
        elif target.name == "web":  # one file for whatever the page runs on, that saturates nowhere
            yield VariantPlan(target, precision, method, find_isa("avx2"))
        else:
            for isa in dict.fromkeys(request.isas):
                yield VariantPlan(target, precision, method, find_isa(isa))
