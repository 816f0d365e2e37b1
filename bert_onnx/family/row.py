"""What one row of the table of families says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

#: Kinds of positions. FROM_ZERO: a token's place in its row. AFTER_PADDING: real tokens are counted from
#: `pad_token_id` + 1, and padding, known by its id, stands at `pad_token_id` (Liu et al. 2019, fairseq). ROTARY: none
#: are embedded, queries and keys are turned by their places instead (Su et al. 2021).
FROM_ZERO, AFTER_PADDING, ROTARY = "from_zero", "after_padding", "rotary"

#: Whether graphs take token_type_ids: always, where the config has several kinds, or never, without a table of them.
ALWAYS, SEVERAL, NEVER = "always", "several", "never"

#: Fields of a decoder, which an encoder that is never one does not read.
DECODING = frozenset({"is_decoder", "add_cross_attention", "use_cache"})


@dataclass(frozen=True)
class Summary:
    """activation(dense(first token)): what a classification head reads in place of BERT's pooler.

    Where the config's `classifier_pooling` is `mean`, the mean of the real tokens takes the first one's place.

    Args:
        activation: a name of `config_rules.ACTIVATIONS`; None for the config's `classifier_activation`.
        dropout_first: while training, the first token is dropped out, too.
        norm: a LayerNorm follows the activation.
        real: the first token is the first that the mask shows, not that in the first place.
    """

    activation: str | None
    dropout_first: bool = True
    norm: bool = False
    real: bool = False


@dataclass(frozen=True)
class Family:
    """One row: how the models of a model_type differ from BERT. Without a word about it, they do not.

    Args:
        model_type: as config.json names it.
        classes: classes of `bert_onnx.modeling` -> classes of transformers. Those that it lacks are left out.
        base: what a class with a head calls its base model.
        parts: first parts of the names inside the base model.
        heads: first parts of the names of heads, the pooler's included.
        names: parts of the names of weights here -> in checkpoints, applied in this order where they match whole
            parts; `#` stands for a number, `%` for its place in its group. See `tensor_name`.
        group: layers in a group, which `#` counts then.
        stacked: parts of names in checkpoints -> the parts, by `names`, of the layers whose rows such a tensor holds,
            one after the other and as many of each.
        fields: fields of BertConfig -> keys of config.json, where those have other names.
        own: fields that BERT does not have.
        lacks: fields of BERT that its config.json does not have.
        defaults: of fields, where they are not BERT's.
        positions: FROM_ZERO, AFTER_PADDING or ROTARY.
        token_types: ALWAYS, SEVERAL or NEVER.
        padding: the token that positions count after, whatever `pad_token_id` says; None for that one.
        projected: embeddings go through a linear layer even where they are as wide as hidden states.
        relative_bias: every head adds one number for each bucket of distances, the same in all layers.
        relative_scaled: with relative positions, what they add to scores is divided by sqrt(K), too.
        norm_first: blocks read what a LayerNorm makes of the states, and add to the states themselves; the last layer's
            states are normalised (Xiong et al. 2020).
        norm_embeddings: embeddings are normalised; the first layer's attention reads them as they are, then.
        norm_last_state: of all hidden states the last one is what that norm makes of it, too.
        gated: the feed-forward layer is a product of two, activation(W x) * (V x) (Shazeer 2020).
        token_head: a layer with an activation and a LayerNorm stands before the classifiers of tokens and of spans.
        real_tokens_count: in the loss of token classification tokens that the mask hides do not count.
        pooler: the base model has one.
        summary: what the head of sequence classification reads; None for the pooler.
        choice_summary: what the head of multiple choice reads; None for the pooler.
        lm_activation: activation of the language-modelling head; None for the config's `hidden_act`.
    """

    model_type: str
    classes: Mapping[str, str]
    base: str
    parts: tuple[str, ...] = ("embeddings.", "encoder.", "pooler.")
    heads: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    group: int = 1
    stacked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    lacks: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    positions: str = FROM_ZERO
    token_types: str = SEVERAL
    padding: int | None = None
    projected: bool = False
    relative_bias: bool = False
    relative_scaled: bool = True
    norm_first: bool = False
    norm_embeddings: bool = True
    norm_last_state: bool = True
    gated: bool = False
    token_head: bool = False
    real_tokens_count: bool = False
    pooler: bool = True
    summary: Summary | None = None
    choice_summary: Summary | None = None
    lm_activation: str | None = None

    def tensor_name(self, name: str) -> str:
        """The name in checkpoints of the parameter that is called `name` here.

        A row of `names` matches parts of a name between its dots: `a.b` is in `x.a.b.c`, not in `xa.b`.
        """
        dotted = f".{name}."
        if dotted.startswith(".bert."):
            dotted = f".{self.base}{dotted.removeprefix('.bert')}"
        for here, there in self.names:
            pattern = re.escape(f".{here}.").replace(r"\#", r"(\d+)")
            dotted = re.sub(pattern, partial(self._numbered, f".{there}."), dotted)
        return dotted.strip(".")

    def parts_of(self, name: str) -> tuple[str, ...]:
        """Names of the layers whose rows the tensor `name` of a checkpoint holds; `name` alone where it is no stack."""
        for stack, parts in self.stacked.items():
            before, found, after = f".{name}.".partition(f".{stack}.")
            if found:
                return tuple(f"{before}.{part}.{after}".strip(".") for part in parts)
        return (name,)

    def stack_of(self, name: str) -> str:
        """The tensor of a checkpoint that holds the rows of the layer `name`; `name` where it has one of its own."""
        for stack, parts in self.stacked.items():
            for part in parts:
                before, found, after = f".{name}.".partition(f".{part}.")
                if found:
                    return f"{before}.{stack}.{after}".strip(".")
        return name

    def _numbered(self, there: str, found: re.Match[str]) -> str:
        """`there` with the number that was `found`, where there is one, in the place of its signs."""
        if not found.lastindex:
            return there
        group, place = divmod(int(found[1]), self.group)
        return there.replace("#", str(group)).replace("%", str(place))
