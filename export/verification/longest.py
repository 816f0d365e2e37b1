"""The longest input that a graph is verified on: bounded by the memory of this machine."""

from __future__ import annotations

import math

from bert_onnx.config import BertConfig
from bert_onnx.memory import gib, usable_memory, weight_bytes

#: Tensors of the size of one layer's attention scores that a graph holds at once. Measured at 8,192 tokens of 12 heads:
#: 2.2 where attention is made of standard operators, 1.2 where it is one operator.
_SCORE_TENSORS = 2.25
#: What the program itself takes, with torch and ONNX Runtime.
_PROGRAM = 1 << 30
#: Copies of the weights that an export holds at once: eager models of two processes, graph, session.
_WEIGHTS = 4
#: Every machine is asked for so many tokens; longer cases are multiples of it.
_STEP = 512


def longest_case(config: BertConfig) -> int:
    """Tokens of the longest case: the model's positions, or as many as this machine's memory holds scores of."""
    positions = config.longest_sequence
    memory = usable_memory()
    if memory is None or positions <= _STEP or needed_memory(config, positions) <= memory:
        return positions
    room = max(memory - needed_memory(config, 0), 0)
    tokens = math.isqrt(int(room / (_SCORE_TENSORS * 4 * config.num_attention_heads)))
    return max(tokens // _STEP * _STEP, _STEP)


def needed_memory(config: BertConfig, tokens: int) -> int:
    """Bytes that verifying an input of `tokens` tokens takes, about."""
    scores = 4 * config.num_attention_heads * tokens * tokens
    return _PROGRAM + _WEIGHTS * weight_bytes(config) + int(_SCORE_TENSORS * scores)


def length_warnings(config: BertConfig) -> tuple[str, ...]:
    """One that names the positions that were not verified, if there are any."""
    positions, longest = config.longest_sequence, longest_case(config)
    if longest == positions:
        return ()
    return (
        f"The model has {positions:,} positions; inputs of at most {longest:,} tokens were verified, since longer ones "
        f"do not fit in the memory of this machine. All of them need about {gib(needed_memory(config, positions))}.",
    )
