"""Pairs of models, transformers' and ours, with the same random weights; and how far apart their outputs are."""

from __future__ import annotations

import logging
from typing import Any

import torch
import transformers
from torch import Tensor, nn

import bert_onnx
from bert_onnx import BertConfig

logging.getLogger("transformers").setLevel(logging.ERROR)

POSITIONS = ("absolute", "relative_key", "relative_key_query", None)
IMPLEMENTATIONS = ("eager", "sdpa")

#: float32: the largest difference allowed, for outputs, losses and gradients alike.
TOLERANCE = 1e-5

TINY: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 24,
    "initializer_range": 0.2,  # ten times BERT's, so that a mistake shows
}


def randomise(model: nn.Module, seed: int) -> None:
    """Draw every parameter, biases and LayerNorms included: the usual zeros and ones would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator) * 0.2
            parameter.copy_(noise + 1.0 if name.endswith("LayerNorm.weight") else noise)


def make_pair(class_name: str, *, seed: int = 0, implementation: str = "eager", **fields: Any) -> tuple[Any, Any]:
    """(transformers' model, ours), both in evaluation mode, of one config and the same weights."""
    if class_name == "BertLMHeadModel":
        fields = {"is_decoder": True} | fields
    pooling = {"add_pooling_layer": fields.pop("add_pooling_layer")} if "add_pooling_layer" in fields else {}
    values = TINY | fields
    theirs = getattr(transformers, class_name)(
        transformers.BertConfig(**values, attn_implementation=implementation), **pooling
    ).eval()
    labels = values.pop("num_labels", 2)
    config = BertConfig(**values, attn_implementation=implementation).replace(num_labels=labels)
    ours = getattr(bert_onnx, class_name)(config, **pooling).eval()
    randomise(theirs, seed)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


def make_inputs(class_name: str, *, batch: int = 3, length: int = 7, seed: int = 1) -> dict[str, Tensor]:
    """ids, a mask that pads on the right, and segments; with an axis of 2 choices for multiple choice."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, 2, length) if class_name == "BertForMultipleChoice" else (batch, length)
    lengths = torch.randint(1, length + 1, (*shape[:-1], 1), generator=generator)
    return {
        "input_ids": torch.randint(1, TINY["vocab_size"], shape, generator=generator),
        "attention_mask": (torch.arange(length) < lengths).long(),
        "token_type_ids": torch.randint(0, 2, shape, generator=generator),
    }


def leaves(value: Any) -> list[Tensor]:
    """All tensors of an output, in order; transformers' cache objects as tuples of tensors."""
    if isinstance(value, Tensor):
        return [value]
    if hasattr(value, "to_legacy_cache"):
        return leaves(value.to_legacy_cache())
    if hasattr(value, "to_tuple"):
        return leaves(value.to_tuple())
    if value is None:
        return []
    return [leaf for part in value for leaf in leaves(part)]


def difference(theirs: Any, ours: Any) -> float:
    """Largest absolute difference of two outputs; both must hold the same tensors in the same shapes, all finite."""
    left, right = leaves(theirs), leaves(ours)
    assert len(left) == len(right) > 0
    worst = 0.0
    for a, b in zip(left, right, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert torch.isfinite(b).all()
        worst = max(worst, (a.double() - b.double()).abs().max().item())
    return worst


def output_difference(theirs: Any, ours: Any) -> float:
    """As `difference`, of two output objects: they must have the same fields, too."""
    assert list(theirs.keys()) == list(ours.keys())
    return max(difference(theirs[key], ours[key]) for key in theirs)
