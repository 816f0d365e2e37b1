"""How many of each fused operator a graph must have: what the config implies, for each target. A miss is an error.

A pass that does not fire breaks nothing: the graph is right and slow. So nobody would notice, unless somebody counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from bert_onnx.config import BertConfig
from bert_onnx.config_rules import GELUS
from bert_onnx.errors import ExportError
from bert_onnx.family import FROM_ZERO, Family, Summary
from bert_onnx.family.row import NEVER
from bert_onnx.sentence_modules import TOKENS, Dense, Projection
from bert_onnx.tasks import Task, TaskOptions
from export.onnx_file.operators import count_operators
from export.passes.table import Ledger
from export.targets import Target

#: Model classes whose head has an activation and a LayerNorm of its own before the vocabulary.
_TRANSFORMING = ("BertForMaskedLM", "BertForPreTraining", "BertLMHeadModel")

#: Model classes that read the pooled first token and nothing else.
_FIRST_ROW_ONLY = ("BertForSequenceClassification", "BertForNextSentencePrediction", "BertForMultipleChoice")

#: Model classes whose head may have a layer of its own for the first token -> where the family says so.
_SUMMARIES: dict[str, Callable[[Family], Summary | None]] = {
    "BertForSequenceClassification": lambda family: family.summary,
    "BertForMultipleChoice": lambda family: family.choice_summary,
}

#: Model classes whose head works on tokens, and may have a layer of its own before the classifier.
_TOKEN_HEADS = ("BertForTokenClassification", "BertForQuestionAnswering")

#: Refusals that a message quotes.
_QUOTED = 3


@dataclass(frozen=True)
class Implied:
    """What a model has, by its config and task.

    Args:
        attentions: of tokens to tokens and, in decoders that read an encoder, of tokens to the encoder's.
        rotations: queries and keys that are turned by their positions.
        shared: attentions whose weights another one reads, too.
        gelus: activations, of layers, heads and the modules behind them.
        plain_gelus: those without an Add of a bias before them: there is none, or a Gemm of vectors of texts has it.
        residuals: LayerNorms of a sum with what came before.
        probabilities: they are outputs of the graph.
        sliced: a token's position is its place in the row, so that positions are the first rows of a table.
        even: the terms of the sum of embeddings, several, have one shape.
        cached: positions start after a cache.
        packed: the embeddings, too, run on real tokens only.
        unpadded: everything but attention and, unless `packed`, the embeddings runs on real tokens only.
        packable: attentions that can run on them, too: nothing but a key mask is added to their scores.
        first_row: only the first row of the last layer is used.
    """

    attentions: int
    rotations: int
    shared: int
    gelus: int
    plain_gelus: int
    residuals: int
    probabilities: bool
    sliced: bool
    even: bool
    cached: bool
    packed: bool
    unpadded: bool
    packable: int
    first_row: bool


@dataclass(frozen=True)
class Expectation:
    """One row.

    Args:
        kind: what is counted, as the manifest names it.
        passes: the passes that make it; their counts add up, and their refusals explain a miss.
        operators: the nodes that they leave; empty where later passes replace them.
        count: how many a model must have; None where the graph decides.
        told: it is in the manifest where there is none, too.
    """

    kind: str
    passes: tuple[str, ...]
    operators: tuple[str, ...]
    count: Callable[[Implied], int | None]
    told: bool = True


def _embeddings(implied: Implied) -> int:
    """Look-ups, sum and LayerNorm are one node where every token's position is its place in the row."""
    return int(implied.sliced and not implied.cached and not implied.packed)


def _residuals(implied: Implied) -> int:
    """The embeddings count where all of their terms have one shape."""
    return implied.residuals + int(implied.even)


def _fused_attentions(implied: Implied) -> int:
    """An attention whose probabilities are read stays spelled out."""
    return 0 if implied.probabilities else implied.attentions


def _packed_attentions(implied: Implied) -> int:
    """An attention of the first row alone reads keys and values that were restored."""
    return implied.packable - int(implied.first_row) if implied.unpadded and implied.packable else 0


#: A row holds for a target that has one of its passes.
EXPECTATIONS = (
    Expectation("attention", ("raise_attention",), (), lambda implied: implied.attentions),
    Expectation("rotary", ("raise_rotary",), (), lambda implied: implied.rotations, told=False),
    Expectation("gelu", ("raise_gelu",), (), lambda implied: implied.gelus),
    Expectation("merged_projections", ("merge_qkv",), (), lambda implied: implied.attentions - implied.shared),
    Expectation(
        "fused_attention",
        (
            "lower_attention_microsoft",
            "lower_attention_lengths",
            "lower_packed_attention",
            "lower_mha",
            "lower_mha_biases_apart",
        ),
        (
            "com.microsoft.Attention",
            "com.microsoft.MultiHeadAttention",
            "com.microsoft.PackedMultiHeadAttention",
        ),
        _fused_attentions,
    ),
    Expectation(
        "packed_attention",
        ("lower_packed_attention",),
        ("com.microsoft.PackedMultiHeadAttention",),
        _packed_attentions,
    ),
    Expectation(
        "fused_gelu",
        ("fuse_bias_gelu",),
        ("com.microsoft.BiasGelu", "com.microsoft.FastGelu"),
        lambda implied: implied.gelus - implied.plain_gelus,
    ),
    Expectation("skip_layer_norm", ("fuse_skip_layer_norm",), ("com.microsoft.SkipLayerNormalization",), _residuals),
    Expectation("embeddings", ("fuse_embeddings",), ("com.microsoft.EmbedLayerNormalization",), _embeddings),
    Expectation(
        "unpadded_attention",
        ("unpad", "remove_padding"),
        (),
        lambda implied: implied.attentions if implied.unpadded else None,
    ),
    Expectation("first_row", ("first_row",), (), lambda implied: int(implied.first_row)),
)


def implied_by(target: Target, config: BertConfig, task: Task, options: TaskOptions) -> Implied:
    """What a graph of `task` must have."""
    absolute = config.position_embedding_type == "absolute"
    family = config.family
    relative = config.relative_positions or family.relative_bias
    layers, cross = len(config.layer_order), task.decoder and config.add_cross_attention
    local = [config.local_layers[own] for own in config.layer_order]
    summary = _SUMMARIES.get(task.model_class, lambda family: None)(family)
    pooled = config.classifier_pooling == "mean" or (summary is not None and summary.real)
    every_row = options.output_attentions or options.output_hidden_states or relative or pooled or local[-1]
    gelus, plain = _gelus(config, task, summary)
    dense = [
        module for module in options.modules if isinstance(module, (Dense, Projection)) and module.activation == "GELU"
    ]
    unpadded = bool({"unpad", "remove_padding"} & set(target.passes)) and not task.cached and not cross
    packed = unpadded and "unpad" in target.passes
    sliced = absolute and family.positions == FROM_ZERO
    typed = task.typed and config.takes_token_types
    typeless = family.token_types != NEVER and not typed
    one_row = not absolute and (typeless or bool(config.use_task_id))
    return Implied(
        attentions=layers * (2 if cross else 1),
        rotations=2 * layers if config.rotary else 0,
        shared=sum(config.layer_order.count(own) > 1 for own in config.layer_order),
        gelus=gelus + len(dense),
        plain_gelus=plain + sum(not (_on_tokens(module) and module.bias) for module in dense),
        residuals=_residual_norms(config, options, layers * (3 if cross else 2)),
        probabilities=options.output_attentions,
        sliced=sliced,
        even=not family.norm_first and (typed or absolute) and not one_row and (packed or not sliced),
        cached=task.cached,
        packed=packed,
        unpadded=unpadded,
        packable=0 if relative or task.decoder or options.output_attentions else local.count(False),
        first_row=task.model_class in _FIRST_ROW_ONLY and not every_row,
    )


def _gelus(config: BertConfig, task: Task, summary: Summary | None) -> tuple[int, int]:
    """GELUs of layers and heads, and how many of them no Add of a bias comes before, or one inside a Gemm."""
    family, layers = config.family, len(config.layer_order)
    found = [(config.hidden_act, layers, config.mlp_bias)]
    if task.model_class in _TRANSFORMING:
        found.append(
            (config.classifier_activation or family.lm_activation or config.hidden_act, 1, config.classifier_bias)
        )
    elif task.model_class in _TOKEN_HEADS and family.token_head:
        found.append((config.classifier_activation or config.hidden_act, 1, config.classifier_bias))
    elif summary is not None:
        found.append((summary.activation or config.classifier_activation or config.hidden_act, 1, False))
    counted = [(count, bias) for activation, count, bias in found if activation in GELUS]
    return sum(count for count, _ in counted), sum(count for count, bias in counted if bias is False)


def _residual_norms(config: BertConfig, options: TaskOptions, sums: int) -> int:
    """LayerNorms that alone read one of the `sums` of layers: where they come first, the next sum reads it, too.

    Only the last sum then has the last norm for its one reader, unless it is an output.
    """
    family = config.family
    if not family.norm_first:
        return sums
    return int(family.norm_last_state or not options.output_hidden_states)


def check_expectations(
    model: ir.Model, ledger: Ledger, target: Target, config: BertConfig, task: Task, options: TaskOptions
) -> dict[str, int]:
    """Count what `target` wants fused in the finished `model`, and compare it with what the config implies.

    Returns:
        How many there are of each kind, for the manifest.

    Raises:
        ExportError: a count is another one; the message has the nodes and reasons that the passes gave.
    """
    implied, operators = implied_by(target, config, task, options), count_operators(model)
    found = {}
    for row in EXPECTATIONS:
        if not set(row.passes) & set(target.passes):
            continue
        wanted, fired = row.count(implied), sum(outcome.count for name, outcome in ledger if name in row.passes)
        left = sum(operators[name] for name in row.operators) if row.operators else fired
        if wanted is not None and not fired == left == wanted:
            raise ExportError(_miss(row, target, ledger, wanted, min(fired, left)))
        if left or row.told:
            found[row.kind] = left
    return found


def _miss(row: Expectation, target: Target, ledger: Ledger, wanted: int, got: int) -> str:
    """What is missing, and what the passes said about it."""
    refusals = [outcome.refusals for name, outcome in ledger if name in row.passes and outcome.refusals]
    # Of several passes that try in turn, the last one decides.
    reasons = [f"{refusal.node}: {refusal.reason}" for refusal in (refusals[-1] if refusals else ())]
    said = "; ".join(reasons[:_QUOTED]) if reasons else f"{' and '.join(row.passes)} found nothing like it"
    more = f"; and {len(reasons) - _QUOTED} more" if len(reasons) > _QUOTED else ""
    kind = row.kind.replace("_", " ")
    return f"the {target.name} graph must have {wanted} x {kind} and has {got}: {said}{more}."


def _on_tokens(module: Dense | Projection) -> bool:
    return isinstance(module, Projection) or module.reads == TOKENS
