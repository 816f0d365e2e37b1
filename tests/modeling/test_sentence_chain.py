"""Poolings and chains on tensors, against the modules of sentence-transformers, under every kind of mask."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bert_onnx.errors import UsageError
from bert_onnx.modeling.sentence_chain import SentenceChain, pool, without_prompt
from bert_onnx.sentence_modules import (
    ACTIVATIONS,
    POOLING_MODES,
    Dense,
    LayerNorm,
    Normalize,
    Pooling,
    embedding_width,
    pooled,
)

models: Any = pytest.importorskip("sentence_transformers.models", reason="the bench extra has it")


def draw(seed: int) -> tuple[Tensor, Tensor, int]:
    """States [B, S, 8], a mask with padding on the right, on the left or in between, and the length of a prompt."""
    generator = torch.Generator().manual_seed(seed)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=generator))

    rows, length = number(1, 6), number(1, 20)
    mask = torch.ones(rows, length, dtype=torch.int64)
    for row in mask:
        real = number(1, length + 1)
        if seed % 3 == 0:
            row[real:] = 0
        elif seed % 3 == 1:
            row[: length - real] = 0
        else:
            row[:] = torch.randint(0, 2, (length,), generator=generator)
            row[real - 1] = 1
    return torch.randn(rows, length, 8, generator=generator), mask, number(0, length)


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_poolings_under_every_mask(mode: str) -> None:
    for seed in range(60):
        hidden, mask, _ = draw(seed)
        theirs = models.Pooling(8, pooling_mode=mode)({"token_embeddings": hidden, "attention_mask": mask.clone()})
        torch.testing.assert_close(pool(hidden, mask, (mode,)), theirs["sentence_embedding"])


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_poolings_without_the_prompt(mode: str) -> None:
    for seed in range(60):
        hidden, mask, length = draw(seed)
        features = {"token_embeddings": hidden, "attention_mask": mask.clone(), "prompt_length": length}
        theirs = models.Pooling(8, pooling_mode=mode, include_prompt=False)(features)
        rest = without_prompt(mask, torch.tensor([length]))
        assert torch.equal(rest, theirs["attention_mask"])
        some = rest.sum(dim=1) > 0  # of no tokens at all, max gives -infinity there and the others differ
        chain = SentenceChain((Pooling((mode,), include_prompt=False),))
        ours = chain.embed(hidden, mask, torch.tensor([length]))
        torch.testing.assert_close(ours[some], theirs["sentence_embedding"][some])
        assert bool(torch.isfinite(ours).all())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: str) -> None:
    theirs = models.Dense(8, 6, activation_function=getattr(torch.nn, activation)()).eval()
    chain = SentenceChain((*pooled("mean", normalize=False), Dense("d", 8, 6, True, activation))).eval()
    chain.layers[1].load_state_dict(theirs.state_dict())
    hidden, mask, _ = draw(4)
    vectors = pool(30 * hidden, mask, ("mean",))
    expected = theirs({"sentence_embedding": vectors})["sentence_embedding"]
    torch.testing.assert_close(chain.embed(30 * hidden, mask), expected)
    assert expected.shape[1] == embedding_width(chain.chain, 8)


def test_a_chain_on_tokens_and_texts() -> None:
    torch.manual_seed(0)
    theirs = [
        models.Normalize(),
        models.Dense(8, 5, bias=False, module_input_name="token_embeddings"),
        models.Pooling(5, pooling_mode=("max", "cls")),
        models.LayerNorm(10),
        models.Dense(10, 3),
        models.Normalize(),
    ]
    chain = SentenceChain(
        (
            Normalize(),
            Dense("1", 8, 5, False, "Tanh", "token_embeddings", "token_embeddings"),
            Pooling(("max", "cls")),
            LayerNorm("3", 10),
            Dense("4", 10, 3, True, "Tanh"),
            Normalize(),
        )
    )
    hidden, mask, _ = draw(7)
    features: dict[str, Any] = {"token_embeddings": hidden, "attention_mask": mask}
    for layer, module in zip(chain.layers, theirs, strict=True):
        if layer.state_dict():
            layer.load_state_dict(module.state_dict())
        features = module(features)
    torch.testing.assert_close(chain.embed(hidden, mask), features["sentence_embedding"])


@pytest.mark.parametrize(
    ("modules", "reason"),
    [
        ((Normalize(),), "there is no Pooling"),
        ((LayerNorm("l", 8), Pooling(("mean",))), "reads sentence_embedding, which no module"),
        ((Pooling(("mean", "max")), LayerNorm("l", 8)), "takes vectors of 8 values, but sentence_embedding has 16"),
        ((Pooling(("mean",)), Dense("d", 8, 3, True, "GLU")), "cannot halve 3"),
    ],
)
def test_modules_that_do_not_fit_together(modules: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        embedding_width(modules, 8)


@pytest.mark.parametrize("folder", ["../x", "/etc", "a/../../b", "C:x", "a\\b"])
def test_a_folder_outside_the_checkpoint_is_refused(folder: str) -> None:
    with pytest.raises(UsageError, match="leads out"):
        Dense(folder, 8, 8, True, "Tanh")
    with pytest.raises(UsageError, match="leads out"):
        LayerNorm(folder, 8)
