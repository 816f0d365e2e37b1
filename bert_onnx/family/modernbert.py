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


def in_older_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` of a config.json, with what transformers 5 writes in the names of transformers 4: `layer_types` as
    `global_attn_every_n_layers`, and the `rope_theta` of each kind of layers in `rope_parameters`. The newer ones win.

    Raises:
        ConfigError: they ask for rotations or layers that are not computed.
    """
    found = dict(values)
    if values.get("layer_types") is not None:
        found["global_attn_every_n_layers"] = _every(values["layer_types"])
    kinds = values.get("rope_parameters")
    kinds = kinds if isinstance(kinds, Mapping) else {}
    for name, rotation in (("rope_scaling", values.get("rope_scaling")), *kinds.items()):
        _refuse_scaling(name, rotation)
    for kind, theta in zip(("full_attention", "sliding_attention"), THETAS, strict=True):
        if isinstance(kinds.get(kind), Mapping) and "rope_theta" in kinds[kind]:
            found[theta] = kinds[kind]["rope_theta"]
    return found


def _every(kinds: Any) -> int:
    """n, where every n-th of `kinds`, from the first, is a layer that attends to all tokens, and no other."""
    wide = [index for index, kind in enumerate(kinds) if kind == "full_attention"] if isinstance(kinds, list) else []
    step = wide[1] if len(wide) > 1 else len(kinds) if wide else 0
    if step == 0 or wide != list(range(0, len(kinds), step)):
        raise ConfigError(
            f"layer_types is {kinds!r}; layers of full_attention must come at equal distances from the first one on."
        )
    return step


def _refuse_scaling(name: str, rotation: Any) -> None:
    """Raises ConfigError: a `rotation` of that name is scaled."""
    if not isinstance(rotation, Mapping):
        return
    if rotation.get("rope_type", rotation.get("type")) not in (None, "default") or "factor" in rotation:
        raise ConfigError(
            f"the rotary positions in {name} are {dict(rotation)!r}; they are computed without scaling. Set it to null "
            "if the texts are within max_position_embeddings of the model before it was scaled."
        )
