"""Masks: additive biases, causality, rows that see nothing."""

from __future__ import annotations

import pytest
import torch
from modeling_samples import tiny_inputs, tiny_model

from bert_onnx import InputError
from bert_onnx.modeling.masks import additive_bias, causal_visibility, fill_value, self_attention_bias

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mask_dtype", [torch.int64, torch.int32, torch.bool, torch.float32], ids=str)
def test_additive_bias(mask_dtype: torch.dtype, dtype: torch.dtype) -> None:
    bias = additive_bias(torch.tensor([[1, 0, 1]]).to(mask_dtype), dtype)
    assert bias.shape == (1, 1, 1, 3)
    assert bias.dtype == dtype
    assert bias.flatten().tolist() == [0.0, fill_value(dtype), 0.0]
    assert torch.isfinite(bias).all()


def test_fill_is_the_lowest_number_where_that_is_safe() -> None:
    assert fill_value(torch.float32) == torch.finfo(torch.float32).min
    assert fill_value(torch.bfloat16) == torch.finfo(torch.bfloat16).min
    assert torch.tensor(fill_value(torch.float16), dtype=torch.float16) - 30000 > -torch.inf


def test_causal_visibility_with_a_cache() -> None:
    assert causal_visibility(2, 3, torch.device("cpu")).tolist() == [
        [True, True, True, True, False],
        [True, True, True, True, True],
    ]


def test_causal_and_padding_together() -> None:
    hidden = torch.zeros(1, 2, 4)
    bias = self_attention_bias(torch.tensor([[0, 1, 1]]), hidden, past=1, causal=True)
    assert bias is not None
    assert (bias == 0).tolist() == [[[[False, True, False], [False, True, True]]]]


def test_no_bias_where_all_may_be_seen() -> None:
    assert self_attention_bias(None, torch.zeros(1, 2, 4), past=0, causal=False) is None


def test_three_dimensional_mask_is_taken_as_it_is() -> None:
    """Also by a decoder: nothing is hidden on top of it."""
    mask = torch.tensor([[[1, 1], [0, 1]]])
    for causal in (False, True):
        bias = self_attention_bias(mask, torch.zeros(1, 2, 4), past=0, causal=causal)
        assert bias is not None
        assert (bias == 0).long().squeeze(1).tolist() == mask.tolist()


@torch.no_grad()
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("decoder", [False, True])
def test_rows_that_see_nothing_stay_finite(decoder: bool, implementation: str, dtype: torch.dtype) -> None:
    model = tiny_model(is_decoder=decoder, attn_implementation=implementation).to(dtype)
    for layer in model.encoder.layer:  # strong scores: in float16 fill plus score must not overflow
        layer.attention.self.query.weight.mul_(12)
        layer.attention.self.key.weight.mul_(12)
    inputs = tiny_inputs()
    inputs["attention_mask"][1] = 0
    output = model(**inputs)
    assert torch.isfinite(output.last_hidden_state).all()
    inputs["attention_mask"][:] = 0
    assert torch.isfinite(model(**inputs).last_hidden_state).all()


@torch.no_grad()
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_padding_does_not_change_the_rest(implementation: str) -> None:
    model = tiny_model(attn_implementation=implementation)
    inputs = tiny_inputs()
    alone = {name: tensor[:1, :3] for name, tensor in inputs.items()}
    padded = model(**inputs).last_hidden_state[:1, :3]
    torch.testing.assert_close(padded, model(**alone).last_hidden_state, atol=1e-5, rtol=0)


@torch.no_grad()
def test_decoder_does_not_look_ahead() -> None:
    model = tiny_model("BertLMHeadModel")
    ids = tiny_inputs()["input_ids"]
    changed = ids.clone()
    changed[:, 4] = (changed[:, 4] + 1) % 53
    before, after = model(ids).logits, model(changed).logits
    torch.testing.assert_close(before[:, :4], after[:, :4], atol=0, rtol=0)
    assert (before[:, 4:] - after[:, 4:]).abs().amax(dim=-1).min() > 0


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(2, 5), "covers 5 tokens"),
        (torch.ones(2, 6, 5), "covers 5 tokens"),
        (torch.ones(2, 5, 6), "rows for 5 queries"),
        (torch.ones(6), "must be"),
        (torch.ones(2, 1, 6, 6), "must be"),
    ],
)
def test_masks_that_do_not_fit(mask: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_model()(**tiny_inputs() | {"attention_mask": mask})


def test_encoder_masks_that_do_not_fit() -> None:
    model = tiny_model("BertLMHeadModel", add_cross_attention=True)
    with pytest.raises(InputError, match="encoder_attention_mask"):
        model(
            **tiny_inputs(), encoder_hidden_states=torch.zeros(2, 4, 32), encoder_attention_mask=torch.ones(2, 1, 6, 4)
        )
