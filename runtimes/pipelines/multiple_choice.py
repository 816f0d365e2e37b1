"""multiple-choice: which of several continuations fits a text best?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bert_onnx.errors import InputError
from runtimes.pipelines.base import TokenizingPipeline
from runtimes.pipelines.batches import BatchInputs, BatchOptions, Outputs, pad, run_rows
from runtimes.pipelines.encoding import Window, check_texts
from runtimes.pipelines.results import Result
from runtimes.pipelines.scores import softmax


@dataclass(frozen=True)
class Choice(Result):
    """The choice that fits best.

    Args:
        index: its place among the choices.
        choice: its text.
        scores: the probability of each choice, in their order.
        truncated: the end of the text or of a choice was not read.
    """

    index: int
    choice: str
    scores: tuple[float, ...]
    truncated: bool


class MultipleChoice(TokenizingPipeline):
    """Each choice is read as the second text of a pair whose first is the prompt."""

    def __call__(
        self, texts: str | Sequence[str], choices: Sequence[Sequence[str]], batch_size: int = 8
    ) -> list[Choice]:
        """The best choice for each text, in their order.

        Args:
            texts: the prompts.
            choices: for each prompt its choices; their number may differ from prompt to prompt.
            batch_size: prompts that are run together.

        Raises:
            InputError: a prompt has no choices.
        """
        prompts = check_texts(texts)
        checked = _check_choices(prompts, choices)
        flat = [(prompt, choice) for prompt, own in zip(prompts, checked, strict=True) for choice in own]
        windows = iter(self._encode([prompt for prompt, _ in flat], [choice for _, choice in flat]))
        rows = [[next(windows) for _ in own] for own in checked]
        found: dict[int, Choice] = {}
        # Only prompts with the same number of choices fit into one array.
        for count in sorted({len(own) for own in checked}):
            group = [index for index, own in enumerate(checked) if len(own) == count]
            inputs = self._inputs([rows[index] for index in group])
            scores = run_rows(inputs, BatchOptions.of_size(batch_size), lambda _, row: softmax(row["logits"]))
            found |= {i: _best(checked[i], rows[i], own) for i, own in zip(group, scores, strict=True)}
        return [found[index] for index in range(len(prompts))]

    def _inputs(self, prompts: list[list[Window]]) -> BatchInputs:
        """Prompts with the same number of choices: arrays [B, C, S], logits [B, C]."""

        def run(batch: list[int]) -> Outputs:
            arrays = pad([window for index in batch for window in prompts[index]], self.tokenizer.padding_id)
            shape = (len(batch), len(prompts[0]), -1)
            return self.runtime.run({name: array.reshape(shape) for name, array in arrays.items()}, ["logits"])

        return BatchInputs([max(len(window.ids) for window in own) for own in prompts], run)


def _best(choices: list[str], windows: list[Window], scores: np.ndarray) -> Choice:
    """The choice with the highest of `scores` [C]."""
    at = int(np.argmax(scores))
    cut = any(window.truncated for window in windows)
    return Choice(at, choices[at], tuple(float(score) for score in scores), cut)


def _check_choices(prompts: list[str], choices: Sequence[Sequence[str]]) -> list[list[str]]:
    if isinstance(choices, str) or any(isinstance(own, str) for own in choices):
        raise InputError("choices holds texts; it must hold one list of choices for each text.")
    if len(choices) != len(prompts):
        raise InputError(f"there are {len(prompts)} texts but {len(choices)} lists of choices; give one for each.")
    checked = [check_texts(own, f"of text {index} choice") for index, own in enumerate(choices)]
    for index, own in enumerate(checked):
        if not own:
            raise InputError(f"text {index} has no choices; give at least one.")
    return checked
