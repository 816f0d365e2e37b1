"""Tiny models of every family: transformers' with random weights, saved, and ours of what was saved."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

import bert_onnx
from bert_onnx.family import FAMILIES, Family

logging.getLogger("transformers").setLevel(logging.ERROR)

VOCABULARY = 61

#: By our names of fields. Weights are large, so that a mistake shows.
_TINY: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "initializer_range": 0.25,
}
#: What a family's tiny model has beside them.
_FURTHER: dict[str, dict[str, Any]] = {
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16},
    "ernie": {"use_task_id": True, "type_vocab_size": 4},
    # Windows of nine tokens, and local layers between global ones.
    "modernbert": {
        **{"local_attention": 8, "global_attn_every_n_layers": 2, "max_position_embeddings": 64},
        **{"pad_token_id": 3, "bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2},
    },
}

_CLASSES_WITH_LABELS = ("BertForSequenceClassification", "BertForTokenClassification")


@dataclass(frozen=True)
class Head:
    """A class of a family."""

    family: Family
    ours: str

    @property
    def theirs(self) -> str:
        return self.family.classes[self.ours]

    def __str__(self) -> str:
        return self.theirs


def heads(*model_types: str) -> Iterator[Head]:
    """Every class of the families `model_types`; of all but BERT where there are none."""
    for model_type in model_types or [name for name in FAMILIES if name != "bert"]:
        for ours in FAMILIES[model_type].classes:
            yield Head(FAMILIES[model_type], ours)


def their_model(head: Head, seed: int = 0, **fields: Any) -> Any:
    """A model of transformers with biases and LayerNorms drawn, too; `fields` by our names."""
    family = head.family
    values = {**_TINY, **_FURTHER.get(family.model_type, {})}
    if head.ours == "BertLMHeadModel":
        values["is_decoder"] = True
    if head.ours in _CLASSES_WITH_LABELS:
        values["num_labels"] = 3
    values |= fields
    kept = {family.fields.get(name, name): value for name, value in values.items() if name not in family.lacks}
    config = transformers.AutoConfig.for_model(family.model_type, **kept, attn_implementation="eager")
    model = getattr(transformers, head.theirs)(config).eval()
    randomise(model, seed)
    return model


def randomise(model: nn.Module, seed: int) -> None:
    """Draw every parameter, biases and LayerNorms included: the usual zeros and ones would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator) * 0.2
            norm = "norm" in name.lower() and name.endswith("weight")
            parameter.copy_(noise + 1.0 if norm else noise)


def pair(head: Head, folder: Path, seed: int = 0, **fields: Any) -> tuple[Any, Any]:
    """(transformers' model, ours of the folder that it was saved to)."""
    theirs = their_model(head, seed, **fields)
    theirs.save_pretrained(folder)
    return theirs, getattr(bert_onnx, head.theirs).from_pretrained(folder)


def mask_of(kind: str, batch: int, length: int, generator: torch.Generator) -> Tensor:
    """[B, S]: padding on the right, on the left, or holes; the first row is full where there are several."""
    lengths = torch.randint(1, length + 1, (batch, 1), generator=generator)
    lengths[0] = length
    places = torch.arange(length)
    if kind == "right":
        return (places < lengths).long()
    if kind == "left":
        return (places >= length - lengths).long()
    mask = torch.randint(0, 2, (batch, length), generator=generator)
    mask[:, 0] = 1
    return mask


def inputs_of(head: Head, config: Any, kind: str = "right", *, batch: int = 4, length: int = 9) -> dict[str, Tensor]:
    """ids that are the padding token where the mask is 0, and once where it is 1; types where the model has several."""
    generator = torch.Generator().manual_seed(7)
    rows = batch * 2 if head.ours == "BertForMultipleChoice" else batch
    mask = mask_of(kind, rows, length, generator)
    ids = torch.randint(0, VOCABULARY, (rows, length), generator=generator)
    padding = config.pad_token_id
    if padding is not None:
        ids[ids == padding] = VOCABULARY - 1
        ids[mask == 0] = padding
        ids[0, length // 2] = padding
    given = {"input_ids": ids, "attention_mask": mask}
    if config.takes_token_types:
        given["token_type_ids"] = torch.randint(0, config.type_vocab_size, ids.shape, generator=generator)
    if head.ours != "BertForMultipleChoice":
        return given
    return {name: tensor.view(batch, 2, length) for name, tensor in given.items()}
