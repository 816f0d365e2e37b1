"""What is evaluated: a task, its tokenizer, and how texts become inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from bert_onnx.config import BertConfig
from bert_onnx.errors import TokenizerError
from bert_onnx.tasks import BATCH, ENCODER_SEQUENCE, INPUT_DEFAULTS, PAST, Port, Task, TaskOptions, arrays_for
from bert_onnx.tokenization import FastTokenizer, load_tokenizer
from runtimes.engines.base import Runtime
from runtimes.pipelines.batches import BatchInputs, BatchOptions, pad, run_rows
from runtimes.pipelines.encoding import Window, encode

Prediction = TypeVar("Prediction")
Row = Mapping[str, np.ndarray]

#: Texts that are run together. Equal for reference and variant, though no figure should depend on it.
BATCH_SIZE = 16


@dataclass(frozen=True)
class Subject:
    """A model without the graph that computes it.

    Args:
        task, options: what it computes.
        config: labels, sizes and token ids with a meaning.
        tokenizer: makes ids of text.
        max_length: most tokens of a text, special ones included.
    """

    task: Task
    options: TaskOptions
    config: BertConfig
    tokenizer: FastTokenizer
    max_length: int

    @classmethod
    def of_artifact(
        cls, folder: Path, task: Task, options: TaskOptions, config: BertConfig, max_length: int
    ) -> Subject:
        """The subject whose tokenizer lies in `folder`, an artifact or a staged one.

        Raises:
            TokenizerError: there is none, so that no text can be read, or it is damaged.
        """
        if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
            raise TokenizerError(
                "a precision other than fp32 is judged on text, and the checkpoint has no tokenizer; "
                "put its vocab.txt or tokenizer.json beside the weights."
            )
        longest = min(max_length, config.longest_sequence)
        return cls(task, options, config, load_tokenizer(folder, config.vocab_size), longest)

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Window]:
        """One row a text (or pair), cut to `max_length`."""
        return encode(self.tokenizer, list(texts), None if pairs is None else list(pairs), self.max_length)

    def run(
        self,
        runtime: Runtime,
        windows: Sequence[Window],
        outputs: Sequence[str],
        finish: Callable[[int, Row], Prediction],
        batch_size: int = BATCH_SIZE,
    ) -> list[Prediction]:
        """`finish(index, row)` for every window, in their order; `row` holds its part of each output, padded."""
        inputs = BatchInputs(
            [len(window.ids) for window in windows],
            lambda batch: runtime.run(self.arrays(runtime, [windows[index] for index in batch]), outputs),
        )
        return run_rows(inputs, BatchOptions.of_size(batch_size), finish)

    def arrays(self, runtime: Runtime, windows: Sequence[Window], length: int | None = None) -> dict[str, np.ndarray]:
        """Inputs of one batch, padded on the right to the longest row, or to `length` tokens.

        A cache is empty, and the states of an encoder are the same random ones for every row.
        """
        arrays = pad(windows, self.tokenizer.padding_id)
        if length is not None:
            arrays = {name: _widen(array, length, self._fill(name)) for name, array in arrays.items()}
        missing = [port for port in runtime.inputs if port.name not in {*arrays, *INPUT_DEFAULTS}]
        sizes = {BATCH: len(windows), PAST: 0, ENCODER_SEQUENCE: _ENCODER_LENGTH}
        return arrays | arrays_for(missing, sizes, _fill_in)

    def _fill(self, name: str) -> int:
        return self.tokenizer.padding_id if name == "input_ids" else 0


_ENCODER_LENGTH = 7


def _fill_in(port: Port, shape: tuple[int, ...]) -> np.ndarray:
    if port.name == "encoder_attention_mask":
        return np.ones(shape, np.int64)
    if port.name == "encoder_hidden_states":
        one = np.random.default_rng(0).standard_normal((1, *shape[1:])).astype(np.float32)
        return np.ascontiguousarray(np.broadcast_to(one, shape))
    return np.zeros(shape, np.float32)


def _widen(array: np.ndarray, length: int, fill: int) -> np.ndarray:
    return np.pad(array, ((0, 0), (0, length - array.shape[1])), constant_values=fill)
