"""One label a text out of a few: classification, regression, next sentences, multiple choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bert_onnx.config import BertConfig
from bert_onnx.errors import InputError
from export.evaluation.examples import Example
from export.evaluation.label_names import label_index
from export.evaluation.metrics import agreement, binary_kl_divergence, kl_divergence, spearman
from export.evaluation.subject import BATCH_SIZE, Subject
from runtimes.engines.base import Runtime


class LabelMeasure:
    """Logits of a text or pair.

    Figures: `label_agreement` and `kl_mean`; where several labels may be right, each is a yes or no of its own. A model
    with one logit orders texts, so that the figure is `spearman`. With labels: `accuracy`, or `spearman_gold`.
    """

    def __init__(self, subject: Subject, examples: Sequence[Example]) -> None:
        self._subject = subject
        pairs = [example.pair for example in examples]
        if None in pairs and any(pair is not None for pair in pairs):
            alone = examples[pairs.index(None)]
            raise InputError(f"{alone.where} has no second text, and other rows have one; give it to all or to none.")
        self._windows = subject.encode([e.text for e in examples], None if None in pairs else pairs)  # type: ignore[arg-type]
        self._kind = _kind(subject.config)
        self._labelled = [index for index, e in enumerate(examples) if e.label is not None and self._kind != "many"]
        self._gold = np.array([_label(examples[i], subject.config, self._kind) for i in self._labelled])

    @property
    def count(self) -> int:
        return len(self._windows)

    def predict(self, runtime: Runtime) -> np.ndarray:
        """Logits [N, C]."""
        return np.stack(self._subject.run(runtime, self._windows, ["logits"], lambda index, row: row["logits"]))

    def compare(self, expected: np.ndarray, found: np.ndarray) -> dict[str, float]:
        if self._kind == "value":
            return {"spearman": spearman(expected.ravel(), found.ravel())} if expected.size > 2 else {}
        if self._kind == "many":
            divergence = binary_kl_divergence(expected, found)
            return {"label_agreement": agreement(expected > 0, found > 0), "kl_mean": float(divergence.mean())}
        return agreement_of_choices(list(expected), list(found))

    def score(self, predictions: np.ndarray) -> dict[str, float]:
        labelled = predictions[self._labelled]
        if self._kind == "one" and self._labelled:
            return {"accuracy": agreement(labelled.argmax(axis=1), self._gold)}
        if self._kind == "value" and labelled.shape[1] == 1 and len(labelled) > 2:
            return {"spearman_gold": spearman(labelled[:, 0], self._gold)}
        return {}


class PairMeasure(LabelMeasure):
    """Pairs; single texts are followed in turn by the text after them and by one from further on."""

    def __init__(self, subject: Subject, examples: Sequence[Example]) -> None:
        super().__init__(subject, [_followed(examples, index) for index in range(len(examples))])


class ChoiceMeasure:
    """Multiple choice: logits of a prompt's choices. Figures as for labels; `accuracy` with labels.

    A text without choices gets three: the texts that come after it.
    """

    def __init__(self, subject: Subject, examples: Sequence[Example]) -> None:
        self._subject = subject
        self._examples = [_with_choices(examples, index) for index in range(len(examples))]
        self._gold = {
            index: _chosen(example) for index, example in enumerate(self._examples) if example.label is not None
        }

    @property
    def count(self) -> int:
        return len(self._examples)

    def predict(self, runtime: Runtime) -> list[np.ndarray]:
        """Logits [C] of each prompt."""
        predictions: dict[int, np.ndarray] = {}
        sizes = [len(example.choices or ()) for example in self._examples]
        for size in sorted(set(sizes)):
            group = [index for index, own in enumerate(sizes) if own == size]
            step = max(1, BATCH_SIZE // size)
            for start in range(0, len(group), step):
                predictions.update(self._batch(runtime, group[start : start + step], size))
        return [predictions[index] for index in range(len(self._examples))]

    def _batch(self, runtime: Runtime, batch: list[int], size: int) -> dict[int, np.ndarray]:
        chosen = [self._examples[index] for index in batch]
        texts = [example.text for example in chosen for _ in range(size)]
        windows = self._subject.encode(texts, [choice for example in chosen for choice in example.choices or ()])
        arrays = self._subject.arrays(runtime, windows)
        shaped = {name: array.reshape(len(batch), size, -1) for name, array in arrays.items()}
        return dict(zip(batch, runtime.run(shaped, ["logits"])["logits"], strict=True))

    def compare(self, expected: list[np.ndarray], found: list[np.ndarray]) -> dict[str, float]:
        return agreement_of_choices(expected, found)

    def score(self, predictions: list[np.ndarray]) -> dict[str, float]:
        if not self._gold:
            return {}
        return {"accuracy": float(np.mean([predictions[i].argmax() == gold for i, gold in self._gold.items()]))}


def agreement_of_choices(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> dict[str, float]:
    """Figures of logits of which the largest is the prediction; rows may have different lengths."""
    same = [a.argmax() == b.argmax() for a, b in zip(expected, found, strict=True)]
    divergence = [float(kl_divergence(a, b)) for a, b in zip(expected, found, strict=True)]
    return {"label_agreement": float(np.mean(same)), "kl_mean": float(np.mean(divergence))}


def _kind(config: BertConfig) -> str:
    """`one` of several labels, `many` at once, or a `value`."""
    if config.problem_type == "regression" or config.num_labels == 1:
        return "value"
    return "many" if config.problem_type == "multi_label_classification" else "one"


def _label(example: Example, config: BertConfig, kind: str) -> float:
    if kind == "one":
        return label_index(example.label, config, example.where)
    try:
        return float(example.label)  # type: ignore[arg-type]  # None was left out
    except ValueError:
        raise InputError(f"{example.where}: the value {example.label!r} is not a number.") from None


def _followed(examples: Sequence[Example], index: int) -> Example:
    example = examples[index]
    if example.pair is not None:
        return example
    return replace(example, pair=examples[(index + (1 if index % 2 == 0 else 7)) % len(examples)].text)


def _with_choices(examples: Sequence[Example], index: int) -> Example:
    example = examples[index]
    if example.choices is not None:
        return example
    return replace(example, choices=tuple(examples[(index + i) % len(examples)].text for i in (1, 2, 3)))


def _chosen(example: Example) -> int:
    choices = example.choices or ()
    label = choices.index(example.label) if example.label in choices else example.label
    if not isinstance(label, int) or not 0 <= label < len(choices):
        raise InputError(f"{example.where}: the label {example.label!r} is none of its {len(choices)} choices.")
    return label
