"""The canonical form: what a BERT graph is between `raise` and `lower`, whatever exported it.

Raising passes recognise what an exporter spelled out and replace it by one node of the private domain below.
Optimising passes work on that form. Lowering passes spell it out again in the operators of a target. The private
domain never reaches a file: it is in no target's list.

    bert_onnx.Gelu(x) -> y                       {approximate: "none" | "tanh"}
        x of any shape. none: x/2 (1 + erf(x / sqrt 2)); tanh: Hendrycks and Gimpel 2016, section 2.

    bert_onnx.KeyMask(attention_mask) -> bias    {fill: float}
        attention_mask [B, R] int64, 1 for real tokens; bias [B, 1, 1, R]: 0 for real tokens, `fill` for padding.

    bert_onnx.Rotary(x, cosines, sines) -> y     {num_heads: H}
        x and y [B, S, H*K] or [T, H*K]; cosines and sines [S, K/2] or [T, K/2]. The numbers i and i + K/2 of a head,
        (a, b), become (a cos - b sin, b cos + a sin): Su et al. 2021, section 3.4.2.

    bert_onnx.Attention(query, key, value, bias?, past_key?, past_value?) -> context, present_key?, present_value?,
                                                                             probabilities?
        {num_heads: H, scale: float}
        query [B, S, H*K]; key, value [B, R, H*K]; bias: added to scale * QK^T, broadcasts to [B, H, S, P+R];
        past_* and present_* [B, H, P, K] and [B, H, P+R, K]; context [B, S, H*K]; probabilities [B, H, S, P+R].
        An input or output that is not there is empty, as ONNX has it for trailing and skipped ones.

LayerNormalization stays ai.onnx's operator of opset 17. Linear layers stay MatMul(x, W) and Add(_, b) with W [in, out].
"""

from __future__ import annotations

#: The private domain. Version 1, never written.
DOMAIN = "bert_onnx"

GELU = "Gelu"
KEY_MASK = "KeyMask"
ROTARY = "Rotary"
ATTENTION = "Attention"

# Positions of Attention's inputs and outputs.
QUERY, KEY, VALUE, BIAS, PAST_KEY, PAST_VALUE = range(6)
CONTEXT, PRESENT_KEY, PRESENT_VALUE, PROBABILITIES = range(4)
