"""BertPreTrainedModel: what BertModel and every head have in common - loading, saving, tying, resizing, pruning."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from bert_onnx.checkpoint.names import listed
from bert_onnx.config import DTYPES, BertConfig
from bert_onnx.errors import ConfigError, UsageError
from bert_onnx.family import canonical_class
from bert_onnx.modeling.embeddings import BertEmbeddings
from bert_onnx.modeling.encoder import BertEncoder
from bert_onnx.modeling.initialisation import NoRandomNumbers, initialise, initialise_named
from bert_onnx.modeling.outputs import BaseModelOutputWithPoolingAndCrossAttentions
from bert_onnx.modeling.pruning import merge_pruned, places_to_keep, rows_resized

logger = logging.getLogger(__name__)

Model = TypeVar("Model", bound="BertPreTrainedModel")


class BaseModel(Protocol):
    """What the methods below ask of a BertModel, which derives from their class."""

    config: BertConfig
    embeddings: BertEmbeddings
    encoder: BertEncoder

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """`BertModel.forward`."""
        ...


class BertPreTrainedModel(nn.Module):
    """Base class of BertModel and of the heads. A head holds its BertModel as `bert`.

    Class attributes:
        base_model_prefix: name under which a head holds its BertModel.
        model_type: of the only configs that the class takes; None for those of every family.
        tied_weights_keys: names in the state dict that share storage with another parameter (where the config
            ties embeddings), so that a checkpoint need not hold them.
    """

    base_model_prefix: ClassVar[str] = "bert"
    model_type: ClassVar[str | None] = None
    tied_weights_keys: ClassVar[tuple[str, ...]] = ()

    config: BertConfig

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        if self.model_type not in (None, config.model_type):
            raise ConfigError(
                f"{type(self).__name__} takes configs of model_type {self.model_type!r}, and this one is of "
                f"{config.model_type!r}; take the class that is named after it, or one of BERT's, which take all."
            )
        if canonical_class(type(self).__name__) not in config.family.classes:
            raise ConfigError(
                f"{type(self).__name__} is none of the models of {config.model_type}, which are "
                f"{', '.join(config.family.classes.values())}."
            )
        self.config = config

    # Loading and saving

    @classmethod
    def from_pretrained(
        cls: type[Model],
        path_or_id: str | os.PathLike[str],
        config: BertConfig | None = None,
        *,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        attn_implementation: str | None = None,
        num_labels: int | None = None,
        id2label: Mapping[int, str] | None = None,
        label2id: Mapping[str, int] | None = None,
        allow_new_heads: bool = False,
        revision: str | None = None,
        offline: bool = False,
    ) -> Model:
        """A model with the weights of a checkpoint, in evaluation mode.

        Args:
            path_or_id: a folder, a hub id or `sample`.
            config: used in place of the checkpoint's own.
            dtype: type of the weights in memory, `float32`, `float16`, `bfloat16`, the torch dtype of that name,
                or `auto` for the checkpoint's; None means float32.
            torch_dtype: an older name of `dtype`.
            attn_implementation: `eager` or `sdpa`, in place of the config's.
            num_labels, id2label, label2id: labels in place of the config's.
            allow_new_heads: weights of a head that the checkpoint lacks are drawn at random, with a warning that
                names them, rather than refused.
            revision: branch, tag or commit on the hub.
            offline: use what was downloaded before, and no network.

        Raises:
            CheckpointError: weights that are missing, unexpected, misshapen or damaged.
            ConfigError: a config.json that is missing or not a BERT.
            HubError: a hub id that cannot be had.
            UsageError: an unknown dtype.
        """
        from bert_onnx import checkpoint as weights

        checkpoint = weights.find_checkpoint(os.fspath(path_or_id), revision=revision, offline=offline)
        if config is None:
            config = checkpoint.config
            for warning in checkpoint.warnings:
                logger.warning("%s", warning)
        if attn_implementation is not None:
            config = config.replace(attn_implementation=attn_implementation)
        if num_labels is not None or id2label is not None:
            config = config.replace(num_labels=num_labels, id2label=id2label, label2id=label2id)
        kind = _torch_dtype(torch_dtype if dtype is None else dtype, config)
        with NoRandomNumbers():
            model = cls(config.replace(dtype=_dtype_name(kind))).to(kind)
        report = weights.load_weights(model, checkpoint, allow_new_heads=allow_new_heads)
        initialise_named(model, report.newly_initialised, config.initializer_range)
        if report.newly_initialised:
            logger.warning(
                "%s lacks weights of %s; they were drawn at random and mean nothing before training: %s.",
                path_or_id,
                cls.__name__,
                ", ".join(report.newly_initialised),
            )
        if report.left_behind:
            logger.warning("%s: left out as what training left behind: %s.", path_or_id, listed(report.left_behind))
        return model.eval()

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json and model.safetensors, which `from_pretrained` and other tools read.

        Raises:
            StorageError: the disk refuses.
        """
        from bert_onnx import checkpoint as weights

        name = self.config.family.classes[canonical_class(type(self).__name__)]
        config = self.config.replace(architectures=(name,), dtype=_dtype_name(self.dtype))
        weights.save_weights(self, Path(folder))
        config.save_pretrained(folder)  # last: a folder without a config is not taken for a checkpoint

    # Embeddings

    @property
    def base_model(self) -> BaseModel:
        """The BertModel: itself, or the one that a head holds."""
        base: BaseModel = getattr(self, self.base_model_prefix, self)  # type: ignore[arg-type]
        return base

    def get_input_embeddings(self) -> nn.Embedding:
        """The table of word embeddings, [V, D]."""
        return self.base_model.embeddings.word_embeddings

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the table of word embeddings. Call `tie_weights` for a head that shares it."""
        self.base_model.embeddings.word_embeddings = embeddings

    def get_output_embeddings(self) -> nn.Linear | None:
        """The layer from hidden states to vocabulary scores; None where there is none."""
        return None

    def set_output_embeddings(self, decoder: nn.Linear) -> None:
        """Replace the layer from hidden states to vocabulary scores.

        Raises:
            UsageError: a model without one.
        """
        raise UsageError(f"{type(self).__name__} has no output embeddings to set.")

    def tie_weights(self) -> None:
        """Make the parameters that are one share their storage again; nothing to do without a vocabulary head."""

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> nn.Embedding:
        """Make the vocabulary `new_num_tokens` long: input table, tied decoder, its bias and the config.

        Old rows stay; new rows are drawn from N(0, initializer_range), new biases are zero.

        Args:
            new_num_tokens: None means the present number.
            pad_to_multiple_of: round the number up to a multiple of this.

        Raises:
            ConfigError: fewer tokens than a special token's id needs.
        """
        count = self.config.vocab_size if new_num_tokens is None else new_num_tokens
        if pad_to_multiple_of:
            count = -(-count // pad_to_multiple_of) * pad_to_multiple_of
        config = self.config.replace(vocab_size=count)
        embeddings = self.get_input_embeddings()
        embeddings.weight = rows_resized(embeddings.weight, count, config.initializer_range)
        embeddings.num_embeddings = count
        self._set_config(config)
        self._resize_output(count)
        self.tie_weights()
        return embeddings

    def _resize_output(self, count: int) -> None:
        """Make the vocabulary head, where there is one, `count` tokens wide."""

    # Heads

    def prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Remove attention heads, by layer; `config.pruned_heads` records them under their first numbers.

        Raises:
            ConfigError: a layer or head that does not exist, or a layer that would be left without heads.
        """
        before = self.config.pruned_heads
        after = merge_pruned(before, heads_to_prune)
        config = self.config.replace(pruned_heads=after)
        for index in heads_to_prune:
            kept = places_to_keep(config.num_attention_heads, before.get(index, ()), after.get(index, ()))
            self.base_model.encoder.layer[index].attention.keep_heads(kept)  # type: ignore[union-attr,operator]
        self._set_config(config)

    # Figures

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Numbers in the weights, tied ones counted once."""
        left_out = {id(m.weight) for m in self.modules() if exclude_embeddings and isinstance(m, nn.Embedding)}
        counted = (p for p in self.parameters() if id(p) not in left_out and (p.requires_grad or not only_trainable))
        return sum(parameter.numel() for parameter in counted)

    # For subclasses

    def _initialise(self, *parts: nn.Module) -> None:
        """Draw the weights of `parts`, then tie."""
        for part in parts:
            initialise(part, self.config.initializer_range)
        self.tie_weights()

    def _encoded(
        self, *inputs: Tensor | None, output_attentions: bool | None, output_hidden_states: bool | None
    ) -> BaseModelOutputWithPoolingAndCrossAttentions:
        """What the base model makes of `inputs`, the first ones of its `forward`, without a cache."""
        outputs: BaseModelOutputWithPoolingAndCrossAttentions = self.base_model(
            *inputs,
            use_cache=False,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        return outputs

    def _wants_dict(self, return_dict: bool | None) -> bool:
        """Whether forward returns an output object: the caller's choice, else the config's."""
        return self.config.return_dict if return_dict is None else return_dict

    def _set_config(self, config: BertConfig) -> None:
        """The config is frozen, and a head and its BertModel hold the same one."""
        self.config = config
        self.base_model.config = config


def _torch_dtype(dtype: torch.dtype | str | None, config: BertConfig) -> torch.dtype:
    """The torch dtype that a user's choice means. Raises UsageError for another than the supported three."""
    name = config.dtype if dtype == "auto" else "float32" if dtype is None else _dtype_name(dtype)
    if name not in DTYPES:
        raise UsageError(f"dtype {name!r} is not supported; choose one of {', '.join(DTYPES)} or 'auto'.")
    chosen: torch.dtype = getattr(torch, name)
    return chosen


def _dtype_name(dtype: torch.dtype | str) -> str:
    return str(dtype).removeprefix("torch.")
