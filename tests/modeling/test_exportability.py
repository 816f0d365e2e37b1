"""The models trace: no Python decision depends on data, no size is frozen."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from modeling_samples import CLASSES, tiny_inputs, tiny_model
from torch import Tensor, nn
from torch.export import Dim
from torch.utils._pytree import tree_leaves

pytestmark = pytest.mark.long


def tensors_of(output: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(output) if leaf is not None]


@torch.no_grad()
@pytest.mark.parametrize("class_name", CLASSES)
def test_every_class_with_dynamic_shapes(class_name: str) -> None:
    model = tiny_model(class_name, chunk_size_feed_forward=4)
    inputs = tiny_inputs(class_name, batch=3, length=7)
    shapes = {name: dict.fromkeys(range(tensor.dim()), Dim.DYNAMIC) for name, tensor in inputs.items()}
    program = torch.export.export(model, (), kwargs=inputs, dynamic_shapes=shapes).module()
    for batch, length in ((2, 4), (5, 16)):
        inputs = tiny_inputs(class_name, batch=batch, length=length)
        expected, got = tensors_of(model(**inputs)), tensors_of(program(**inputs))
        for left, right in zip(expected, got, strict=True):
            torch.testing.assert_close(right, left, atol=1e-5, rtol=0)


def to_onnx(model: nn.Module, inputs: tuple[Any, ...], shapes: tuple[Any, ...]) -> onnxruntime.InferenceSession:
    program = torch.onnx.export(
        model, inputs, dynamo=True, opset_version=18, dynamic_shapes=shapes, verbose=False, optimize=True
    )
    assert program is not None
    data = program.model_proto.SerializeToString()
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


def assert_same(session: onnxruntime.InferenceSession, model: nn.Module, inputs: tuple[Any, ...]) -> None:
    names = [given.name for given in session.get_inputs()]
    feed = {name: tensor.numpy() for name, tensor in zip(names, tree_leaves(inputs), strict=True)}
    expected = tensors_of(model(*inputs))
    for left, right in zip(expected, session.run(None, feed), strict=True):
        np.testing.assert_allclose(right, left.numpy(), atol=1e-5, rtol=0)


@torch.no_grad()
def test_encoder_in_onnx() -> None:
    model = tiny_model()
    axes = {0: "batch", 1: "sequence"}
    session = to_onnx(model, tuple(tiny_inputs(batch=3, length=7).values()), (axes, axes, axes))
    for batch, length in ((1, 1), (2, 5), (4, 16)):
        assert_same(session, model, tuple(tiny_inputs(batch=batch, length=length).values()))


class WithPast(nn.Module):
    """A decoder as it is exported: the cache goes in and comes out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor, past: Any) -> tuple[Any, ...]:
        output = self.model(ids, mask, types, past_key_values=past, use_cache=True)
        return output.logits, output.past_key_values


@torch.no_grad()
def test_decoder_with_cache_in_onnx() -> None:
    """One graph for prompt and step: traced with a cache of 5, run with 0 and others."""
    model = WithPast(tiny_model("BertLMHeadModel", position_embedding_type="relative_key_query")).eval()

    def inputs(batch: int, length: int, past: int) -> tuple[Any, ...]:
        generator = torch.Generator().manual_seed(past)
        cache = tuple(tuple(torch.randn(batch, 4, past, 8, generator=generator) for _ in range(2)) for _ in range(2))
        mask = torch.ones(batch, past + length, dtype=torch.long)
        mask[0, 0] = 0
        ids = torch.randint(1, 53, (batch, length), generator=generator)
        return ids, mask, torch.zeros_like(ids), cache

    tokens, pair = {0: "batch", 1: "sequence"}, ({0: "batch", 2: "past"},) * 2
    session = to_onnx(model, inputs(2, 3, 5), (tokens, {0: "batch", 1: "total"}, tokens, (pair, pair)))
    for batch, length, past in ((1, 1, 0), (2, 6, 0), (3, 1, 9), (1, 4, 12), (2, 3, 5)):
        assert_same(session, model, inputs(batch, length, past))
