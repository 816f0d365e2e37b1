"""THE table of targets: what a graph may contain so that its clients open it, and the passes that make it so."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bert_onnx.errors import UsageError

#: Opsets that we trace and test. The exporter of torch traces 18 and later itself; 17 is reached by our own pass.
MIN_OPSET = 17
MAX_OPSET = 23

#: IR version that belongs to an opset: the one that the onnx release which introduced the opset wrote, so that an
#: ONNX Runtime of that time reads the file (https://onnx.ai/onnx/intro/concepts.html, onnx/docs/Versioning.md).
IR_VERSION_OF_OPSET: dict[int, int] = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}

#: What activations of a Dense module need beside them.
ACTIVATION_OPERATORS = frozenset(
    {
        "Abs", "Celu", "Elu", "Exp", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "LogSoftmax", "Mish", "Neg",
        "PRelu", "Selu", "Sign",
    }
)  # fmt: skip

#: What the clean graph of any BERT head needs, operator by operator of ai.onnx.
PORTABLE_OPERATORS = ACTIVATION_OPERATORS | frozenset(
    {
        "Add", "And", "Cast", "Clip", "Concat", "ConstantOfShape", "CumSum", "Div", "Einsum", "Equal", "Erf", "Expand",
        "Gather", "Gelu", "Gemm", "Greater", "GreaterOrEqual", "Identity", "LayerNormalization", "Less", "LessOrEqual",
        "MatMul", "Max", "Min", "Mul", "Not", "Pow", "Range", "ReduceL2", "ReduceMax", "ReduceSum", "Relu", "Reshape",
        "Shape", "Sigmoid", "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze",
        "Where",
    }
)  # fmt: skip

#: ONNX Runtime's own operators that our fusions write.
MICROSOFT_OPERATORS = frozenset(
    f"com.microsoft.{name}"
    for name in (
        "Attention", "BiasGelu", "EmbedLayerNormalization", "FastGelu", "Gelu", "MatMulIntegerToFloat",
        "MultiHeadAttention", "SkipLayerNormalization",
    )
)  # fmt: skip

#: What packing real tokens and sorting texts by length needs beside them.
UNPADDING_OPERATORS = frozenset({"Mod", "NonZero", "Pad", "ScatterElements", "TopK"})

#: What skipping the padding on CUDA needs beside them; Mod where layers know places, as rotations do.
PACKED_OPERATORS = frozenset(
    {"Mod"} | {f"com.microsoft.{name}" for name in ("PackedMultiHeadAttention", "RemovePadding", "RestorePadding")}
)

#: Clean-up that every traced graph goes through before anything else.
PREPARE = ("name_by_scope", "transpose_weights", "fold_constants", "simplify_shapes", "simplify")

#: From what the tracer spelled out to the canonical form, and the part of it that is used.
RAISE = ("raise_gelu", "raise_masks", "raise_rotary", "raise_attention", "simplify", "first_row")

#: The same numbers with fewer operators.
FOLD = ("fold_token_type", "fold_scale", "drop_key_bias", "fold_value_bias")
ALGEBRA = (*FOLD, "merge_qkv")

#: What is folded before int8: all that leaves the inputs of products as they are, so that what was learned of them on
#: one graph holds on all. The bias of the values would be missing from the context.
FOLD_INT8 = ("fold_token_type", "fold_scale", "drop_key_bias")
ALGEBRA_INT8 = (*FOLD_INT8, "merge_qkv")

#: ONNX Runtime's operators for everything but attention and embeddings.
FUSE = ("fuse_bias_gelu", "fuse_skip_layer_norm")

#: Attention for CUDA, whose masks are lengths.
LENGTHS = ("fold_token_type", "lower_attention_lengths", "lower_mha")

#: Real tokens only, and attention on rows that short texts share.
UNPAD = ("unpad", "share_rows")

#: What every graph ends with.
CLOSE = ("simplify", "set_opset", "finish")

#: The portable graph: scores are not scaled but queries are, and activations are spelled as runtimes recognise them.
PORTABLE = (*PREPARE, *RAISE, "fold_scale", "lower_plain", *CLOSE)


#: The graph that static int8 is searched on, for all targets. Queries are as large as keys in it: scaled ones would
#: weigh less in the error of their group, and do not in the scores.
SEARCHED = (*PREPARE, *RAISE, "lower_plain", *CLOSE)


@dataclass(frozen=True)
class Target:
    """One row of the table.

    Args:
        name: what a user types.
        opset: the opset that is written unless the user asks for another.
        domains: operator domains that its clients have.
        operators: operators that may appear, `Name` of ai.onnx or `domain.Name`.
        passes: names of passes, in order.
        precisions: precisions that the clients run.
        purpose: one sentence for people.
        requires: what inputs must keep to, beside the contract; see `export.passes.lowering.attention_ort_cuda`.
        external_data: weights lie in a file of their own, which its clients map into memory rather than copy: a session
            of ONNX Runtime opens in a sixth of the time.
        zero_padding: outputs at padding are zeros, not what the model makes of padding; see `unpadding.unpad`.
        input_defaults: its clients need not give inputs that have a default.
        before_int8: names of the passes of a graph that is to be quantised; None for `passes`.
        before_bf16: names of the passes of a graph that is to be in bf16; None for `passes`.
        after_int8: names of passes that follow quantisation.
        isa: the row of `export.quantization.isa` that its int8 files are for; None: those that the user names.
    """

    name: str
    opset: int
    domains: tuple[str, ...]
    operators: frozenset[str]
    passes: tuple[str, ...]
    precisions: tuple[str, ...]
    purpose: str
    requires: tuple[str, ...] = ()
    zero_padding: bool = False
    external_data: bool = False
    input_defaults: bool = True
    before_int8: tuple[str, ...] | None = None
    before_bf16: tuple[str, ...] | None = None
    after_int8: tuple[str, ...] = ()
    isa: str | None = None

    def for_precision(self, precision: str) -> Target:
        """This target with the passes of a graph that becomes `precision`."""
        passes = {"int8": self.before_int8, "bf16": self.before_bf16}.get(precision)
        return replace(self, passes=passes) if passes else self


#: Each choice below is one of those that docs/adr/0003-ort-cpu-operators.md measures.
TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="portable",
            opset=18,
            domains=("",),
            operators=PORTABLE_OPERATORS,
            passes=PORTABLE,
            precisions=("fp32", "fp16", "int8", "int4"),
            purpose="standard operators only; opens wherever ONNX does",
        ),
        # Attention with its projections is never slower than plain operators there, and one node instead of 16.
        # Decoders and relative positions get MultiHeadAttention; read probabilities leave plain operators.
        # EmbedLayerNormalization takes as long as what it replaces, and hides the tables from quantisation. In int8
        # the projections must stay products of their own, so that attention is MultiHeadAttention there, and neither
        # BiasGelu nor SkipLayerNormalization gains on what ONNX Runtime makes of plain operators.
        Target(
            name="ort-cpu",
            opset=18,
            domains=("", "com.microsoft"),
            operators=PORTABLE_OPERATORS | MICROSOFT_OPERATORS,
            passes=(
                *PREPARE,
                *RAISE,
                "fold_token_type",
                "lower_attention_microsoft",
                "lower_mha",
                *FUSE,
                "lower_plain",
                *CLOSE,
            ),
            precisions=("fp32", "int8"),
            purpose="ONNX Runtime on CPUs: fewest nodes, fastest load",
            external_data=True,
            before_int8=(*PREPARE, *RAISE, "fold_token_type", "lower_mha_biases_apart", "lower_plain", *CLOSE),
            after_int8=("fuse_integer_products", "finish"),
        ),
        # Standard operators, for packed tokens run best so: SkipLayerNormalization costs 3 to 9% there, merged
        # projections up to 3%, and MatMul with Add becomes Gemm when the file is opened. In int8, products take their
        # biases in.
        Target(
            name="ort-cpu-unpadded",
            opset=18,
            domains=("", "com.microsoft"),
            operators=PORTABLE_OPERATORS | UNPADDING_OPERATORS | {"com.microsoft.MatMulIntegerToFloat"},
            passes=(*PREPARE, *RAISE, *FOLD, *UNPAD, "lower_plain", *CLOSE),
            precisions=("fp32", "int8", "int4"),
            purpose="ONNX Runtime on CPUs, for batches of texts of different lengths: skips the padding",
            zero_padding=True,
            external_data=True,
            before_int8=(*PREPARE, *RAISE, *FOLD_INT8, *UNPAD, "lower_plain", *CLOSE),
            after_int8=("fuse_integer_products", "finish"),
        ),
        # The kernels without a score matrix in memory take lengths, not masks: padding on the right only. ONNX Runtime
        # has no EmbedLayerNormalization in bf16.
        Target(
            name="ort-cuda",
            opset=18,
            domains=("", "com.microsoft"),
            operators=PORTABLE_OPERATORS | MICROSOFT_OPERATORS,
            passes=(*PREPARE, *RAISE, *LENGTHS, "fuse_embeddings", *FUSE, "lower_plain", *CLOSE),
            precisions=("fp32", "fp16", "bf16"),
            purpose="ONNX Runtime on NVIDIA GPUs; padding on the right only",
            requires=("right_padding",),
            before_bf16=(*PREPARE, *RAISE, *LENGTHS, *FUSE, "lower_plain", *CLOSE),
        ),
        # Queries, keys and values apart: only so does PackedMultiHeadAttention take FlashAttention at every length. Its
        # bias would cost a copy of all three, so the queries keep an Add. No kernel of bf16.
        Target(
            name="ort-cuda-unpadded",
            opset=18,
            domains=("", "com.microsoft"),
            operators=PORTABLE_OPERATORS | MICROSOFT_OPERATORS | PACKED_OPERATORS,
            passes=(
                *PREPARE,
                *RAISE,
                "fold_token_type",
                "drop_key_bias",
                "fold_value_bias",
                "remove_padding",
                "lower_packed_attention",
                "lower_mha",
                "fuse_embeddings",
                *FUSE,
                "lower_plain",
                *CLOSE,
            ),
            precisions=("fp32", "fp16"),
            purpose="ONNX Runtime on NVIDIA GPUs, for batches of texts of different lengths: skips the padding",
            requires=("right_padding",),
            zero_padding=True,
        ),
        # TensorRT finds attention, norms and GELU in plain operators by itself, and has none of ONNX Runtime's.
        Target(
            name="ort-tensorrt",
            opset=18,
            domains=("",),
            operators=PORTABLE_OPERATORS,
            passes=PORTABLE,
            precisions=("fp32", "int8"),
            purpose="ONNX Runtime with TensorRT on NVIDIA GPUs: int8 by its rules",
            isa="tensorrt",
        ),
        # onnxruntime-web's wasm build runs ONNX Runtime's operators no faster than plain ones, and its WebGPU build
        # does not have all of them; opset 18 is the highest that every reader of the last three years has.
        Target(
            name="web",
            opset=18,
            domains=("",),
            operators=PORTABLE_OPERATORS,
            passes=(*PREPARE, *RAISE, *ALGEBRA, "lower_plain", *CLOSE),
            precisions=("fp32", "fp16", "int8", "int4"),
            purpose="onnxruntime-web: standard operators, few of them",
            isa="avx2",  # one file for whatever the page runs on, that saturates nowhere
            before_int8=(*PREPARE, *RAISE, *ALGEBRA_INT8, "lower_plain", *CLOSE),
        ),
        # OpenVINO reads some of ONNX Runtime's operators, and runs them no faster than plain ones.
        Target(
            name="openvino",
            opset=18,
            domains=("",),
            operators=PORTABLE_OPERATORS,
            passes=(*PREPARE, *RAISE, *ALGEBRA, "lower_plain", *CLOSE),
            precisions=("fp32", "fp16", "int8"),
            purpose="OpenVINO: standard operators, merged projections",
            input_defaults=False,  # it takes an input with a default for a constant
            before_int8=(*PREPARE, *RAISE, *ALGEBRA_INT8, "lower_plain", *CLOSE),
        ),
        Target(
            name="openvino-unpadded",
            opset=18,
            domains=("",),
            operators=PORTABLE_OPERATORS | UNPADDING_OPERATORS,
            passes=(*PREPARE, *RAISE, *ALGEBRA, *UNPAD, "lower_plain", *CLOSE),
            precisions=("fp32", "fp16", "int8"),
            purpose="OpenVINO, for batches of texts of different lengths: skips the padding",
            zero_padding=True,
            input_defaults=False,
            before_int8=(*PREPARE, *RAISE, *ALGEBRA_INT8, *UNPAD, "lower_plain", *CLOSE),
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
