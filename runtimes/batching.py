"""Many texts in calls of a good size: a token budget, rows of like length, results in the order of the input.

Texts are read in pieces, so that any number of them goes through bounded memory; the next piece is tokenised on a
thread of its own while one runs. A call that runs out of memory is split once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from bert_onnx.errors import InferenceError
from runtimes.background import Background
from runtimes.engines.base import Runtime, ran_out_of_memory
from runtimes.pipelines.batches import Row, pad
from runtimes.pipelines.encoding import Window
from runtimes.pipelines.options import check_count

Item = TypeVar("Item")
Encoder = Callable[[list[str]], list[Window]]
#: Called with how many texts are done.
Done = Callable[[int], None]


@dataclass(frozen=True)
class BatchOptions:
    """How texts are put together.

    Args:
        tokens: most tokens of a call, padding included; a longer text makes a call of its own.
        rows: most texts of a call.
        piece: texts that are read, tokenised and sorted together. Memory grows with it, padding shrinks.
    """

    tokens: int = 2048
    rows: int = 64
    piece: int = 1024

    def __post_init__(self) -> None:
        for name in ("tokens", "rows", "piece"):
            check_count(name, getattr(self, name))


def token_batches(lengths: Sequence[int], tokens: int, rows: int) -> Iterator[list[int]]:
    """Indices in batches of like length: at most `tokens` with padding and at most `rows`, longest first.

    What does not fit into memory fails at once, and every length gets into some batch, however long it is.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        longest = lengths[batch[0]] if batch else lengths[index]
        if batch and ((len(batch) + 1) * longest > tokens or len(batch) == rows):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def run_batch(
    runtime: Runtime, windows: Sequence[Window], outputs: Sequence[str], pad_token_id: int
) -> list[dict[str, np.ndarray]]:
    """A row of each output for each window. Where memory runs out, the batch is run as two halves, once.

    Raises:
        InferenceError: a half of it did not fit, either, or the graph failed in another way.
    """
    try:
        return _rows(runtime.run(pad(windows, pad_token_id), outputs), len(windows))
    except InferenceError as error:
        if not ran_out_of_memory(error) or len(windows) == 1:
            raise
    middle = (len(windows) + 1) // 2
    halves = (windows[:middle], windows[middle:])
    try:
        # The parts of a batch may differ in length, so that each is padded by itself.
        return [row for half in halves for row in _rows(runtime.run(pad(half, pad_token_id), outputs), len(half))]
    except InferenceError as error:
        if not ran_out_of_memory(error):
            raise
        longest = max(len(window.ids) for window in windows)
        raise InferenceError(
            f"memory ran out for {len(windows)} texts of up to {longest} tokens, and for half of them; "
            "take a smaller token budget or batch size, or cut the texts."
        ) from error


def run_in_order(
    runtime: Runtime,
    windows: Sequence[Window],
    outputs: Sequence[str],
    pad_token_id: int,
    options: BatchOptions,
) -> list[Row]:
    """A row of each output for each window, in their order."""
    answers: dict[int, Row] = {}
    for batch in token_batches([len(window.ids) for window in windows], options.tokens, options.rows):
        rows = run_batch(runtime, [windows[index] for index in batch], outputs, pad_token_id)
        answers.update(zip(batch, rows, strict=True))
    return [answers[index] for index in range(len(windows))]


def stream_vectors(
    runtime: Runtime,
    encode: Encoder,
    texts: Iterable[str],
    output: str,
    pad_token_id: int,
    options: BatchOptions,
    done: Done = lambda count: None,
) -> Iterator[np.ndarray]:
    """`output` [n, D] of one piece of `texts` after the other, in their order.

    Args:
        encode: one window a text; called on another thread, one piece ahead.
        done: called after each piece with the number of texts that are done.
    """
    total = 0
    for windows in _one_ahead(encode, pieces(texts, options.piece)):
        rows = run_in_order(runtime, windows, [output], pad_token_id, options)
        total += len(rows)
        done(total)
        yield np.stack([row[output] for row in rows])


def pieces(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items; the last may be shorter."""
    iterator = iter(items)
    while piece := list(islice(iterator, size)):
        yield piece


def _one_ahead(encode: Encoder, texts: Iterator[list[str]]) -> Iterator[list[Window]]:
    """Windows of each piece. The next piece is encoded meanwhile: the tokenizer works without the interpreter lock."""
    piece = next(texts, None)
    if piece is None:
        return
    ahead = Background(_call(encode, piece))
    for following in texts:
        windows = ahead.result()
        ahead = Background(_call(encode, following))
        yield windows
    yield ahead.result()


def _call(encode: Encoder, piece: list[str]) -> Callable[[], list[Window]]:
    return lambda: encode(piece)


def _rows(results: dict[str, np.ndarray], count: int) -> list[dict[str, np.ndarray]]:
    return [{name: array[row] for name, array in results.items()} for row in range(count)]
