"""text-classification: labels with scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bert_onnx.errors import UsageError
from runtimes.pipelines.base import PipelineParts
from runtimes.pipelines.batches import Row
from runtimes.pipelines.encoding import Window, check_truncation, encode, read_pairs
from runtimes.pipelines.options import check_count
from runtimes.pipelines.results import Result
from runtimes.pipelines.scores import best, sigmoid, softmax
from runtimes.pipelines.zero_shot import ZeroShotClassification

#: Scores of logits [N].
Scoring = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Label(Result):
    """One label and its score."""

    label: str
    score: float


@dataclass(frozen=True)
class Classification(Result):
    """The labels of a text, highest score first; `truncated` where the end of the text was not read."""

    labels: tuple[Label, ...]
    truncated: bool

    @property
    def best(self) -> Label:
        """The label with the highest score."""
        return self.labels[0]

    @property
    def score(self) -> float:
        """The highest score: of a model with one label, the score."""
        return self.best.score


@dataclass(frozen=True)
class ClassificationOptions:
    """What a caller may choose about texts and scores.

    Args:
        top_k: most labels a text; None for all.
        function_to_apply: what makes scores of logits: `sigmoid`, `softmax` or `none`; None for the model's own.
        truncation: what is cut of texts that are too long: see `check_truncation`.
        max_length: length to which texts are cut, in tokens; None for the model's own.
        add_special_tokens: put the tokenizer's special tokens around texts.

    Raises:
        UsageError: a number below 1, or a name that there is not.
    """

    top_k: int | None = None
    function_to_apply: str | None = None
    truncation: bool | str = True
    max_length: int | None = None
    add_special_tokens: bool = True

    def __post_init__(self) -> None:
        for name in ("top_k", "max_length"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        check_truncation(self.truncation)
        self.scoring(softmax)

    def scoring(self, default: Scoring) -> Scoring:
        """What makes scores of logits, where the model's own is `default`."""
        if self.function_to_apply is None:
            return default
        named = _FUNCTIONS.get(str(self.function_to_apply).lower())
        if named is None:
            raise UsageError(
                f"function_to_apply is {self.function_to_apply!r}; it must be None or one of {', '.join(_FUNCTIONS)}."
            )
        return named


class TextClassification(ZeroShotClassification):
    """Scores are probabilities: softmax where one label is right, sigmoid where several may be or there is only one.

    A regression model's score is the number that it predicts.
    """

    def __init__(self, parts: PipelineParts) -> None:
        super().__init__(parts)
        #: The model's own scores of logits [..., N].
        self._scores: Scoring = lambda logits: label_scores(logits, self.config.problem_type)

    def __call__(
        self,
        texts: str | Mapping[str, str] | Sequence[str | Mapping[str, str]],
        pairs: str | Sequence[str] | None = None,
        top_k: int | None = None,
        batch_size: int = 32,
        function_to_apply: str | None = None,
        truncation: bool | str = True,
        max_length: int | None = None,
        add_special_tokens: bool = True,
    ) -> list[Classification]:
        """The labels of each text (or pair), in their order.

        Args:
            texts: what to classify: texts, or mappings of `text` and `text_pair`.
            pairs: the second text of each, for models of pairs; a single one goes with every text.
            batch_size: texts that are run together.
            top_k, function_to_apply, truncation, max_length, add_special_tokens: see `ClassificationOptions`.

        Raises:
            InputError: something among the texts is not a text, or a text is too long and must not be cut.
            UsageError: an option that does not exist.
        """
        options = ClassificationOptions(top_k, function_to_apply, truncation, max_length, add_special_tokens)
        return self._classify(*read_pairs(texts, pairs, "pair"), options, batch_size)

    def _classify(
        self,
        texts: list[str],
        pairs: Sequence[str | None] | None,
        options: ClassificationOptions,
        batch_size: int,
    ) -> list[Classification]:
        longest = min(self.max_length, options.max_length or self.max_length)
        special, truncation = options.add_special_tokens, check_truncation(options.truncation)
        windows = encode(self.tokenizer, texts, pairs, longest, special, truncation)
        scoring = options.scoring(self._scores)

        def finish(window: Window, row: Row) -> Classification:
            return ranked_labels(scoring(row["logits"]), self.config.id2label, options.top_k, window.truncated)

        return self._run(windows, ["logits"], batch_size, finish)


def label_scores(logits: np.ndarray, problem: str | None) -> np.ndarray:
    """The scores in `logits` [N] for a config's `problem_type`."""
    if problem == "regression":
        return logits
    if problem == "multi_label_classification" or len(logits) == 1:
        return sigmoid(logits)
    return softmax(logits)


_FUNCTIONS: dict[str, Scoring] = {"sigmoid": sigmoid, "softmax": softmax, "none": lambda logits: logits}


def ranked_labels(scores: np.ndarray, names: Mapping[int, str], top_k: int | None, truncated: bool) -> Classification:
    """The `top_k` labels with the highest of `scores` [N]; all of them for None."""
    chosen = best(scores, len(scores) if top_k is None else top_k)
    return Classification(tuple(Label(names[int(i)], float(scores[i])) for i in chosen), truncated)
