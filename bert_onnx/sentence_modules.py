"""What makes one vector of a text from the vectors of its tokens: the modules of sentence-transformers, as data.

A chain of modules reads and writes named features, as `sentence_transformers` has it: TOKENS [B, S, D] is there first,
and SENTENCE [B, D'] is what the last module leaves. `bert_onnx.modeling.sentence_chain` computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from bert_onnx.errors import UsageError

#: A whole number of at least 1.
Size = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]

TOKENS = "token_embeddings"
SENTENCE = "sentence_embedding"
#: What a graph calls SENTENCE where it holds weights of the vocabulary.
SPARSE = "sparse_embedding"

#: How a SpladePooling makes one weight of a token's logits, and what it does to logits beside the one logarithm.
SPLADE_STRATEGIES = ("max", "sum")
SPLADE_ACTIVATIONS = ("relu", "log1p_relu")

#: How a pooling makes one vector of many; several are joined in the order in which a module names them.
POOLING_MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")

#: Classes of torch.nn that need no arguments: what a Dense module may name as its activation.
ACTIVATIONS = (
    "Identity", "CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU",
    "LogSigmoid", "LogSoftmax", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softmax",
    "Softmin", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink",
)  # fmt: skip

#: Those that make a cross-encoder's scores of its logits: GLU would halve their number, RReLU draws its slope.
SCORE_ACTIVATIONS = tuple(name for name in ACTIVATIONS if name not in ("GLU", "RReLU"))


class Pooling(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="Pooling"):
    """TOKENS to SENTENCE: one vector a text.

    Args:
        modes: names among POOLING_MODES, at least one; their vectors are joined.
        include_prompt: the tokens of a prompt take part, as all others do.
    """

    modes: tuple[str, ...]
    include_prompt: bool = True

    def __post_init__(self) -> None:
        unknown = [mode for mode in self.modes if mode not in POOLING_MODES]
        if unknown or not self.modes:
            named = ", ".join(map(repr, unknown)) or "no pooling"
            raise UsageError(f"{named} is not a pooling mode; choose from {', '.join(POOLING_MODES)}.")


class SpladePooling(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="SpladePooling"):
    """TOKENS that are logits of the vocabulary to SENTENCE: one weight for each token of the vocabulary.

    Args:
        strategy: one of SPLADE_STRATEGIES, over the tokens of the text.
        activation: one of SPLADE_ACTIVATIONS; log1p_relu takes the logarithm twice.
        chunk_size: tokens that sentence-transformers pools at once, to save memory; it changes no result.
    """

    strategy: str = SPLADE_STRATEGIES[0]
    activation: str = SPLADE_ACTIVATIONS[0]
    chunk_size: int | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("pooling_strategy", self.strategy, SPLADE_STRATEGIES),
            ("activation_function", self.activation, SPLADE_ACTIVATIONS),
        ):
            if value not in known:
                raise UsageError(f"{name} {value!r} is not one of {', '.join(known)}.")


class Dense(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="Dense"):
    """A linear layer and an activation on one feature.

    Args:
        folder: where its weights lie in the checkpoint.
        in_features, out_features: columns and rows of its weight.
        bias: whether it has one.
        activation: a name among ACTIVATIONS.
        reads, writes: names of features.
    """

    folder: str
    in_features: Size
    out_features: Size
    bias: bool
    activation: str
    reads: str = SENTENCE
    writes: str = SENTENCE

    def __post_init__(self) -> None:
        _check_folder(self.folder)
        _check_activation(self.activation)
        if self.reads == TOKENS:
            _check_token_activation(self.activation)

    @property
    def width(self) -> int:
        """How many values it gives for each vector: GLU multiplies one half by the other."""
        return self.out_features // 2 if self.activation == "GLU" else self.out_features


class Projection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="Projection"):
    """A linear layer and an activation on TOKENS, as PyLate's Dense is.

    Args:
        folder: where its weights lie in the checkpoint; empty for `linear.weight` among those of the transformer.
        in_features, out_features: columns and rows of its weight.
        bias: whether it has one.
        activation: a name among ACTIVATIONS.
        residual: what it reads is added to what it gives, by a matrix of its own where their widths differ.
    """

    folder: str
    in_features: Size
    out_features: Size
    bias: bool
    activation: str
    residual: bool = False

    def __post_init__(self) -> None:
        _check_folder(self.folder)
        _check_activation(self.activation)
        _check_token_activation(self.activation)


class NormalizeTokens(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="NormalizeTokens"):
    """Scales TOKENS to length 1 each."""


class LayerNorm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="LayerNorm"):
    """LayerNorm over SENTENCE.

    Args:
        folder: where its weights lie in the checkpoint.
        dimension: values of a vector.
    """

    folder: str
    dimension: Size

    def __post_init__(self) -> None:
        _check_folder(self.folder)


class Normalize(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="Normalize"):
    """Scales SENTENCE to length 1; nothing where there is none yet."""


def _check_activation(name: str) -> None:
    if name not in ACTIVATIONS:
        raise UsageError(f"{name!r} is not an activation; choose from {', '.join(ACTIVATIONS)}.")


def _check_token_activation(name: str) -> None:
    if name in ("Softmax", "Softmin", "LogSoftmax"):
        raise UsageError(
            f"{name} on vectors of tokens runs over the texts of a batch in torch: what a text gives depends on the "
            "others, and alone it says nothing."
        )


def _check_folder(folder: str) -> None:
    """A manifest may come from anywhere: weights are read from within the checkpoint alone."""
    if ".." in folder.split("/") or folder.startswith("/") or set(folder) & set("\\:\0"):
        raise UsageError(f"the folder {folder[:120]!r} leads out of the checkpoint.")


Module = Pooling | SpladePooling | Dense | Projection | LayerNorm | Normalize | NormalizeTokens


def pooled(*modes: str, normalize: bool = True) -> tuple[Module, ...]:
    """One pooling, and perhaps scaling to length 1."""
    return (Pooling(modes), Normalize()) if normalize else (Pooling(modes),)


def excludes_prompt(modules: Sequence[Module]) -> bool:
    """Whether a pooling leaves out the tokens of the prompt, so that their number must be known."""
    return any(isinstance(module, Pooling) and not module.include_prompt for module in modules)


def is_sparse(modules: Sequence[Module]) -> bool:
    """Whether `modules` make weights of the vocabulary of its logits, rather than a vector of hidden states."""
    return any(isinstance(module, SpladePooling) for module in modules)


def keeps_tokens(modules: Sequence[Module]) -> bool:
    """Whether `modules` make a vector of each token, rather than one of a text."""
    return any(isinstance(module, (Projection, NormalizeTokens)) for module in modules)


def embedding_width(modules: Sequence[Module], token_width: int) -> int:
    """Values of the SENTENCE that `modules` make of tokens with `token_width` values; or of TOKENS, if they keep those.

    Raises:
        UsageError: a module reads what nothing wrote, or vectors of another size; or nothing writes SENTENCE.
    """
    widths = {TOKENS: token_width}
    for module in modules:
        if isinstance(module, Pooling):
            widths[SENTENCE] = len(module.modes) * widths[TOKENS]
        elif isinstance(module, SpladePooling):
            widths[SENTENCE] = widths[TOKENS]
        elif isinstance(module, Dense):
            _check_width(widths, module.reads, module.in_features, f"Dense in {module.folder}")
            if module.activation == "GLU" and module.out_features % 2:
                raise UsageError(f"Dense in {module.folder} cannot halve {module.out_features} values for GLU.")
            widths[module.writes] = module.width
        elif isinstance(module, Projection):
            _check_width(widths, TOKENS, module.in_features, f"Dense in {module.folder or 'the weights'}")
            widths[TOKENS] = module.out_features
        elif isinstance(module, LayerNorm):
            _check_width(widths, SENTENCE, module.dimension, f"LayerNorm in {module.folder}")
    if keeps_tokens(modules):
        return widths[TOKENS]
    if SENTENCE not in widths:
        raise UsageError("no module makes one vector of a text: there is no Pooling.")
    return widths[SENTENCE]


def _check_width(widths: dict[str, int], name: str, wanted: int, what: str) -> None:
    if name not in widths:
        raise UsageError(f"{what} reads {name}, which no module before it makes.")
    if widths[name] != wanted:
        raise UsageError(f"{what} takes vectors of {wanted} values, but {name} has {widths[name]} there.")


def describe(modules: Sequence[Module]) -> str:
    """The chain in a few words, for people: `mean + max pooling, Dense 768 to 256 (Tanh), normalised`."""
    return ", ".join(_described(module) for module in modules)


def _described(module: Module) -> str:
    if isinstance(module, Pooling):
        without = "" if module.include_prompt else " without the prompt"
        return f"{' + '.join(module.modes)} pooling{without}"
    if isinstance(module, SpladePooling):
        return f"{module.strategy} SPLADE pooling ({module.activation})"
    if isinstance(module, Dense):
        return f"Dense {module.in_features} to {module.width} ({module.activation})"
    if isinstance(module, Projection):
        residual = " with a residual" if module.residual else ""
        return f"projection {module.in_features} to {module.out_features} ({module.activation}){residual}"
    if isinstance(module, NormalizeTokens):
        return "tokens normalised"
    return "normalised" if isinstance(module, Normalize) else "LayerNorm"
