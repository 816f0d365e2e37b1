"""Batches for a GPU: 1 to 256 texts of 16 to 512 tokens, without padding and half filled; ids are random."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.graphs.batches import Batch

#: Sizes in the order in which they are measured: those that most is said of come first.
SIZES = (128, 1, 8, 32, 256)
LENGTHS = (128, 16, 512, 64, 256)


def batches(rows: int, length: int, vocabulary: int) -> Iterator[Batch]:
    """`rows` texts of `length` tokens without padding, and half filled where there is more than one text."""
    rng = np.random.default_rng([rows, length])
    ids = rng.integers(1, vocabulary, (rows, length))
    full = _batch(f"{rows}x{length}", ids, np.full(rows, length))
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
    return _batch(f"{full.name} half", full.inputs["input_ids"], rng.permutation(lengths))


def _batch(name: str, ids: np.ndarray, lengths: np.ndarray) -> Batch:
    mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
    inputs = {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return Batch(name, inputs, lengths)
