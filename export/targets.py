"""THE table of targets: what a graph may contain so that its clients open it, and the passes that make it so."""

from __future__ import annotations

from dataclasses import dataclass

from bert_onnx.errors import UsageError

#: Opsets that we trace and test. The exporter of torch traces 18 and later itself; 17 is reached by our own pass.
MIN_OPSET = 17
MAX_OPSET = 23

#: IR version that belongs to an opset: the one that the onnx release which introduced the opset wrote, so that an
#: ONNX Runtime of that time reads the file (https://onnx.ai/onnx/intro/concepts.html, onnx/docs/Versioning.md).
IR_VERSION_OF_OPSET: dict[int, int] = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}

#: What the clean graph of any BERT head needs, operator by operator of ai.onnx.
PORTABLE_OPERATORS = frozenset(
    {
        "Add", "And", "Cast", "Clip", "Concat", "ConstantOfShape", "Div", "Equal", "Erf", "Expand", "Gather",
        "Gelu", "Gemm", "Greater", "GreaterOrEqual", "LayerNormalization", "Less", "LessOrEqual", "MatMul", "Max",
        "Min", "Mul", "Pow", "Range", "ReduceL2", "ReduceMax", "ReduceSum", "Relu", "Reshape", "Shape", "Sigmoid",
        "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze", "Where",
    }
)  # fmt: skip

#: Clean-up that every traced graph goes through, in this order.
CLEAN_UP = (
    "name_by_scope",
    "transpose_weights",
    "fold_constants",
    "simplify_shapes",
    "simplify",
    "set_opset",
    "finish",
)


@dataclass(frozen=True)
class Target:
    """One row of the table.

    Args:
        name: what a user types.
        opset: the opset that is written unless the user asks for another.
        domains: operator domains that its clients have.
        operators: operators of ai.onnx that may appear.
        passes: names of passes, in order.
        precisions: precisions that the clients run.
        purpose: one sentence for people.
    """

    name: str
    opset: int
    domains: tuple[str, ...]
    operators: frozenset[str]
    passes: tuple[str, ...]
    precisions: tuple[str, ...]
    purpose: str


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="portable",
            opset=18,
            domains=("",),
            operators=PORTABLE_OPERATORS,
            passes=CLEAN_UP,
            precisions=("fp32",),
            purpose="standard operators only; opens wherever ONNX does",
        ),
    )
}


def find_target(name: str) -> Target:
    """The row for `name`.

    Raises:
        UsageError: there is no such target; the message lists those that there are.
    """
    if name not in TARGETS:
        raise UsageError(f"target {name!r} is unknown; choose one of {', '.join(TARGETS)}.")
    return TARGETS[name]


def check_opset(opset: int) -> int:
    """`opset` if it can be exported.

    Raises:
        UsageError: it is out of range.
    """
    if not MIN_OPSET <= opset <= MAX_OPSET:
        raise UsageError(f"opset {opset} is out of range; choose one from {MIN_OPSET} to {MAX_OPSET}.")
    return opset
