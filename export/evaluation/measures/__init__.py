"""What is measured for each task: one literal table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from export.evaluation.examples import Example
from export.evaluation.measures.base import Measure
from export.evaluation.measures.embeddings import EmbeddingMeasure, LateInteractionMeasure
from export.evaluation.measures.labels import ChoiceMeasure, LabelMeasure, PairMeasure
from export.evaluation.measures.spans import SpanMeasure
from export.evaluation.measures.tokens import TokenMeasure
from export.evaluation.measures.vocabulary import MaskMeasure, NextTokenMeasure
from export.evaluation.subject import Subject

MEASURES: dict[str, Callable[[Subject, Sequence[Example]], Measure]] = {
    "feature-extraction": EmbeddingMeasure,
    "sentence-similarity": EmbeddingMeasure,
    "sparse-embedding": EmbeddingMeasure,
    "late-interaction": LateInteractionMeasure,
    "fill-mask": MaskMeasure,
    "next-sentence-prediction": PairMeasure,
    "pretraining": MaskMeasure,
    "text-classification": LabelMeasure,
    "text-ranking": PairMeasure,
    "token-classification": TokenMeasure,
    "question-answering": SpanMeasure,
    "multiple-choice": ChoiceMeasure,
    "text-generation": NextTokenMeasure,
    "text-generation-with-past": NextTokenMeasure,
}

__all__ = ["MEASURES", "Measure"]
