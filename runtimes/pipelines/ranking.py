"""text-ranking: how well documents fit a query, by a cross-encoder, which reads both together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bert_onnx.errors import InputError, UsageError
from runtimes.pipelines.activations import find_activation
from runtimes.pipelines.base import PipelineParts
from runtimes.pipelines.classification import Classification, ClassificationOptions, Scoring, TextClassification
from runtimes.pipelines.encoding import Window, check_texts, read_pairs
from runtimes.pipelines.options import check_count
from runtimes.pipelines.ranked import RankedDocument, check_ranking, rank_documents
from runtimes.pipelines.scores import softmax

#: A first text and perhaps a second one.
Pair = str | Sequence[str]


class TextRanking(TextClassification):
    """Scores are what the checkpoint's own activation makes of logits, as in `CrossEncoder` of sentence-transformers.

    Prompts of the model are put before the first text of a pair.
    """

    def __init__(self, parts: PipelineParts) -> None:
        super().__init__(parts)
        self.sentence = parts.sentence
        self._scores = find_activation(parts.activation_fn or "Identity")

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
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> list[Classification]:
        """The score of each pair, as the score of the model's label, in their order.

        Args:
            texts: queries, or mappings of `text` and `text_pair`.
            pairs: the document of each; a single one goes with every query.
            batch_size, top_k, function_to_apply, truncation, max_length, add_special_tokens: as in text-classification.
            prompt_name, prompt: what is put before queries, by name or itself; None for the model's default.

        Raises:
            InputError: something among the texts is not a text.
            UsageError: an option or a prompt that does not exist.
        """
        options = ClassificationOptions(top_k, function_to_apply, truncation, max_length, add_special_tokens)
        first, second = read_pairs(texts, pairs, "pair")
        before = self.sentence.resolve(prompt_name, prompt)
        return self._classify([before + text for text in first], second, options, batch_size)

    def predict(
        self,
        pairs: Pair | Sequence[Pair],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        activation_fn: str | None = None,
        apply_softmax: bool = False,
    ) -> np.ndarray:
        """Scores of each pair, float32 [N] where the model has one label, else [N, labels]; without the first axis for
        one pair alone.

        Args:
            pairs: (query, document), or several of them.
            prompt_name, prompt: what is put before queries, by name or itself; None for the model's default.
            batch_size: pairs that are run together.
            activation_fn: what makes scores of logits, by its name in torch.nn (`Sigmoid`, `Identity` ...); None for
                the model's own.
            apply_softmax: make probabilities of a model's several scores.

        Raises:
            InputError: something among the pairs is not a pair of texts.
            UsageError: an activation or a prompt that does not exist.
        """
        alone, first, second = _read(pairs)
        scoring = self._scores if activation_fn is None else find_activation(activation_fn)
        windows = self._windows(first, second, prompt_name, prompt)
        scores = self._score(windows, batch_size, lambda x: softmax(scoring(x)) if apply_softmax else scoring(x))
        found: np.ndarray = scores[0] if alone else scores
        return found

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        activation_fn: str | None = None,
    ) -> list[RankedDocument]:
        """`documents` by how well they fit `query`, the best first.

        Args:
            top_k: most documents to return; None for all.
            return_documents: with their texts.
            prompt_name, prompt, batch_size, activation_fn: as in `predict`.

        Raises:
            InputError: something is not a text.
            UsageError: the model has several labels, so that no one score says which document is better.
        """
        if self.config.num_labels != 1:
            raise UsageError(
                f"this model has {self.config.num_labels} labels, and none of their scores alone ranks documents; use "
                "predict."
            )
        texts = check_ranking(query, documents)
        scoring = self._scores if activation_fn is None else find_activation(activation_fn)
        if top_k is not None:
            check_count("top_k", top_k)
        windows = self._windows([query] * len(texts), texts, prompt_name, prompt)
        scores = self._score(windows, batch_size, scoring)
        return rank_documents(scores, texts, [window.truncated for window in windows], top_k, return_documents)

    def _windows(
        self, first: list[str], second: Sequence[str | None] | None, prompt_name: str | None, prompt: str | None
    ) -> list[Window]:
        before = self.sentence.resolve(prompt_name, prompt)
        return self._encode([before + text for text in first], second)

    def _score(self, windows: list[Window], batch_size: int, scoring: Scoring) -> np.ndarray:
        """Scores [N] or [N, labels]."""
        rows = self._run(windows, ["logits"], batch_size, lambda window, row: row["logits"])
        scores = scoring(np.stack(rows) if rows else np.empty((0, self.config.num_labels), np.float32))
        return scores[:, 0] if self.config.num_labels == 1 else scores


def _read(pairs: Any) -> tuple[bool, list[str], list[str] | None]:
    """Whether it is one pair alone; first and second texts. A string alone has no second text."""
    given = pairs.tolist() if isinstance(pairs, np.ndarray) else pairs
    if isinstance(given, str):
        return True, [given], None
    if not isinstance(given, Sequence) or isinstance(given, bytes):
        raise InputError(f"a pair is (query, document), or several are a list; this is a {type(pairs).__name__}.")
    alone = bool(given) and not isinstance(given[0], (list, tuple))
    rows = [check_texts(row, f"of pair {index} text") for index, row in enumerate([given] if alone else given)]
    for index, row in enumerate(rows):
        if len(row) != 2:
            raise InputError(f"pair {index} has {len(row)} texts; a pair is a query and a document.")
    return alone, [first for first, _ in rows], [second for _, second in rows]
