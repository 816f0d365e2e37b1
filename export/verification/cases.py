"""The inputs that a graph is verified on: shapes, padding on every side, holes, pairs, cache lengths.

Every case is made from a seed of its own, so that a verdict can be reproduced from its name alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bert_onnx.config import BertConfig
from bert_onnx.tasks import (
    BATCH,
    CHOICES,
    ENCODER_SEQUENCE,
    PAST,
    PROMPT_LENGTH,
    RIGHT_PADDING,
    SEQUENCE,
    Port,
    Task,
    arrays_for,
)
from export.verification.longest import longest_case

#: Lengths of the axes that a case does not speak of.
_CHOICES = 3
_ENCODER = 9

#: The task that means nothing without a second segment.
_ALWAYS_PAIRS = "question-answering"

MaskMaker = Callable[[np.ndarray, np.random.Generator], None]


@dataclass(frozen=True)
class Case:
    """One set of inputs.

    Args:
        name: what is special about it, and its shape.
        inputs: arrays by port name.
    """

    name: str
    inputs: dict[str, np.ndarray]


def _full(mask: np.ndarray, rng: np.random.Generator) -> None:
    """Every token is real."""


def _right(mask: np.ndarray, rng: np.random.Generator) -> None:
    """Rows of different lengths, padding after the text; the first row is full."""
    for row in mask[1:]:
        row[rng.integers(1, len(row) + 1) :] = 0


def _left(mask: np.ndarray, rng: np.random.Generator) -> None:
    """Rows of different lengths, padding before the text; the first row is full."""
    for row in mask[1:]:
        row[: len(row) - rng.integers(1, len(row) + 1)] = 0


def _holes(mask: np.ndarray, rng: np.random.Generator) -> None:
    """Half of the tokens are masked, anywhere; the first is real, so that no row is empty."""
    mask[:] = rng.integers(0, 2, mask.shape)
    mask[:, 0] = 1


@dataclass(frozen=True)
class _Plan:
    label: str
    batch: int
    sequence: int
    mask: MaskMaker = _full
    past: int = 0
    pairs: bool = False


def verification_cases(
    task: Task, config: BertConfig, inputs: Sequence[Port], requires: Collection[str] = ()
) -> Iterator[Case]:
    """Cases for a graph with the ports `inputs`, made one by one, so that only one is in memory.

    None is longer than what this machine's memory allows: see `longest_case`.

    Args:
        requires: what inputs must keep to; cases that do not are left out.
    """
    for plan in _plans(task, longest_case(config)):
        if task.name == _ALWAYS_PAIRS:
            plan = replace(plan, pairs=True)
        if RIGHT_PADDING in requires and plan.mask in (_left, _holes):
            continue
        sequence = f"{plan.past}+{plan.sequence}" if task.cached else str(plan.sequence)
        name = f"{plan.label} {plan.batch}x{sequence}"
        yield Case(name, _arrays(plan, config, inputs, np.random.default_rng(zlib.crc32(name.encode()))))


def _plans(task: Task, longest: int) -> Iterator[_Plan]:
    """The shapes to try, of at most `longest` tokens."""
    medium, short = min(128, longest), min(17, longest)
    yield _Plan("single", 1, 1)
    yield _Plan("full", 3, short)
    yield _Plan("full", 2, medium)
    yield _Plan("longest", 1, longest)
    yield _Plan("right-padded", 4, short, _right)
    yield _Plan("left-padded", 4, short, _left)
    yield _Plan("holed", 4, short, _holes)
    yield _Plan("pairs", 3, short, _right, pairs=True)
    if task.cached and longest >= 4:
        yield _Plan("step", 1, 1, past=1)
        yield _Plan("step", 3, 1, past=min(9, longest - 1))
        yield _Plan("step right-padded", 3, 1, _right, past=min(21, longest - 1))
        yield _Plan("chunk", 2, min(5, longest // 2), past=min(7, longest // 2))
        yield _Plan("last step", 1, 1, past=longest - 1)


def _arrays(plan: _Plan, config: BertConfig, inputs: Sequence[Port], rng: np.random.Generator) -> dict[str, np.ndarray]:
    lengths = {
        BATCH: plan.batch,
        SEQUENCE: plan.sequence,
        PAST: plan.past,
        CHOICES: _CHOICES,
        ENCODER_SEQUENCE: _ENCODER,
    }

    def make(port: Port, shape: tuple[int, ...]) -> np.ndarray:
        if port.name == "input_ids":
            return rng.integers(0, config.vocab_size, shape)
        if port.name == "token_type_ids":
            return _token_types(shape, plan.pairs, config.type_vocab_size)
        if port.name == PROMPT_LENGTH:
            return np.zeros(shape, np.int64)
        if port.name.endswith("attention_mask"):
            mask = np.ones(shape, np.int64)
            plan.mask(mask.reshape(-1, shape[-1]), rng)
            return mask
        # Hidden states of an encoder, keys and values of a cache: the size that trained models have.
        return rng.standard_normal(shape).astype(np.float32)

    arrays = arrays_for(inputs, lengths, make)
    if config.first_position and plan.mask is not _holes:  # where positions depend on padding, it looks like padding
        ids = arrays["input_ids"]
        ids[arrays["attention_mask"][..., -ids.shape[-1] :] == 0] = config.first_position - 1
    if PROMPT_LENGTH in arrays:
        arrays[PROMPT_LENGTH][:] = _prompt_length(arrays["attention_mask"], rng)
    return arrays


def _prompt_length(mask: np.ndarray, rng: np.random.Generator) -> int:
    """A length that leaves every row of `mask` at least one token."""
    first = mask.argmax(axis=1)
    last = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
    return int(rng.integers(0, (last - first).min() + 1))


def _token_types(shape: tuple[int, ...], pairs: bool, kinds: int) -> np.ndarray:
    """All of the first segment, or the first third of the tokens and then the second segment."""
    types = np.zeros(shape, np.int64)
    if pairs and kinds > 1:
        types[..., shape[-1] // 3 :] = 1
    return types
