"""Texts to the arrays that a graph takes, and which of their tokens are real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bert_onnx.errors import InputError, UsageError
from bert_onnx.tasks import BATCH, CHOICES, INPUT_DEFAULTS, PAST, SEQUENCE, Port, arrays_for
from bert_onnx.tokenization import FastTokenizer
from runtimes.pipelines.batches import pad
from runtimes.pipelines.encoding import encode

#: Tokens that are run together, padding included.
TOKENS_PER_BATCH = 1024

#: Fewest texts and fewest tokens from which ranges can be learned.
FEWEST_TEXTS = 16
FEWEST_TOKENS = 256

#: One text in so many is held out of calibration, to judge what was made.
HELD_OUT = 4


@dataclass(frozen=True)
class Feed:
    """One batch.

    Args:
        inputs: arrays by port name.
        mask: bool [B, S], true for real tokens.
    """

    inputs: dict[str, np.ndarray]
    mask: np.ndarray


@dataclass(frozen=True)
class CalibrationFeeds:
    """Calibration texts for every graph of a model, whatever its target.

    Args:
        fit: what ranges are learned from and weights are rounded by.
        held_out: one text in HELD_OUT, which judges what the others made.
    """

    fit: Sequence[Feed]
    held_out: Sequence[Feed]


def calibration_feeds(
    texts: Sequence[str], ports: Sequence[Port], tokenizer: FastTokenizer, max_length: int
) -> CalibrationFeeds:
    """The different texts among `texts` that hold anything, cut to `max_length` tokens.

    Raises:
        InputError: there are too few to learn ranges from, or they are too short, or one cannot be tokenised.
        UsageError: the model takes something that cannot be made from text.
    """
    kept = tuple(dict.fromkeys(text for text in texts if text.strip()))
    if len(kept) < FEWEST_TEXTS:
        raise InputError(
            f"the calibration text has {len(kept)} different texts; at least {FEWEST_TEXTS} are needed, and a few "
            "hundred are better. Leave it out to use the built-in ones."
        )
    fit = [text for number, text in enumerate(kept) if number % HELD_OUT]
    return CalibrationFeeds(
        make_feeds(fit, ports, tokenizer, max_length),
        make_feeds(kept[::HELD_OUT], ports, tokenizer, max_length, fewest_tokens=0),
    )


def make_feeds(
    texts: Sequence[str],
    ports: Sequence[Port],
    tokenizer: FastTokenizer,
    max_length: int,
    fewest_tokens: int = FEWEST_TOKENS,
) -> list[Feed]:
    """Batches of texts of similar length, cut to `max_length` tokens.

    Raises:
        InputError: the texts have fewer than `fewest_tokens` tokens, or a text cannot be tokenised.
        UsageError: the graph takes something that cannot be made from text.
    """
    windows = encode(tokenizer, list(texts), None, max_length)
    total = sum(len(window.ids) for window in windows)
    if total < fewest_tokens:
        raise InputError(f"the calibration texts have {total} tokens in all; at least {fewest_tokens} are needed.")
    windows.sort(key=lambda window: -len(window.ids))
    feeds, start = [], 0
    while start < len(windows):
        stop = start + max(1, TOKENS_PER_BATCH // len(windows[start].ids))
        arrays = pad(windows[start:stop], tokenizer.padding_id)
        feeds.append(Feed(_arrays(arrays, ports), arrays["attention_mask"] > 0))
        start = stop
    return feeds


def _arrays(arrays: dict[str, np.ndarray], ports: Sequence[Port]) -> dict[str, np.ndarray]:
    """What each port takes: text where it takes text, nothing where it takes a cache."""
    batch, sequence = arrays["input_ids"].shape
    for port in ports:
        if port.name not in {*arrays, *INPUT_DEFAULTS} and PAST not in port.axes:
            raise UsageError(f"the input {port.name} cannot be made from text; this model cannot be calibrated.")

    def make(port: Port, shape: tuple[int, ...]) -> np.ndarray:
        if port.name in arrays:
            return arrays[port.name].reshape(shape)
        return np.full(shape, INPUT_DEFAULTS.get(port.name, 0), port.dtype)

    return arrays_for(ports, {BATCH: batch, SEQUENCE: sequence, CHOICES: 1, PAST: 0}, make)
