"""text-generation, with and without a cache: the likeliest token, again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bert_onnx.errors import InputError, UsageError
from bert_onnx.tasks import Port
from runtimes.engines.base import Runtime
from runtimes.pipelines.base import PipelineParts, TokenizingPipeline
from runtimes.pipelines.batches import pieces
from runtimes.pipelines.encoding import Window, check_texts, encode
from runtimes.pipelines.options import check_count
from runtimes.pipelines.results import Result

_PAST = "past_key_values."
_PRESENT = "present."


@dataclass(frozen=True)
class Generated(Result):
    """A prompt and what follows it.

    Args:
        text: the prompt and its continuation.
        continuation: what was generated.
        tokens: ids of what was generated.
        finished: why it ends: `eos` (the model said so), `length` (max_new_tokens) or `positions` (the model is full).
    """

    text: str
    continuation: str
    tokens: tuple[int, ...]
    finished: str


class TextGeneration(TokenizingPipeline):
    """Greedy generation. A graph with a cache reads the prompt once and then single tokens; one without, all again."""

    def __init__(self, parts: PipelineParts) -> None:
        super().__init__(parts)
        self._caches = tuple(port for port in self.runtime.inputs if port.name.startswith(_PAST))

    def __call__(
        self,
        texts: str | Sequence[str],
        max_new_tokens: int = 20,
        eos_token_id: int | Sequence[int] | None = None,
        add_special_tokens: bool = True,
        batch_size: int = 8,
    ) -> list[Generated]:
        """A continuation of each text, in their order.

        Args:
            texts: the prompts. Those of equal length are run together; nothing is padded.
            max_new_tokens: most tokens to add.
            eos_token_id: the token that ends a text, or several; None takes the config's, and without one none does.
            add_special_tokens: put [CLS] and [SEP] around the prompt.
            batch_size: prompts that are run together.

        Raises:
            InputError: a prompt is empty, or as long as the model is.
            UsageError: `max_new_tokens` is below 1, or the model reads an encoder's states.
        """
        check_count("max_new_tokens", max_new_tokens)
        check_count("batch_size", batch_size)
        if any(port.name == "encoder_hidden_states" for port in self.runtime.inputs):
            raise UsageError("this model reads an encoder's states, which no text gives it; call its runtime directly.")
        given = [eos_token_id] if isinstance(eos_token_id, int) else eos_token_id
        ends = frozenset(self.config.eos_token_ids if given is None else given)
        prompts = check_texts(texts)
        windows = encode(self.tokenizer, prompts, None, None, add_special_tokens)
        self._check_room(windows)
        lengths = [len(window.ids) for window in windows]
        found: dict[int, Generated] = {}
        for length in sorted(set(lengths)):
            group = [index for index, own in enumerate(lengths) if own == length]
            for batch in pieces(group, batch_size):
                rows = [_Row(index, windows[index]) for index in batch]
                self._continue(rows, min(max_new_tokens, self._positions - length), ends)
                for row in rows:
                    found[row.sample] = self._finish(row, prompts[row.sample], max_new_tokens)
        return [found[index] for index in range(len(prompts))]

    @property
    def _positions(self) -> int:
        return self.config.longest_sequence

    def _check_room(self, windows: Sequence[Window]) -> None:
        for window in windows:
            if not window.ids:
                raise InputError(f"prompt {window.sample} has no tokens; write something, or add special tokens.")
            if len(window.ids) >= self._positions:
                raise InputError(
                    f"prompt {window.sample} has {len(window.ids)} tokens and the model has {self._positions} "
                    "positions, so that nothing can follow; shorten it."
                )

    def _continue(self, rows: list[_Row], steps: int, ends: frozenset[int]) -> None:
        """Add up to `steps` tokens to each of `rows`, whose prompts have the same length."""
        stepper = _Stepper(self.runtime, self._caches, rows)
        active = rows
        for _ in range(steps):
            chosen = stepper.step(active)
            for row, token in zip(active, chosen, strict=True):
                row.added.append(int(token))
                row.ended = row.added[-1] in ends
            going = [i for i, row in enumerate(active) if not row.ended]
            if not going:
                return
            if len(going) < len(active):
                active = [active[i] for i in going]
                stepper.keep(going)

    def _finish(self, row: _Row, prompt: str, max_new_tokens: int) -> Generated:
        # The continuation is what the whole adds to the prompt: decoded alone it would lose the space before it.
        added = self._decode([*row.window.ids, *row.added])[len(self._decode(row.window.ids)) :]
        finished = "eos" if row.ended else "length" if len(row.added) == max_new_tokens else "positions"
        return Generated(prompt + added, added.strip(), tuple(row.added), finished)

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=True)


@dataclass
class _Row:
    """One text while it grows."""

    sample: int
    window: Window
    added: list[int] = field(default_factory=list)
    ended: bool = False


class _Stepper:
    """Asks the graph for the next token of several rows, and keeps their cache."""

    def __init__(self, runtime: Runtime, caches: Sequence[Port], rows: Sequence[_Row]) -> None:
        self._runtime = runtime
        self._outputs = ["logits", *(_PRESENT + port.name.removeprefix(_PAST) for port in caches)]
        # A cache of length 0 before the prompt.
        self._cache = {port.name: np.empty(_empty_shape(port, len(rows)), np.float32) for port in caches}
        self._started = False

    def step(self, rows: Sequence[_Row]) -> np.ndarray:
        """The likeliest next token of each row, int64 [B]."""
        whole = np.array([[*row.window.ids, *row.added] for row in rows], np.int64)
        types = np.array([row.window.type_ids + row.window.type_ids[-1:] * len(row.added) for row in rows], np.int64)
        new = slice(-1, None) if self._cache and self._started else slice(None)
        inputs: dict[str, np.ndarray] = {
            "input_ids": whole[:, new],
            "attention_mask": np.ones_like(whole),
            "token_type_ids": types[:, new],
            **self._cache,
        }
        results = self._runtime.run(inputs, self._outputs)
        self._cache = {name: results[_PRESENT + name.removeprefix(_PAST)] for name in self._cache}
        self._started = True
        return np.asarray(results["logits"][:, -1].argmax(axis=-1))

    def keep(self, going: list[int]) -> None:
        """Drop the cache of rows that ended."""
        self._cache = {name: array[going] for name, array in self._cache.items()}


def _empty_shape(port: Port, batch: int) -> tuple[int, ...]:
    """[B, H, 0, K]: of the axes of a cache, batch and length are free."""
    _, heads, _, size = port.axes
    return (batch, int(heads), 0, int(size))
