"""Which precision runs on which target, what its files are called, and which operators it adds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bert_onnx.config import BertConfig
from bert_onnx.errors import UsageError
from bert_onnx.tasks import Task
from export.quantization.isa import Isa, find_isa
from export.targets import TARGETS, Target

FP32 = "fp32"

#: Every precision, and those of 16 bits.
PRECISIONS = (FP32, "fp16", "bf16", "int8", "int4")
HALVES = ("fp16", "bf16")

#: How integers are chosen where the user does not say.
DEFAULT_METHOD = {"int8": "static", "int4": "weights"}

REFERENCE_TARGET = "portable"

#: Files of the target `web` that transformers.js opens for a dtype, by precision and method. Its `fp32` is the portable
#: file, which is always there.
TRANSFORMERS_JS = {
    ("fp16", None): "model_fp16",
    ("int8", "static"): "model_quantized",
    ("int4", "weights"): "model_q4",
}

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
    "fp16": (
        "its fused operators have no fp16 kernels on CPUs; use --target portable, web, openvino, ort-cuda or "
        "ort-cuda-unpadded"
    ),
    "bf16": (
        "ONNX Runtime has no bf16 kernels on CPUs; use --target ort-cuda, or run the fp32 file on OpenVINO, "
        "which computes in bf16 where the CPU can"
    ),
    "int8": (
        "it has no fast int8 kernels for this target's operators; use --target portable, ort-cpu, ort-cpu-unpadded, "
        "openvino, openvino-unpadded or web, and on NVIDIA GPUs fp16 or --target ort-tensorrt"
    ),
    "int4": "use --target portable, ort-cpu-unpadded or web",
}

_COMPUTED = "TensorRT computes the fp32 file in it; export fp32, and load it with that precision"

#: The same for one target.
_INSTEAD_ON: dict[tuple[str, str], str] = {
    ("fp16", "ort-tensorrt"): _COMPUTED,
    ("bf16", "ort-tensorrt"): _COMPUTED,
    ("bf16", "ort-cuda-unpadded"): (
        "ONNX Runtime's operators that skip the padding have no bf16; use fp16, or --target ort-cuda"
    ),
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
        if self.target.name == "web" and (name := TRANSFORMERS_JS.get((self.precision, self.method))):
            return name
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
        instead = _INSTEAD_ON.get((precision, target.name), _INSTEAD[precision])
        raise UsageError(f"{precision} does not run on the target {target.name}: {instead}.")


def check_method(method: str, target: Target) -> None:
    """Refuse integers that the clients of `target` do not multiply.

    Raises:
        UsageError: with what to do instead.
    """
    if target.isa is not None and find_isa(target.isa).symmetric and method != "static":
        raise UsageError(
            f"{target.name} takes int8 whose ranges are known beforehand, and --method {method} has none; use "
            "--method static."
        )


def check_cache(targets: Iterable[Target], task: Task, config: BertConfig) -> None:
    """Refuse targets whose graphs would skip no padding in a decoder that keeps a cache or reads an encoder.

    Raises:
        UsageError: naming the target, and which to take instead.
    """
    for target in targets:
        if "remove_padding" in target.passes and (task.cached or (task.decoder and config.add_cross_attention)):
            kept = "keeps a cache" if task.cached else "reads the states of an encoder"
            raise UsageError(
                f"{target.name} skips the padding, and {task.name} {kept}, which holds padding, too; "
                "use --target ort-cuda."
            )


#: What every export makes: fp32 for every client, the reference of the others.
REFERENCE = VariantPlan(TARGETS[REFERENCE_TARGET])


def one_a_file(plans: Iterable[VariantPlan]) -> tuple[VariantPlan, ...]:
    """`plans` in their order, each once, and one of those that would write the same file.

    That is `portable` and `web` in a precision that transformers.js opens: `web`, which has standard operators alone,
    too, takes the place of the other.
    """
    chosen: dict[str, VariantPlan] = {}
    for plan in plans:
        if plan.name not in chosen or plan.target.name == "web":
            chosen[plan.name] = plan
    return tuple(chosen.values())
