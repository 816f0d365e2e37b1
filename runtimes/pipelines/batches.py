"""Windows to padded arrays: sorted by length, so that little is padded, and answered in the order of the input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from runtimes.engines.base import Runtime
from runtimes.pipelines.encoding import Window
from runtimes.pipelines.options import check_count

Answer = TypeVar("Answer")
Row = Mapping[str, np.ndarray]


def length_batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Indices in batches of at most `batch_size`, longest first: what does not fit into memory fails at once.

    Raises:
        UsageError: `batch_size` is not a number of at least 1.
    """
    check_count("batch_size", batch_size)
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def pad(windows: Sequence[Window], pad_token_id: int) -> dict[str, np.ndarray]:
    """input_ids, attention_mask and token_type_ids, int64 [B, S], padded on the right."""
    lengths = np.array([len(window.ids) for window in windows])
    shape = (len(windows), int(lengths.max()))
    ids = np.full(shape, pad_token_id, np.int64)
    types = np.zeros(shape, np.int64)
    for row, window in enumerate(windows):
        ids[row, : len(window.ids)] = window.ids
        types[row, : len(window.ids)] = window.type_ids
    mask = (np.arange(shape[1]) < lengths[:, None]).astype(np.int64)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def run_windows(
    runtime: Runtime,
    windows: Sequence[Window],
    outputs: Sequence[str],
    pad_token_id: int,
    batch_size: int,
    finish: Callable[[Window, Row], Answer],
) -> list[Answer]:
    """`finish(window, row)` for every window, in their order; `row` holds its part of each output, padding included.

    Only one batch's outputs are in memory at a time.
    """
    answers: dict[int, Answer] = {}
    for batch in length_batches([len(window.ids) for window in windows], batch_size):
        chosen = [windows[index] for index in batch]
        results = runtime.run(pad(chosen, pad_token_id), outputs)
        for row, index in enumerate(batch):
            answers[index] = finish(windows[index], {name: array[row] for name, array in results.items()})
    return [answers[index] for index in range(len(windows))]
