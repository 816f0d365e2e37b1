"""Evaluation: texts, what the reference predicts for them, and figures of how near other runtimes come."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from bert_onnx.errors import InputError
from export.evaluation.examples import TextSet
from export.evaluation.measures import MEASURES
from export.evaluation.subject import Subject
from runtimes.engines.base import Runtime

#: Fewer texts than this say little, whatever the figures are.
FEWEST_TEXTS = 20


class Evaluation:
    """Made once an export; the reference runs once, and each variant is compared with its predictions.

    Args:
        subject: the model.
        texts: held-out texts, at least `FEWEST_TEXTS`; calibration never saw them.
        reference: the eager model.

    Raises:
        InputError: too few texts, or labels that do not fit the model.
    """

    def __init__(self, subject: Subject, texts: TextSet, reference: Runtime) -> None:
        self.subject = subject
        self.texts = texts.at_least(FEWEST_TEXTS, "evaluation")
        self._reference = reference
        self._measure = MEASURES[subject.task.name](subject, texts.examples)
        if self._measure.count == 0:
            raise InputError(f"none of the texts in {texts.name} has a token that this model predicts anything for.")

    @property
    def count(self) -> int:
        """How many texts (pairs, questions) are compared."""
        return self._measure.count

    @cached_property
    def _expected(self) -> Any:
        return self._measure.predict(self._reference)

    @cached_property
    def reference_scores(self) -> dict[str, float]:
        """The task's metrics of the reference, the principal one first; empty without labels."""
        return self._measure.score(self._expected)

    def figures(self, runtime: Runtime) -> dict[str, float]:
        """How near the predictions of `runtime` are to the reference's.

        With labels also each metric M of the task as `M`, that of the reference as `M_reference`, and `metric_loss`,
        what is lost of the principal one (negative where the variant is better).
        """
        found = self._measure.predict(runtime)
        figures = self._measure.compare(self._expected, found)
        for number, (name, score) in enumerate(self._measure.score(found).items()):
            before = self.reference_scores[name]
            figures |= {name: score, f"{name}_reference": before}
            if number == 0:
                figures["metric_loss"] = before - score
        return figures
