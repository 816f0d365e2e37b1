"""Fields of ModernBERT's config.json (Warner et al. 2024), and the rules that they keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bert_onnx.errors import ConfigError

POOLINGS = ("cls", "mean")


@dataclass(frozen=True, kw_only=True)
class ModernBertFields:
    """What BertConfig has for ModernBERT; None in all other families.

    Args:
        global_attn_every_n_layers: of so many layers the first attends to all tokens, the others to near ones.
        local_attention: how many tokens those see: half as many, rounded down, on either side, and the token itself.
        global_rope_theta, local_rope_theta: base of the rotary frequencies in either kind of layers; None for the
            local one means the global one.
        attention_bias, mlp_bias, norm_bias, classifier_bias, decoder_bias: whether layers of attention, feed-forward
            layers, LayerNorms, heads and the layer to the vocabulary have biases. None means that they do.
        classifier_activation: activation of every head; one of `config_rules.ACTIVATIONS`.
        classifier_pooling: `cls` or `mean`: what heads of whole texts read.
        embedding_dropout, mlp_dropout: while training, after the embeddings, and between the feed-forward layers.
    """

    global_attn_every_n_layers: int | None = None
    local_attention: int | None = None
    global_rope_theta: float | None = None
    local_rope_theta: float | None = None
    attention_bias: bool | None = None
    mlp_bias: bool | None = None
    norm_bias: bool | None = None
    classifier_bias: bool | None = None
    decoder_bias: bool | None = None
    classifier_activation: str | None = None
    classifier_pooling: str | None = None
    embedding_dropout: float | None = None
    mlp_dropout: float | None = None


FLAGS = ("attention_bias", "mlp_bias", "norm_bias", "classifier_bias", "decoder_bias")
DROPOUTS = ("embedding_dropout", "mlp_dropout")
THETAS = ("global_rope_theta", "local_rope_theta")


def validate_rotary(fields: Mapping[str, Any]) -> None:
    """What rotary positions need of the fields of a config. Raises ConfigError for the first rule that is broken."""
    for name in THETAS:
        value = fields[name]
        if name == "local_rope_theta" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            raise ConfigError(f"{name} is {value!r}; it must be a number above 0.")
    size = fields["hidden_size"] // fields["num_attention_heads"]
    if size % 2:
        raise ConfigError(
            f"hidden_size {fields['hidden_size']} gives {fields['num_attention_heads']} heads of {size}; rotary "
            "positions turn pairs of numbers, so that heads must be even."
        )


def refuse_other_rotations(values: Mapping[str, Any]) -> None:
    """Raises ConfigError where the `values` of a config.json ask for rotations or layers that are not computed."""
    scaling = values.get("rope_scaling")
    if isinstance(scaling, Mapping) and scaling.get("rope_type", scaling.get("type")) != "default":
        raise ConfigError(
            f"rope_scaling is {dict(scaling)!r}; rotary positions are computed without scaling. Set it to null if the "
            "texts are within max_position_embeddings of the model before it was scaled."
        )
