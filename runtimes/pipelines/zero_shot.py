"""zero-shot-classification: labels that a caller names, judged by a model of natural language inference.

For each label a hypothesis is made ("This example is sports."); the label fits as far as the text entails it (Yin et
al. 2019, "Benchmarking Zero-shot Text Classification"). Numbers are those of transformers' pipeline of that name.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bert_onnx.errors import InputError, UsageError
from runtimes.pipelines.base import TokenizingPipeline
from runtimes.pipelines.encoding import ONLY_FIRST, Window, check_texts, encode
from runtimes.pipelines.results import Result
from runtimes.pipelines.scores import best, softmax

TEMPLATE = "This example is {}."

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ZeroShot(Result):
    """The labels of a text and their scores, highest first.

    Args:
        sequence: the text.
        labels, scores: of equal length.
        truncated: the end of the text was not read for at least one label.
    """

    sequence: str
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    truncated: bool

    def for_people(self) -> dict[str, Any]:
        """Each label beside its score."""
        rows = [{"label": one, "score": score} for one, score in zip(self.labels, self.scores, strict=True)]
        return {"sequence": self.sequence, "labels": rows, "truncated": self.truncated}


class ZeroShotClassification(TokenizingPipeline):
    """What a classifier of pairs can do beside its own labels, if it was trained on natural language inference."""

    def zero_shot(
        self,
        texts: str | Sequence[str],
        candidate_labels: str | Sequence[str],
        hypothesis_template: str = TEMPLATE,
        multi_label: bool = False,
        batch_size: int = 32,
    ) -> list[ZeroShot]:
        """How well each label fits each text, in the order of the texts.

        Args:
            candidate_labels: the labels, or one string of them with commas between.
            hypothesis_template: what the model judges, with {} in the label's place.
            multi_label: several labels may be right: each is judged by itself, entailment against contradiction; else
                their scores add up to 1.
            batch_size: pairs of a text and a label that are run together.

        Raises:
            InputError: there are no labels, or something is not a text; a label alone is too long.
            UsageError: the template has no place for the label.
        """
        first, labels = check_texts(texts), _labels(candidate_labels)
        hypotheses = _hypotheses(hypothesis_template, labels)
        entailment = entailment_id(self.config.id2label)
        windows = [window for text in first for window in self._pairs(text, hypotheses)]
        rows = self._run(windows, ["logits"], batch_size, lambda window, row: row["logits"])
        found = []
        for index, text in enumerate(first):
            own = slice(index * len(labels), (index + 1) * len(labels))
            cut = any(window.truncated for window in windows[own])
            found.append(_judged(text, labels, np.stack(rows[own]), entailment, multi_label, cut))
        return found

    def _pairs(self, text: str, hypotheses: list[str]) -> list[Window]:
        """The pairs of a text, which is cut where one is too long, unless its hypothesis alone is."""
        try:
            return encode(self.tokenizer, [text] * len(hypotheses), hypotheses, self.max_length, truncation=ONLY_FIRST)
        except InputError:
            if len(hypotheses) == 1:
                return encode(self.tokenizer, [text], hypotheses, None)
            return [window for one in hypotheses for window in self._pairs(text, [one])]


def entailment_id(id2label: Mapping[int, str]) -> int:
    """The class that means that the text entails the hypothesis; -1, the last class, with a warning if none says so."""
    for index, label in id2label.items():
        if label.lower().startswith("entail"):
            return index
    logger.warning(
        "no label of the model begins with 'entail' (they are %s); its last one is taken for entailment. Name the "
        "labels in config.json: id2label.",
        ", ".join(list(id2label.values())[:5]),
    )
    return -1


def _labels(given: str | Sequence[str]) -> list[str]:
    labels = [part.strip() for part in given.split(",")] if isinstance(given, str) else check_texts(given, "label")
    labels = [label for label in labels if label or not isinstance(given, str)]
    if not labels:
        raise InputError("there are no candidate labels; give at least one.")
    return labels


def _hypotheses(template: str, labels: list[str]) -> list[str]:
    try:
        made = [template.format(label) for label in labels]
    except (AttributeError, IndexError, KeyError, ValueError):
        made = [template]
    if made[0] == template:
        raise UsageError(f"the hypothesis template {template!r} needs one {{}} where the label is to stand.")
    return made


def _judged(
    text: str, labels: list[str], logits: np.ndarray, entailment: int, multi_label: bool, truncated: bool
) -> ZeroShot:
    """`logits` [labels, classes] of one text to its scores."""
    if multi_label or len(labels) == 1:
        contradiction = -1 if entailment == 0 else 0
        scores = softmax(logits[:, [contradiction, entailment]])[:, 1]
    else:
        scores = softmax(logits[:, entailment])
    order = best(scores, len(labels))
    return ZeroShot(text, tuple(labels[i] for i in order), tuple(float(scores[i]) for i in order), truncated)
