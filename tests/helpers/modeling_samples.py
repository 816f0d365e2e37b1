"""Tiny models and inputs for the tests of the modeling package."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import bert_onnx
from bert_onnx import BertConfig

#: Every public model class.
CLASSES = (
    "BertModel",
    "BertForPreTraining",
    "BertLMHeadModel",
    "BertForMaskedLM",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForMultipleChoice",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
)
VOCABULARY_CLASSES = ("BertForPreTraining", "BertLMHeadModel", "BertForMaskedLM")


def tiny_config(**changes: Any) -> BertConfig:
    config = BertConfig(
        vocab_size=53,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=40,
        max_position_embeddings=16,
        initializer_range=0.2,
    )
    return config.replace(**changes)


def tiny_model(class_name: str = "BertModel", seed: int = 0, **changes: Any) -> Any:
    if class_name == "BertLMHeadModel":
        changes = {"is_decoder": True} | changes
    torch.manual_seed(seed)
    return getattr(bert_onnx, class_name)(tiny_config(**changes)).eval()


def tiny_inputs(class_name: str = "BertModel", batch: int = 2, length: int = 6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shape = (batch, 3, length) if class_name == "BertForMultipleChoice" else (batch, length)
    mask = torch.ones(shape, dtype=torch.long)
    mask[0, ..., length // 2 :] = 0
    return {
        "input_ids": torch.randint(1, 53, shape, generator=generator),
        "attention_mask": mask,
        "token_type_ids": torch.randint(0, 2, shape, generator=generator),
    }
