"""Which nodes compute in 16 bits and which in float32: one table, and the rule for what it does not name."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from export.passes.graph.writer import MICROSOFT

NARROW, WIDE, OTHER, CONSTANT = "narrow", "wide", "other", "constant"

#: Where the time goes. They sum in float32 inside on every runtime that has them in 16 bits; LayerNormalization does by
#: its own definition (stash_type = 1).
_NARROW = frozenset(
    {
        ("", "Attention"), ("", "Einsum"), ("", "Gelu"), ("", "Gemm"), ("", "LayerNormalization"), ("", "MatMul"),
        *((MICROSOFT, name) for name in (
            "Attention", "BiasGelu", "EmbedLayerNormalization", "FastGelu", "Gelu", "MultiHeadAttention",
            "PackedMultiHeadAttention", "SkipLayerNormalization",
        )),
    }
)  # fmt: skip

#: Of those, these have no bf16 by their schemas, whatever the provider: a graph that gives it to them does not open.
_NO_BF16 = frozenset({("", "Einsum"), (MICROSOFT, "EmbedLayerNormalization"), (MICROSOFT, "PackedMultiHeadAttention")})

#: Compute in what they are given, and in 16 bits where everything that they are given is.
_FOLLOWING = frozenset(
    {
        "Add", "Clip", "Concat", "Div", "Erf", "Expand", "Flatten", "Gather", "GatherElements", "GatherND",
        "Identity", "Max", "Min", "Mul", "Neg", "Pad", "Relu", "Reshape", "ScatterElements", "ScatterND", "Slice",
        "Split", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze", "Where",
    }
)  # fmt: skip

#: ONNX Runtime's own that only move what they are given.
_MOVING = frozenset({"RemovePadding", "RestorePadding"})

#: Of constants alone, these are look-ups in weights; whatever else has only constants, such as a Where between 0 and a
#: fill value, makes a mask.
_LOOK_UPS = frozenset(
    {"Expand", "Gather", "GatherND", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)

#: The fill values of masks do not come through these.
STOPS_FILLS = frozenset({"LogSoftmax", "Softmax"})

#: Already of fewer bits: not to be converted again.
QUANTIZED = frozenset(
    {
        "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "MatMulNBits", "QAttention", "QLinearMatMul",
        "QuantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "GatherBlockQuantized",
    }
)  # fmt: skip

#: Outputs that stay float32 whatever the operator computes in: mean and inverse deviation.
_ALWAYS_WIDE: dict[tuple[str, str], frozenset[int]] = {
    ("", "LayerNormalization"): frozenset({1, 2}),
    (MICROSOFT, "SkipLayerNormalization"): frozenset({1, 2}),
}


def computes_in(node: ir.Node, inputs: Sequence[str], precision: str) -> str:
    """NARROW or WIDE, or OTHER where no floats go in.

    Softmax, sums, norms and powers are in no list and so stay wide, as does whatever is unknown: a sum over 512 tokens
    has three digits in fp16, and the squares of a norm overflow.

    Args:
        node: the node.
        inputs: what each of its inputs is.
        precision: `fp16` or `bf16`.
    """
    floats = [kind for kind in inputs if kind in (NARROW, WIDE, CONSTANT)]
    if not floats:
        return OTHER
    if (node.domain, node.op_type) in _NARROW:
        return WIDE if precision == "bf16" and (node.domain, node.op_type) in _NO_BF16 else NARROW
    if node.op_type in (_FOLLOWING if node.domain == "" else _MOVING):
        computed = [kind for kind in floats if kind != CONSTANT]
        if not computed:
            return NARROW if node.op_type in _LOOK_UPS else WIDE
        return NARROW if all(kind == NARROW for kind in computed) else WIDE
    return WIDE


def output_kind(node: ir.Node, position: int, mode: str) -> str:
    """What output number `position` of a node that computes in `mode` is."""
    if not is_float(node.outputs[position], mode):
        return OTHER
    if node.op_type == "Cast" or position in _ALWAYS_WIDE.get((node.domain, node.op_type), ()):
        return WIDE
    return NARROW if mode == NARROW else WIDE


#: Operators whose outputs are never floats, whatever goes in.
_INTEGER_OUTPUTS = frozenset(
    {"ArgMax", "ArgMin", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "NonZero",
     "Shape", "Size"}
)  # fmt: skip

_INTEGER_PLACES = frozenset(
    {(MICROSOFT, "EmbedLayerNormalization", 1), *((MICROSOFT, "RemovePadding", place) for place in (1, 2, 3))}
)


def is_float(value: ir.Value, mode: str) -> bool:
    """Whether `value` holds float32: by its type where it has one, else by its producer."""
    if value.dtype is not None:
        return value.dtype == ir.DataType.FLOAT
    node = value.producer()
    if node is None or (node.domain, node.op_type, value.index()) in _INTEGER_PLACES:
        return False
    if node.op_type == "Cast":
        return node.attributes["to"].as_int() == ir.DataType.FLOAT
    return mode != OTHER and node.op_type not in _INTEGER_OUTPUTS
