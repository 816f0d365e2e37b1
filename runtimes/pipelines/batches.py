"""Many inputs in calls of a good size: a token budget, rows of like length, results in the order of the input.

`run_batches` is the one loop; a call that runs out of memory is split once. `stream_vectors` reads texts in pieces, so
that any number of them goes through bounded memory; the next piece is tokenised on a thread of its own while one runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from bert_onnx.errors import InferenceError
from runtimes.background import Background
from runtimes.engines.base import Runtime, ran_out_of_memory
from runtimes.pipelines.encoding import Window
from runtimes.pipelines.options import check_count

Item = TypeVar("Item")
Prediction = TypeVar("Prediction")
Outputs = Mapping[str, np.ndarray]
#: One row of each output.
Row = Mapping[str, np.ndarray]

#: A token budget that no batch reaches.
_NO_BUDGET = 1 << 62


@dataclass(frozen=True)
class BatchOptions:
    """How inputs are put together.

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

    @classmethod
    def of_size(cls, batch_size: int) -> BatchOptions:
        """Up to `batch_size` rows, however long.

        Raises:
            UsageError: it is not a number of at least 1.
        """
        return cls(tokens=_NO_BUDGET, rows=check_count("batch_size", batch_size))


@dataclass(frozen=True)
class BatchInputs:
    """Inputs that can be run together.

    Args:
        lengths: the length of each.
        run: outputs by name for the inputs at some indices, in the order of those: one row each.
        unit: what lengths count.
    """

    lengths: Sequence[int]
    run: Callable[[list[int]], Outputs]
    unit: str = "tokens"


def window_inputs(
    runtime: Runtime,
    windows: Sequence[Window],
    outputs: Sequence[str],
    pad_token_id: int,
    further: Mapping[str, np.ndarray] | None = None,
) -> BatchInputs:
    """`windows`, run on `runtime` for `outputs`; `further` inputs are the same for every call."""

    def run(batch: list[int]) -> Outputs:
        return runtime.run({**pad([windows[index] for index in batch], pad_token_id), **(further or {})}, outputs)

    return BatchInputs([len(window.ids) for window in windows], run)


def pad(windows: Sequence[Window], pad_token_id: int) -> dict[str, np.ndarray]:
    """input_ids, attention_mask and token_type_ids, int64 [B, S], padded on the right; the mask hides what is not
    `seen`, too."""
    lengths = np.array([len(window.ids) for window in windows])
    shape = (len(windows), int(lengths.max()))
    ids = np.full(shape, pad_token_id, np.int64)
    types = np.zeros(shape, np.int64)
    for row, window in enumerate(windows):
        ids[row, : len(window.ids)] = window.ids
        types[row, : len(window.ids)] = window.type_ids
    seen = np.array([len(window.ids) if window.seen is None else window.seen for window in windows])
    mask = (np.arange(shape[1]) < seen[:, None]).astype(np.int64)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


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


def run_batches(inputs: BatchInputs, options: BatchOptions) -> Iterator[tuple[list[int], Outputs]]:
    """Indices of one call after the other, and the outputs of the inputs there. One call's are in memory at a time.

    Raises:
        InferenceError: memory ran out for half a batch, too, or the graph failed in another way.
    """
    for batch in token_batches(inputs.lengths, options.tokens, options.rows):
        try:
            outputs = inputs.run(batch)
        except InferenceError as error:
            if not ran_out_of_memory(error) or len(batch) == 1:
                raise
        else:
            yield batch, outputs
            continue
        yield from _run_halves(inputs, batch)


def _run_halves(inputs: BatchInputs, batch: list[int]) -> Iterator[tuple[list[int], Outputs]]:
    """The longer half and then the shorter one, each padded by itself; neither is split again."""
    middle = (len(batch) + 1) // 2
    for half in (batch[:middle], batch[middle:]):
        try:
            outputs = inputs.run(half)
        except InferenceError as error:
            if not ran_out_of_memory(error):
                raise
            raise InferenceError(
                f"memory ran out for {len(batch)} texts of up to {inputs.lengths[batch[0]]} {inputs.unit}, and for "
                "half of them; take a smaller token budget or batch size, or cut the texts."
            ) from error
        yield half, outputs


def run_rows(inputs: BatchInputs, options: BatchOptions, finish: Callable[[int, Row], Prediction]) -> list[Prediction]:
    """`finish(index, row)` for each of `inputs`, in their order; `row` holds its part of each output, with padding."""
    found: dict[int, Prediction] = {}
    for batch, outputs in run_batches(inputs, options):
        for row, index in enumerate(batch):
            found[index] = finish(index, {name: array[row] for name, array in outputs.items()})
    return [found[index] for index in range(len(inputs.lengths))]


def run_vectors(inputs: BatchInputs, output: str, options: BatchOptions) -> np.ndarray:
    """`output` [N, D] of at least one input, in their order."""
    vectors = np.empty(0, np.float32)
    for batch, outputs in run_batches(inputs, options):
        if not vectors.size:
            vectors = np.empty((len(inputs.lengths), *outputs[output].shape[1:]), outputs[output].dtype)
        vectors[batch] = outputs[output]
    return vectors


def stream_vectors(
    prepare: Callable[[list[str]], BatchInputs],
    texts: Iterable[str],
    output: str,
    options: BatchOptions,
    done: Callable[[int], None] = lambda count: None,
) -> Iterator[np.ndarray]:
    """`output` [n, D] of one piece of `texts` after the other, in their order.

    Args:
        prepare: one input a text; called on another thread, one piece ahead.
        done: called after each piece with the number of texts that are done.
    """
    total = 0
    for inputs in _one_ahead(prepare, pieces(texts, options.piece)):
        vectors = run_vectors(inputs, output, options)
        total += len(vectors)
        done(total)
        yield vectors


def pieces(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items; the last may be shorter."""
    iterator = iter(items)
    while piece := list(islice(iterator, size)):
        yield piece


def _one_ahead(prepare: Callable[[list[str]], BatchInputs], texts: Iterator[list[str]]) -> Iterator[BatchInputs]:
    """Inputs of each piece. The next one is prepared meanwhile: tokenizers work without the interpreter lock."""

    def begin(piece: list[str]) -> Background[BatchInputs]:
        return Background(lambda: prepare(piece))

    piece = next(texts, None)
    if piece is None:
        return
    ahead = begin(piece)
    for following in texts:
        inputs = ahead.result()
        ahead = begin(following)
        yield inputs
    yield ahead.result()
