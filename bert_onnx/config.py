"""BertConfig: every field that BERT's documentation names, validated once.

A config is frozen. To change a field, make another with `config.replace(...)`.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_onnx.config_labels import mended
from bert_onnx.config_rules import (
    ACTIVATIONS,
    ATTN_IMPLEMENTATIONS,
    DTYPES,
    MAX_LABELS,
    POSITION_EMBEDDING_TYPES,
    PROBLEM_TYPES,
    RELATIVE_POSITIONS,
    is_int,
    validate,
)
from bert_onnx.errors import ConfigError, StorageError
from bert_onnx.family import AFTER_PADDING, FAMILIES, Family, refusal
from bert_onnx.family.modernbert import ModernBertFields, in_older_names
from bert_onnx.family.row import ALWAYS, ROTARY, SEVERAL

__all__ = [
    "ACTIVATIONS",
    "ATTN_IMPLEMENTATIONS",
    "CONFIG_NAME",
    "DTYPES",
    "POSITION_EMBEDDING_TYPES",
    "PROBLEM_TYPES",
    "BertConfig",
]

CONFIG_NAME = "config.json"

logger = logging.getLogger(__name__)

#: Fields of which null in a file is not the default: a model may do without a padding token, without positions, and
#: with one base of rotary frequencies.
_NULL_COUNTS = ("pad_token_id", "position_embedding_type", "local_rope_theta")

#: Fields of a config.json that are named otherwise in old or new files: their name -> ours.
_ALIASES = {"torch_dtype": "dtype", "_attn_implementation": "attn_implementation"}


@dataclass(frozen=True, kw_only=True)
class _OtherNames:
    """Arguments that BertConfig takes as well, as transformers' does; properties give what was made of them."""

    if TYPE_CHECKING:  # mypy drops the properties of InitVars
        num_labels: int = 2
        label2id: dict[str, int] = field(default_factory=dict)
        torch_dtype: str = "float32"
    else:
        num_labels: InitVar[int | None] = None
        label2id: InitVar[Mapping[str, int] | None] = None
        torch_dtype: InitVar[Any] = None


@dataclass(frozen=True)
class BertConfig(_OtherNames, ModernBertFields):
    """Sizes and switches of a BERT model.

    Args:
        vocab_size: number of token ids, V.
        hidden_size: width of the hidden states, D; a multiple of `num_attention_heads`.
        num_hidden_layers: number of encoder layers, L.
        num_attention_heads: attention heads a layer, H.
        intermediate_size: width of the feed-forward layer, F.
        hidden_act: activation of the feed-forward layer and of the prediction heads; one of `ACTIVATIONS`.
        hidden_dropout_prob: dropout after embeddings and dense layers, while training.
        attention_probs_dropout_prob: dropout of the attention probabilities, while training.
        max_position_embeddings: the longest sequence that the model takes, in tokens.
        type_vocab_size: number of segment ids.
        initializer_range: standard deviation of freshly initialised weights.
        layer_norm_eps: epsilon of every LayerNorm.
        pad_token_id: id of the padding token.
        position_embedding_type: `absolute`, `relative_key` (Shaw et al. 2018), `relative_key_query` (Huang et al.
            2020, method 4) or None: no positions at all, which transformers 4.57 makes of null.
        is_decoder: attend to the left only.
        add_cross_attention: add attention to an encoder's states to every layer; decoders only.
        use_cache: return keys and values for incremental decoding; decoders only.
        classifier_dropout: dropout before a classification head; None means `hidden_dropout_prob`.
        problem_type: which loss a classifier takes, and whether its scores are softmax or sigmoid;
            None means: decide from the number of labels and the dtype of the labels.
        id2label: label names by class id; None makes `num_labels` unnamed ones, and two without that.
        num_labels, label2id: what `id2label` says, where it is given, too.
        tie_word_embeddings: the language-modelling head uses the input embedding matrix.
        chunk_size_feed_forward: tokens that the feed-forward layer takes at once; 0 means all.
        output_attentions: return attention probabilities by default.
        output_hidden_states: return every layer's hidden states by default.
        return_dict: return output objects rather than tuples by default.
        pruned_heads: heads that were removed, by layer.
        architectures: class names that the checkpoint was saved from.
        dtype: floating-point type of the checkpoint's weights, or the torch dtype of that name.
        torch_dtype: an older name of `dtype`.
        attn_implementation: `eager` (plain matmul and softmax) or `sdpa` (torch's fused attention).
        bos_token_id, eos_token_id, sep_token_id, cls_token_id, mask_token_id: ids of special tokens,
            where the checkpoint states them; several may end a text.
        sentence_transformers, sbert_ce_default_activation_function: what `CrossEncoder` of sentence-transformers keeps
            here, today and before its version 4: the activation that makes scores of logits.
        model_type: the row of the table of families (`bert_onnx.family`). The defaults above are BERT's; `of` has those
            of each family. Fields below are of some families only.
        embedding_size: width of the embeddings, E; None means `hidden_size`.
        num_hidden_groups: how many layers have weights of their own; the others share theirs. None means all.
        inner_group_num: layers in a group of ALBERT, which `num_hidden_layers` counts as one; None means 1.
        relative_attention_num_buckets: kinds of distances between tokens, each with a bias a head.
        qa_dropout: dropout before the head of question answering, while training.
        summary_type, summary_use_proj, summary_activation: what ELECTRA's head of multiple choice reads.
        use_task_id: ERNIE's embeddings have one of the task, too, and every token is of task 0.
        task_type_vocab_size: number of tasks.
        Those of ModernBERT: see `ModernBertFields`.

    Raises:
        ConfigError: naming the first field that does not fit.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    position_embedding_type: str | None = "absolute"
    is_decoder: bool = False
    add_cross_attention: bool = False
    use_cache: bool = True
    classifier_dropout: float | None = None
    problem_type: str | None = None
    id2label: Mapping[int, str] = None  # type: ignore[assignment]  # __post_init__ makes labels of it
    tie_word_embeddings: bool = True
    chunk_size_feed_forward: int = 0
    output_attentions: bool = False
    output_hidden_states: bool = False
    return_dict: bool = True
    pruned_heads: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    architectures: tuple[str, ...] = ()
    dtype: str = "float32"
    attn_implementation: str = "eager"
    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = None
    sep_token_id: int | None = None
    cls_token_id: int | None = None
    mask_token_id: int | None = None
    sentence_transformers: Mapping[str, Any] | None = None
    sbert_ce_default_activation_function: str | None = None
    model_type: str = "bert"
    embedding_size: int | None = None
    num_hidden_groups: int | None = None
    inner_group_num: int | None = None
    relative_attention_num_buckets: int | None = None
    qa_dropout: float | None = None
    summary_type: str | None = None
    summary_use_proj: bool | None = None
    summary_activation: str | None = None
    use_task_id: bool | None = None
    task_type_vocab_size: int | None = None

    def __post_init__(  # type: ignore[override]
        self, num_labels: int | None, label2id: Mapping[str, int] | None, torch_dtype: Any
    ) -> None:
        dtype = self.dtype if torch_dtype is None else torch_dtype
        _freeze(self, "dtype", str(dtype).removeprefix("torch.") if str(dtype).startswith("torch.") else dtype)
        unnamed = _unnamed_labels(2 if num_labels is None else num_labels)
        labels = unnamed if self.id2label is None else _mapping("id2label", self.id2label)
        if num_labels is not None and len(labels) != num_labels:
            raise ConfigError(f"num_labels is {num_labels}, but id2label has {len(labels)} labels; leave one out.")
        _freeze(self, "id2label", {_as_int("id2label", key): str(label) for key, label in labels.items()})
        if label2id is not None and dict(label2id) != self.label2id:
            raise ConfigError("label2id says other than id2label; leave it out.")
        pruned = _mapping("pruned_heads", self.pruned_heads)
        layers = {_as_int("pruned_heads", key): _list("pruned_heads", heads) for key, heads in pruned.items()}
        _freeze(self, "pruned_heads", layers)
        _freeze(self, "architectures", _list("architectures", self.architectures or ()))
        ends = self.eos_token_ids
        _freeze(self, "eos_token_id", ends if len(ends) > 1 else ends[0] if ends else None)
        validate(vars(self))

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Every token that ends a text; none, one or several."""
        ends = self.eos_token_id
        return () if ends is None else tuple(ends) if isinstance(ends, (list, tuple)) else (ends,)

    @property  # type: ignore[misc]
    def num_labels(self) -> int:
        """Number of classes, the length of `id2label`."""
        return len(self.id2label)

    @property  # type: ignore[misc]
    def label2id(self) -> dict[str, int]:
        """Class ids by label name."""
        return {label: index for index, label in self.id2label.items()}

    @property  # type: ignore[misc]
    def torch_dtype(self) -> str:
        """`dtype`, by its older name."""
        return self.dtype

    @property
    def family(self) -> Family:
        """What differs from BERT."""
        row = FAMILIES[self.model_type]
        return row if self.group == 1 else dataclasses.replace(row, group=self.group)

    @property
    def group(self) -> int:
        """Layers that run one after the other wherever one of them runs; 1 but in some of ALBERT's configs."""
        return self.inner_group_num or 1

    @property
    def padding_position(self) -> int | None:
        """The token, and the position, that positions count after; None where they count from 0."""
        family = self.family
        if family.positions != AFTER_PADDING:
            return None
        return self.pad_token_id if family.padding is None else family.padding

    @property
    def first_position(self) -> int:
        """The position of a row's first token."""
        return 0 if self.padding_position is None else self.padding_position + 1

    @property
    def embedding_width(self) -> int:
        """Width of the embeddings, E."""
        return self.hidden_size if self.embedding_size is None else self.embedding_size

    @property
    def own_layers(self) -> int:
        """How many layers have weights of their own."""
        return (self.num_hidden_groups or self.num_hidden_layers) * self.group

    @property
    def layer_order(self) -> tuple[int, ...]:
        """Which of the layers with weights of their own computes, first to last."""
        layers, groups = self.num_hidden_layers, self.own_layers // self.group
        return tuple(
            layer * groups // layers * self.group + place for layer in range(layers) for place in range(self.group)
        )

    @property
    def head_mask_rows(self) -> tuple[int, ...]:
        """For each of the layers with weights of their own, which row of a mask of heads [L, H] it takes.

        All layers that share their weights take one row, as in transformers 4.57 (`AlbertTransformer`).
        """
        rows = self.num_hidden_layers // (self.own_layers // self.group)
        return tuple(own // self.group * rows + own % self.group for own in range(self.own_layers))

    @property
    def longest_sequence(self) -> int:
        """Most tokens in a row: the positions that there are from the first one on."""
        return self.max_position_embeddings - self.first_position

    @property
    def relative_positions(self) -> bool:
        """Whether scores of attention depend on how far tokens are apart."""
        return self.position_embedding_type in RELATIVE_POSITIONS

    @property
    def takes_token_types(self) -> bool:
        """Whether graphs have the input token_type_ids; where they do not, every token is of type 0."""
        return self.family.token_types == ALWAYS or (self.family.token_types == SEVERAL and self.type_vocab_size > 1)

    @property
    def rotary(self) -> bool:
        """Whether queries and keys are turned by their positions, and no positions are embedded."""
        return self.family.positions == ROTARY

    @property
    def local_layers(self) -> tuple[bool, ...]:
        """For each layer with weights of its own, whether its tokens attend to near ones only."""
        every = self.global_attn_every_n_layers or 1
        return tuple(layer % every != 0 for layer in range(self.own_layers))

    @property
    def head_size(self) -> int:
        """Width of one attention head, K."""
        return self.hidden_size // self.num_attention_heads

    def heads_in_layer(self, layer: int) -> int:
        """Attention heads that layer number `layer` still has after pruning."""
        return self.num_attention_heads - len(self.pruned_heads.get(layer, ()))

    def replace(self, **changes: Any) -> BertConfig:
        """Another config with `changes` applied and validated; `num_labels=n` makes n unnamed labels.

        Raises:
            ConfigError: a value that does not fit, or `id2label` with another number of labels than `num_labels`.
        """
        if changes.get("num_labels") is not None:
            changes.setdefault("id2label", None)
        return dataclasses.replace(self, **{"num_labels": None, "label2id": None, "torch_dtype": None, **changes})

    @classmethod
    def of(cls, model_type: str, **fields: Any) -> BertConfig:
        """A config of the family `model_type` with its defaults, but for `fields`.

        Raises:
            ConfigError: a family that is not in the table, or a field that does not fit.
        """
        return cls(**{**_family(model_type, "").defaults, **fields, "model_type": model_type})

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], source: str = "the config", *, classes: int | None = None
    ) -> BertConfig:
        """As `parse`, with logged warnings."""
        return _logged(cls.parse(values, source, classes=classes))

    @classmethod
    def parse(
        cls, values: Mapping[str, Any], source: str = "the config", *, classes: int | None = None
    ) -> tuple[BertConfig, tuple[str, ...]]:
        """A config from the values of a config.json, and warnings; keys that BERT does not define are left out.

        Labels with gaps, ids of tokens outside the vocabulary and unknown dtypes are mended, with a warning.

        Args:
            values: of a config.json.
            source: what messages call it.
            classes: rows of the checkpoint's classifier: they decide where the labels leave it open.

        Raises:
            ConfigError: not a BERT, or a field that does not fit; `source` is named in the message.
        """
        family = _family(values.get("model_type", "bert"), source)
        try:
            values = in_older_names(values) if family.positions == ROTARY else values
            known = {f.name for f in dataclasses.fields(cls)} - family.lacks - _of_others(family)
            aliases = _ALIASES | {key: name for name, key in family.fields.items()}
            renamed = {**family.defaults, **{aliases.get(key, key): value for key, value in values.items()}}
            if values.get("dtype") is not None:  # the newer name wins
                renamed["dtype"] = values["dtype"]
            if isinstance(renamed.get("architectures"), str):
                renamed["architectures"] = [renamed["architectures"]]
            if isinstance(renamed.get("dtype"), str):
                renamed["dtype"] = renamed["dtype"].removeprefix("torch.")
            renamed, warnings = mended(renamed, classes)
            chosen = {key: value for key, value in renamed.items() if key in known}
            chosen = {key: value for key, value in chosen.items() if value is not None or key in _NULL_COUNTS}
            chosen = {**family.defaults, **chosen}
            if chosen.get("attn_implementation") not in ATTN_IMPLEMENTATIONS:
                chosen.pop("attn_implementation", None)  # what the program that saved it ran with, not a property
            if values.get("num_labels") is not None and not values.get("id2label"):
                chosen["id2label"] = _unnamed_labels(values["num_labels"])
            return cls(**chosen), tuple(f"{source}: {warning}." for warning in warnings)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], *, classes: int | None = None) -> BertConfig:
        """As `read`, with logged warnings."""
        return _logged(cls.read(folder, classes=classes))

    @classmethod
    def read(cls, folder: str | os.PathLike[str], *, classes: int | None = None) -> tuple[BertConfig, tuple[str, ...]]:
        """Read `folder`/config.json; `classes` and what is returned as in `parse`.

        Raises:
            ConfigError: the file is missing, is not JSON, or does not describe a BERT.
        """
        path = Path(folder) / CONFIG_NAME
        if not path.is_file():
            raise ConfigError(
                f"{folder} has no {CONFIG_NAME}; name a folder that holds a BERT checkpoint (config.json and "
                "model.safetensors), a hub id, or 'sample'."
            )
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:  # bad JSON, bad UTF-8, endless numbers: ValueErrors
            raise ConfigError(f"{path} cannot be read as JSON: {error}.") from None
        if not isinstance(values, dict):
            raise ConfigError(f"{path} holds {type(values).__name__}, not a JSON object.")
        return cls.parse(values, source=str(path), classes=classes)

    def to_dict(self) -> dict[str, Any]:
        """Values for a config.json that other tools read, too; keys are sorted, fields that are None left out."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values["id2label"] = {str(index): label for index, label in self.id2label.items()}
        values["label2id"] = self.label2id
        values["pruned_heads"] = {str(layer): list(heads) for layer, heads in self.pruned_heads.items()}
        values["architectures"] = list(self.architectures)
        values["eos_token_id"] = list(ends) if isinstance(ends := self.eos_token_id, tuple) else ends
        values["torch_dtype"] = values.pop("dtype")
        del values["attn_implementation"]  # a choice of the running program, not of the checkpoint
        lacks, fields = self.family.lacks | _of_others(self.family), self.family.fields
        kept = {fields.get(key, key): value for key, value in values.items() if key not in lacks}
        return {key: kept[key] for key in sorted(kept) if kept[key] is not None or key in _NULL_COUNTS}

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `folder`/config.json, whole or not at all, making the folder if need be.

        Raises:
            StorageError: the disk does not take it.
        """
        path = Path(folder) / CONFIG_NAME
        temporary = path.with_name(f".{CONFIG_NAME}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{path} could not be written: {error.strerror}; nothing was changed.") from None


def _family(model_type: object, source: str) -> Family:
    """The row of `model_type`. Raises ConfigError where there is none; `source` is what has it."""
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise ConfigError(f"{source}: {refusal(model_type, FAMILIES)}" if source else refusal(model_type, FAMILIES))
    return FAMILIES[model_type]


def _of_others(family: Family) -> frozenset[str]:
    """Fields that some families have of their own, and `family` does not have."""
    return frozenset().union(*(row.own for row in FAMILIES.values())) - family.own


def _freeze(config: BertConfig, name: str, value: Any) -> None:
    object.__setattr__(config, name, value)


def _as_int(name: str, key: Any) -> int:
    """A key that JSON made text."""
    if is_int(key):
        return int(key)
    if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 10:
        return int(key)
    raise ConfigError(f"{name} has the key {key!r}, which is not a whole number.")


def _mapping(name: str, value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} is {value!r}; it must be an object.")
    return value


def _list(name: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise ConfigError(f"{name} has {value!r} where a list is needed.")
    return tuple(sorted(value)) if isinstance(value, (set, frozenset)) else tuple(value)


def _unnamed_labels(count: Any) -> dict[int, str]:
    if not is_int(count) or not 1 <= count <= MAX_LABELS:
        raise ConfigError(f"num_labels is {count!r}; it must be a whole number from 1 to {MAX_LABELS}.")
    return {index: f"LABEL_{index}" for index in range(count)}


def _logged(found: tuple[BertConfig, tuple[str, ...]]) -> BertConfig:
    config, warnings = found
    for warning in warnings:
        logger.warning("%s", warning)
    return config
