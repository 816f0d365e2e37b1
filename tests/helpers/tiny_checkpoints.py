"""Tiny checkpoints for tests: safetensors bytes made by hand, folders of random weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bert_onnx.config import BertConfig
from bert_onnx.modeling.pretrained import BertPreTrainedModel

TINY = BertConfig(
    vocab_size=20,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=16,
)


def tiny_model(model_class: type[BertPreTrainedModel], seed: int = 0, **changes: Any) -> Any:
    """A model of random weights, its biases and LayerNorms too, so that a mix-up of two tensors shows."""
    torch.manual_seed(seed)
    model = model_class(TINY.replace(**changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def tiny_folder(folder: Path, model_class: type[BertPreTrainedModel], seed: int = 0, **changes: Any) -> Path:
    tiny_model(model_class, seed, **changes).save_pretrained(folder)
    return folder


def safetensors_bytes(header: Mapping[str, Any] | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A file of the safetensors layout, sound or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype: str, shape: list[Any], begin: Any, end: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def rewrite(path: Path, change: Any) -> None:
    """Load a safetensors file, let `change` edit the dict of tensors, save it again."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    changed = change(tensors)
    save_file({k: v.contiguous().clone() for k, v in (changed if changed is not None else tensors).items()}, path)
