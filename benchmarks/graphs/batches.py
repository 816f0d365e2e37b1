"""Batches to measure on: real sentences of real lengths, and batches without any padding."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bert_onnx.tokenization import load_tokenizer

#: Packages whose docstrings are the texts; all are installed wherever this benchmark runs.
_PACKAGES = ("numpy", "torch", "onnx", "transformers", "json", "argparse", "logging", "unittest.mock", "statistics")

#: Draws of texts, from short ones alone to all, of which the one nearest to the wanted fill is taken; and how often
#: a text of it is exchanged for another that brings it nearer.
_TRIALS = 400


@dataclass(frozen=True)
class Batch:
    """What one measurement runs on.

    Args:
        name: for people, as `32x256 fill 0.20`.
        inputs: int64 [B, S] by name.
        lengths: real tokens of each text, [B].
    """

    name: str
    inputs: dict[str, np.ndarray]
    lengths: np.ndarray

    @property
    def fill(self) -> float:
        """Real tokens as a share of B * S."""
        return float(self.inputs["attention_mask"].mean())


class Texts:
    """Tokenised docstrings, and batches drawn from them with a seed."""

    def __init__(self, tokenizer_folder: Path, longest: int) -> None:
        tokenizer = load_tokenizer(tokenizer_folder)
        texts = sorted({text for name in _PACKAGES for text in _docstrings(name)})
        ids = tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
        self.ids = [np.array(row, np.int64) for row in ids if len(row) > 3]
        self.lengths = np.array([len(row) for row in self.ids])

    def mixed(self, rows: int, length: int, fill: float, seed: int = 0) -> Batch:
        """`rows` texts, the longest of `length` tokens, which fill about `fill` of the batch.

        One text is cut to `length`; the others are drawn from those up to a length that gives the wanted fill.
        """
        rng = np.random.default_rng([seed, rows, length])
        longest = int(rng.choice(np.flatnonzero(self.lengths >= length)))
        wanted, best, chosen = fill * rows * length - length, np.inf, np.arange(0)
        for limit in np.linspace(4, length, _TRIALS):
            short = np.setdiff1d(np.flatnonzero(self.lengths <= limit), [longest])
            drawn = rng.permutation(short)[: rows - 1]
            distance = abs(self.lengths[drawn].sum() - wanted)
            if len(drawn) == rows - 1 and distance < best:
                best, chosen = distance, drawn
        chosen = self._exchange(chosen, np.setdiff1d(np.flatnonzero(self.lengths <= length), [longest]), wanted, rng)
        parts = [self.ids[longest][:length], *(self.ids[i] for i in chosen)]
        parts = [parts[i] for i in rng.permutation(rows)]
        lengths = np.array([len(part) for part in parts])
        ids, mask = np.zeros((rows, length), np.int64), np.zeros((rows, length), np.int64)
        for row, part in enumerate(parts):
            ids[row, : len(part)], mask[row, : len(part)] = part, 1
        batch = _batch("", ids, mask, lengths)
        return Batch(f"{rows}x{length} fill {batch.fill:.2f}", batch.inputs, lengths)

    def _exchange(self, chosen: np.ndarray, others: np.ndarray, wanted: float, rng: np.random.Generator) -> np.ndarray:
        """`chosen`, with texts exchanged for `others` while that brings the sum of lengths nearer to `wanted`."""
        chosen, others = chosen.copy(), np.setdiff1d(others, chosen)
        for _ in range(_TRIALS):
            place, other = rng.integers(len(chosen)), rng.integers(len(others))
            total = self.lengths[chosen].sum()
            changed = total - self.lengths[chosen[place]] + self.lengths[others[other]]
            if abs(changed - wanted) < abs(total - wanted):
                chosen[place], others[other] = others[other], chosen[place]
        return chosen

    def full(self, rows: int, length: int) -> Batch:
        """No padding: the texts one after the other, cut into `rows` of `length` tokens."""
        stream = np.concatenate(self.ids)
        ids = np.resize(stream, rows * length).reshape(rows, length)
        return _batch(f"{rows}x{length}", ids, np.ones_like(ids), np.full(rows, length))


def _batch(name: str, ids: np.ndarray, mask: np.ndarray, lengths: np.ndarray) -> Batch:
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return Batch(name, inputs, lengths)


def _docstrings(package: str) -> set[str]:
    """Docstrings of the public things of a package, and their first lines: long texts and short ones."""
    found = set()
    for name, thing in sorted(vars(importlib.import_module(package)).items()):
        text = inspect.getdoc(thing) if not name.startswith("_") and callable(thing) else None
        if text:
            found |= {text, text.strip().splitlines()[0]}
    return found
