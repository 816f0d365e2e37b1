"""Batches for a GPU: 1 to 256 texts of 16 to 512 tokens, without padding and half filled."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.graphs.batches import Batch, Texts

SIZES = (1, 8, 32, 128, 256)
LENGTHS = (16, 64, 128, 256, 512)
_QUICK = ((8, 64), (128, 128))


def batches(texts: Texts, quick: bool = False) -> Iterator[Batch]:
    """Every size and length without padding, and half filled where there is more than one text."""
    for rows, length in _QUICK if quick else [(rows, length) for rows in SIZES for length in LENGTHS]:
        full = texts.full(rows, length)
        yield full
        if rows > 1:
            yield half_filled(full)


def half_filled(full: Batch, seed: int = 0) -> Batch:
    """`full`, its texts cut to lengths of which half are short: real tokens fill half of it, on the left of each row.

    Lengths come in pairs that add up to the longest, in an order of their own; the first pair is the longest and 1.
    """
    rows, length = full.inputs["input_ids"].shape
    rng = np.random.default_rng([seed, rows, length])
    first = rng.integers(1, length, rows // 2)
    lengths = np.concatenate([first, length - first, np.full(rows % 2, length // 2)])
    lengths[[0, rows // 2]] = length, 1
    lengths = rng.permutation(lengths)
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    inputs = {**full.inputs, "input_ids": full.inputs["input_ids"] * mask, "attention_mask": mask}
    return Batch(f"{rows}x{length} half", inputs, lengths)
