"""The rules that a BertConfig must keep, as tables and checks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bert_onnx.errors import ConfigError
from bert_onnx.family import AFTER_PADDING, FAMILIES, refusal
from bert_onnx.family.modernbert import DROPOUTS, FLAGS, POOLINGS, validate_rotary
from bert_onnx.family.row import ROTARY

RELATIVE_POSITIONS = ("relative_key", "relative_key_query")
POSITION_EMBEDDING_TYPES = ("absolute", *RELATIVE_POSITIONS)
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
#: The GELU, exact, clipped or by tanh; fused operators are counted for these.
GELUS = (
    "gelu",
    "gelu_10",
    "gelu_accurate",
    "gelu_fast",
    "gelu_new",
    "gelu_python",
    "gelu_python_tanh",
    "gelu_pytorch_tanh",
)
ACTIVATIONS = (
    *GELUS,
    *("laplace", "leaky_relu", "linear", "mish", "prelu", "quick_gelu", "relu", "relu2", "relu6"),
    *("sigmoid", "silu", "swish", "tanh"),
)
#: Activations of transformers that are not computed here: xielu has four parameters in every layer, kept in bfloat16.
OTHER_ACTIVATIONS = ("xielu",)
DTYPES = ("float32", "float16", "bfloat16")
ATTN_IMPLEMENTATIONS = ("eager", "sdpa")
#: More classes than any head has; a config.json that asks for more would fill the memory with labels.
MAX_LABELS = 1_000_000


def is_int(value: Any) -> bool:
    """Whether `value` is a whole number; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return is_int(value) or (isinstance(value, float) and math.isfinite(value))


#: Smallest legal value of every integer field.
_MINIMA = {
    "vocab_size": 1,
    "hidden_size": 1,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 1,
    "max_position_embeddings": 1,
    "type_vocab_size": 1,
    "chunk_size_feed_forward": 0,
}
_CHOICES = {
    "hidden_act": ACTIVATIONS,
    "position_embedding_type": (*POSITION_EMBEDDING_TYPES, None),
    "dtype": DTYPES,
    "attn_implementation": ATTN_IMPLEMENTATIONS,
    "problem_type": (*PROBLEM_TYPES, None),
    "classifier_activation": (*ACTIVATIONS, None),
    "classifier_pooling": (*POOLINGS, None),
}
#: The same of fields that some families have; None where they do not.
_FAMILY_MINIMA = dict.fromkeys(("embedding_size", "num_hidden_groups", "inner_group_num", "task_type_vocab_size"), 1)
_FAMILY_MINIMA |= {"relative_attention_num_buckets": 4, "global_attn_every_n_layers": 1, "local_attention": 0}
_FLAGS = (
    "is_decoder",
    "add_cross_attention",
    "use_cache",
    "tie_word_embeddings",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
)
#: Flags and probabilities that may be None.
_OPTIONAL_FLAGS = ("use_task_id", *FLAGS)
_OPTIONAL_PROBABILITIES = ("classifier_dropout", "qa_dropout", *DROPOUTS)
_PROBABILITIES = ("hidden_dropout_prob", "attention_probs_dropout_prob", *_OPTIONAL_PROBABILITIES)
TOKEN_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id", "mask_token_id")


def validate(fields: Mapping[str, Any]) -> None:
    """Every rule that the fields of a config, by name, must keep. Raises ConfigError for the first one broken."""
    if fields["model_type"] not in FAMILIES:
        raise ConfigError(refusal(fields["model_type"], FAMILIES))
    present = {name: least for name, least in _FAMILY_MINIMA.items() if fields[name] is not None}
    for name, minimum in {**_MINIMA, **present}.items():
        value = fields[name]
        if not is_int(value) or value < minimum:
            raise ConfigError(f"{name} is {value!r}; it must be a whole number of at least {minimum}.")
    if fields["hidden_act"] in OTHER_ACTIVATIONS:
        raise ConfigError(
            f"hidden_act is {fields['hidden_act']!r}, which bert-onnx does not compute; it computes "
            f"{', '.join(ACTIVATIONS)}. Export such a model with torch.onnx.export; `bert-onnx optimize` takes its "
            "graph."
        )
    for name, choices in _CHOICES.items():
        value = fields[name]
        if value not in choices:
            listed = ", ".join(str(choice) for choice in choices if choice is not None)
            raise ConfigError(f"{name} is {value!r}; supported are {listed}.")
    for name in (*_FLAGS, *(name for name in _OPTIONAL_FLAGS if fields[name] is not None)):
        if not isinstance(fields[name], bool):
            raise ConfigError(f"{name} is {fields[name]!r}; it must be true or false.")
    for name in _PROBABILITIES:
        value = fields[name]
        if not (value is None and name in _OPTIONAL_PROBABILITIES) and not (_is_number(value) and 0 <= value <= 1):
            raise ConfigError(f"{name} is {value!r}; it must be a number from 0 to 1.")
    for name in ("initializer_range", "layer_norm_eps"):
        if not _is_number(fields[name]) or fields[name] < 0:
            raise ConfigError(f"{name} is {fields[name]!r}; it must be a number of at least 0.")
    for name in TOKEN_IDS:
        value = fields[name]
        ids = value if isinstance(value, tuple) and name == "eos_token_id" else [] if value is None else [value]
        if not all(is_int(one) and 0 <= one < fields["vocab_size"] for one in ids):
            raise ConfigError(
                f"{name} is {value!r}; it must lie within the vocabulary of {fields['vocab_size']} tokens."
            )
    if not all(isinstance(name, str) for name in fields["architectures"]):
        raise ConfigError(f"architectures is {list(fields['architectures'])!r}; it must be a list of class names.")
    _validate_structure(fields)


def _validate_structure(fields: Mapping[str, Any]) -> None:
    """Rules between fields."""
    hidden_size, num_heads, num_layers = (
        fields[name] for name in ("hidden_size", "num_attention_heads", "num_hidden_layers")
    )
    if hidden_size % num_heads:
        raise ConfigError(f"hidden_size {hidden_size} is not a multiple of num_attention_heads {num_heads}.")
    if fields["add_cross_attention"] and not fields["is_decoder"]:
        raise ConfigError("add_cross_attention is true but is_decoder is false; cross-attention needs a decoder.")
    _validate_positions(fields)
    _validate_groups(fields)
    ids = sorted(fields["id2label"])
    if ids != list(range(len(ids))) or not ids:
        raise ConfigError(f"id2label has the ids {ids}; they must run from 0 without a gap.")
    for layer, heads in fields["pruned_heads"].items():
        legal = all(is_int(head) and 0 <= head < num_heads for head in heads)
        distinct = len(set(heads)) == len(heads) < num_heads
        if not (0 <= layer < num_layers and legal and distinct):
            raise ConfigError(
                f"pruned_heads {{{layer}: {list(heads)}}} does not fit {num_layers} layers of "
                f"{num_heads} heads, of which at least one must remain."
            )


def _validate_positions(fields: Mapping[str, Any]) -> None:
    """Positions that count from the padding token need it, and a table that goes beyond it."""
    if FAMILIES[fields["model_type"]].positions == ROTARY:
        validate_rotary(fields)
    if FAMILIES[fields["model_type"]].positions != AFTER_PADDING:
        return
    fixed, positions = FAMILIES[fields["model_type"]].padding, fields["max_position_embeddings"]
    padding = fields["pad_token_id"] if fixed is None else fixed
    if padding is None:
        raise ConfigError(f"pad_token_id is not set; positions of {fields['model_type']} count from it.")
    if positions <= padding + 1:
        raise ConfigError(
            f"max_position_embeddings is {positions} and the padding token is {padding}; positions of "
            f"{fields['model_type']} count from the one after it, so that there is none for a token."
        )


def _validate_groups(fields: Mapping[str, Any]) -> None:
    """Groups of layers: no more than there are layers, and none that transformers has no masks of heads for."""
    groups, layers = fields["num_hidden_groups"], fields["num_hidden_layers"]
    if groups is not None and groups > layers:
        raise ConfigError(f"num_hidden_groups is {groups}, more than num_hidden_layers, {layers}.")
    inner = fields["inner_group_num"] or 1
    if inner > layers // (groups or layers) and inner > 1:
        raise ConfigError(
            f"inner_group_num is {inner}, more than num_hidden_layers / num_hidden_groups, {layers} / {groups}; "
            "transformers has no such models, either."
        )
