"""Is the tokenizer in the graph the artifact's own? Ids, masks and types of many texts, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bert_onnx.artifact import Conformance
from bert_onnx.errors import VerificationError
from bert_onnx.tasks import Task
from bert_onnx.text_input import CUTS_SECOND, MAYBE_PAIRED, text_inputs, token_outputs
from bert_onnx.tokenization import FastTokenizer
from export.text_input.samples import sample_texts
from runtimes.engines.ort.text import TextRuntime
from runtimes.pipelines.batches import pad
from runtimes.pipelines.encoding import Window, encode, encode_spans

#: Rows that run together: of different lengths, so that padding is compared, too.
_BATCH = 32


@dataclass(frozen=True)
class TextBatch:
    """What goes in: texts, and the second ones or the choices of each."""

    texts: list[str]
    pairs: list[str] | list[list[str]] | None


@dataclass(frozen=True)
class TokenizerReference:
    """The artifact's tokenizer, and how it cuts texts.

    Args:
        tokenizer: makes the truth.
        task: says whether there are pairs, and which of them are cut.
        paired: the graph takes second texts.
        longest: most tokens of a row.
    """

    tokenizer: FastTokenizer
    task: Task
    paired: bool
    longest: int

    def arrays(self, batch: TextBatch) -> dict[str, np.ndarray]:
        """What the graph should give: input_ids, attention_mask, token_type_ids [B, S] and truncated [B]."""
        windows = self._windows(batch)
        arrays = pad(windows, self.tokenizer.padding_id)
        if not self.tokenizer.is_bert:  # types that no class returns, and no model reads
            arrays["token_type_ids"][:] = 0
        arrays["truncated"] = np.array([window.truncated for window in windows], np.int64)
        if self.task.choices:
            shape = (len(batch.texts), -1)
            return {name: array.reshape(*shape, *array.shape[1:]) for name, array in arrays.items()}
        return arrays

    def _windows(self, batch: TextBatch) -> list[Window]:
        tokenizer, longest, pairs = self.tokenizer, self.longest, batch.pairs
        if pairs is None:
            return encode(tokenizer, batch.texts, None, longest)
        if self.task.choices:
            texts = [text for text, choices in zip(batch.texts, pairs, strict=True) for _ in choices]
            return encode(tokenizer, texts, [choice for choices in pairs for choice in choices], longest)
        if self.task.name in CUTS_SECOND:
            return encode_spans(tokenizer, batch.texts, pairs, longest, None)  # type: ignore[arg-type]
        return [
            encode(tokenizer, [text], None if not pair and self.task.name in MAYBE_PAIRED else [pair], longest)[0]  # type: ignore[list-item]
            for text, pair in zip(batch.texts, pairs, strict=True)
        ]

    def batches(self, texts: Sequence[str]) -> Iterator[TextBatch]:
        """`texts` in batches, with second texts taken from among them where the graph takes those."""
        seconds = [texts[(index * 7 + 3) % len(texts)] for index in range(len(texts))]
        if self.task.name in MAYBE_PAIRED:
            seconds[::2] = [""] * len(seconds[::2])
        rows = [row for row in zip(texts, seconds, strict=True) if self.takes(row[0])]
        for start in range(0, len(rows), _BATCH):
            yield self.batch(*map(list, zip(*rows[start : start + _BATCH], strict=True)))

    def takes(self, text: str) -> bool:
        """Whether `text` may be a first one: where the second alone is cut, it must leave room."""
        return self.task.name not in CUTS_SECOND or len(self.tokenizer.tokenize(text)) < self.longest - 3

    def batch(self, texts: list[str], seconds: list[str]) -> TextBatch:
        """`texts`, with `seconds` where the graph takes second texts; for multiple choice each has two of them."""
        if not self.paired:
            return TextBatch(texts, None)
        if self.task.choices:
            return TextBatch(texts, [list(two) for two in zip(seconds, reversed(seconds), strict=True)])
        return TextBatch(texts, seconds)


def different_rows(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> list[int]:
    """Indices of the rows in which an array differs. Where shapes do, real tokens tell which rows are to blame."""
    rows = range(len(expected["input_ids"]))
    if all(found[name].shape == array.shape for name, array in expected.items()):
        return [
            row for row in rows if any(not np.array_equal(found[name][row], expected[name][row]) for name in expected)
        ]
    if len(found["input_ids"]) != len(rows):
        return list(rows)
    return [row for row in rows if _real_tokens(found, row) != _real_tokens(expected, row)] or list(rows)


def _real_tokens(arrays: dict[str, np.ndarray], row: int) -> list[int]:
    return [int(token) for token in arrays["input_ids"][row][arrays["attention_mask"][row] > 0]]


def measure_conformance(graph: Path, reference: TokenizerReference) -> Conformance:
    """Run the built-in texts through the tokenizer in `graph` and through the artifact's own.

    Raises:
        VerificationError: a row differs; the message quotes the first one.
        RuntimeUnavailableError: onnxruntime-extensions is missing.
    """
    samples = sample_texts()
    count = 0
    inputs = text_inputs(reference.task, reference.paired)
    with TextRuntime.open(graph, inputs, token_outputs(reference.task)) as runtime:
        for batch in reference.batches(samples.texts):
            found, expected = runtime.run(batch.texts, batch.pairs), reference.arrays(batch)
            wrong = different_rows(found, expected)
            if wrong:
                raise VerificationError(
                    f"the tokenizer in the graph makes other tokens than the checkpoint's of "
                    f"{batch.texts[wrong[0]][:60]!r}; export without --text-input."
                )
            count += len(batch.texts)
    return Conformance(samples.name, samples.sha256, count, count)
