"""multiple-choice: which of several continuations fits a text best?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bert_onnx.errors import InputError
from runtimes.pipelines.base import Pipeline
from runtimes.pipelines.batches import length_batches, pad
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


class MultipleChoice(Pipeline):
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
        answers: dict[int, Choice] = {}
        # Only prompts with the same number of choices fit into one array.
        for count in sorted({len(own) for own in checked}):
            group = [index for index, own in enumerate(checked) if len(own) == count]
            for batch in length_batches([max(len(w.ids) for w in rows[i]) for i in group], batch_size):
                self._answer([group[i] for i in batch], rows, checked, answers)
        return [answers[index] for index in range(len(prompts))]

    def _answer(
        self, batch: list[int], rows: list[list[Window]], choices: list[list[str]], answers: dict[int, Choice]
    ) -> None:
        """Run the prompts of `batch`, arrays [B, C, S], and put their answers into `answers`."""
        shape = (len(batch), len(rows[batch[0]]), -1)
        arrays = pad([window for index in batch for window in rows[index]], self.tokenizer.pad_token_id)
        logits = self.runtime.run({name: array.reshape(shape) for name, array in arrays.items()}, ["logits"])["logits"]
        for index, scores in zip(batch, softmax(logits), strict=True):
            at = int(np.argmax(scores))
            cut = any(window.truncated for window in rows[index])
            answers[index] = Choice(at, choices[index][at], tuple(float(score) for score in scores), cut)


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
