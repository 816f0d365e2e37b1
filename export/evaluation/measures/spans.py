"""Question answering: is the answer the same part of the context?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from export.evaluation.answer_text import exact_match, f1
from export.evaluation.examples import Example
from export.evaluation.subject import BATCH_SIZE, Subject
from runtimes.engines.base import Runtime
from runtimes.pipelines.answer_spans import Answer
from runtimes.pipelines.base import PipelineParts
from runtimes.pipelines.question_answering import QuestionAnswering

#: Words of a text that serve as the question where a text comes without one.
_QUESTION_WORDS = 6


class SpanMeasure:
    """The best answer to each question, by the pipeline that users call.

    Figure: `span_agreement`. Where right answers are known: `f1` and `exact_match`. A text without a context becomes
    one: its first words are the question, it and the text after it the context.
    """

    def __init__(self, subject: Subject, examples: Sequence[Example]) -> None:
        self._subject = subject
        made = [_with_context(examples, index) for index in range(len(examples))]
        self._examples = [e for e in made if _has_tokens(subject, e.text) and _has_tokens(subject, e.pair or "")]
        # A question that has no answer may be answered with "".
        self._impossible = any(example.answers == () for example in self._examples)

    @property
    def count(self) -> int:
        return len(self._examples)

    def predict(self, runtime: Runtime) -> list[Answer]:
        """The best answer to each question."""
        subject = self._subject
        pipeline = QuestionAnswering(
            PipelineParts(subject.task.name, runtime, subject.tokenizer, subject.config, subject.max_length)
        )
        questions, contexts = [e.text for e in self._examples], [e.pair or "" for e in self._examples]
        answers = pipeline(
            questions, contexts, handle_impossible_answer=self._impossible, batch_size=BATCH_SIZE, align_to_words=False
        )
        return [answer.best for answer in answers]

    def compare(self, expected: list[Answer], found: list[Answer]) -> dict[str, float]:
        same = [(a.start, a.end) == (b.start, b.end) for a, b in zip(expected, found, strict=True)]
        return {"span_agreement": float(np.mean(same))}

    def score(self, answers: list[Answer]) -> dict[str, float]:
        known = [(a.answer, e.answers) for a, e in zip(answers, self._examples, strict=True) if e.answers is not None]
        if not known:
            return {}
        return {
            "f1": float(np.mean([f1(found, right) for found, right in known])),
            "exact_match": float(np.mean([exact_match(found, right) for found, right in known])),
        }


def _with_context(examples: Sequence[Example], index: int) -> Example:
    example = examples[index]
    if example.pair is not None:
        return example
    question = " ".join(example.text.split()[:_QUESTION_WORDS])
    return replace(example, text=question, pair=f"{example.text} {examples[(index + 1) % len(examples)].text}")


def _has_tokens(subject: Subject, text: str) -> bool:
    """A text of nothing but control characters has no tokens, and the pipeline refuses it."""
    return bool(subject.tokenizer.encode(text, add_special_tokens=False))
