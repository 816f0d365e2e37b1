"""scikit-learn: a transformer from texts to sentence embeddings, for pipelines and searches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from runtimes.integrations.opening import Model, vectors_of


class BertOnnxVectorizer(TransformerMixin, BaseEstimator):
    """Sentence embeddings of texts, float32 [N, E]. There is nothing to fit: `fit` opens the model.

    Args:
        model: a folder, `owner/name` on a hub, or what `bert_onnx.load` returned.
        prompt_name, prompt, truncate_dim, normalize_embeddings: as in the pipeline's `embed`.
    """

    def __init__(
        self,
        model: Model,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
        normalize_embeddings: bool = False,
    ) -> None:
        self.model = model
        self.prompt_name = prompt_name
        self.prompt = prompt
        self.truncate_dim = truncate_dim
        self.normalize_embeddings = normalize_embeddings

    def fit(self, X: Iterable[str] | None = None, y: Any = None) -> BertOnnxVectorizer:
        """Open the model; the texts are not read."""
        self.pipeline_ = vectors_of(self.model)
        return self

    def transform(self, X: Iterable[str]) -> np.ndarray:
        """A vector for each text."""
        if not hasattr(self, "pipeline_"):
            self.fit()
        vectors: np.ndarray = self.pipeline_.embed(
            X,
            progress=False,
            prompt_name=self.prompt_name,
            prompt=self.prompt,
            truncate_dim=self.truncate_dim,
            normalize_embeddings=self.normalize_embeddings,
        )
        return vectors

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """`embedding0`, `embedding1` ...: a name for each value of a vector."""
        if not hasattr(self, "pipeline_"):
            self.fit()
        width = self.pipeline_.width(self.truncate_dim)
        return np.array([f"embedding{index}" for index in range(width)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.one_d_array, tags.input_tags.two_d_array = True, True, False
        tags.requires_fit = False
        return tags
