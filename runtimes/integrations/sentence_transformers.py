"""sentence-transformers 5.7 and 6: its three classes over an artifact, without optimum and without the checkpoint."""

from __future__ import annotations

from typing import Any

from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import InputModule

from bert_onnx.errors import UsageError
from runtimes.integrations.opening import Model, opened, scores_of, vectors_of
from runtimes.pipelines.sparse import SparseEncoding


def sentence_transformer(model: Model) -> SentenceTransformer:
    """A SentenceTransformer with the prompts, the similarity and the length of the artifact."""
    pipeline = vectors_of(model)
    settings = pipeline.sentence
    return SentenceTransformer(
        modules=[ArtifactModule(pipeline, pipeline.width())],
        device="cpu",
        prompts=settings.prompts,
        default_prompt_name=settings.default_prompt_name,
        similarity_fn_name=settings.similarity_fn_name,
        truncate_dim=settings.truncate_dim,
    )


def sparse_encoder(model: Model) -> SparseEncoder:
    """A SparseEncoder with the prompts and the similarity of the artifact."""
    pipeline = opened(model, SparseEncoding, "make sparse embeddings")
    settings = pipeline.sentence
    return SparseEncoder(
        modules=[ArtifactModule(pipeline, pipeline.width)],
        device="cpu",
        prompts=settings.prompts,
        default_prompt_name=settings.default_prompt_name,
        similarity_fn_name=settings.similarity_fn_name,
    )


def cross_encoder(model: Model) -> CrossEncoder:
    """A CrossEncoder with the activation and the prompts of the artifact.

    Raises:
        UsageError: the model has several labels; its pipeline's `predict` gives their scores.
    """
    import torch

    pipeline = scores_of(model)
    if pipeline.config.num_labels != 1:
        raise UsageError(f"this model has {pipeline.config.num_labels} labels; use bert_onnx.load and predict.")
    return CrossEncoder(
        modules=[ScoreModule(pipeline, 1)],
        device="cpu",
        prompts=pipeline.sentence.prompts,
        default_prompt_name=pipeline.sentence.default_prompt_name,
        activation_fn=torch.nn.Identity(),
    )


class ArtifactModule(InputModule):
    """One module that is the whole chain: texts in, embeddings out. Tokens are made by the artifact's own tokenizer."""

    def __init__(self, pipeline: Any, width: int) -> None:
        super().__init__()
        self.pipeline = pipeline
        self.width = width

    @property
    def max_seq_length(self) -> int:
        """Most tokens of a text."""
        return int(self.pipeline.max_length)

    def get_embedding_dimension(self) -> int:
        """Values of an embedding."""
        return self.width

    def preprocess(self, inputs: list[Any], prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """The texts as they are: the pipeline reads them."""
        return {"texts": inputs, "prompt": prompt or ""}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """`sentence_embedding` [B, E]."""
        import torch

        texts, prompt = features["texts"], features["prompt"]
        vectors = self.pipeline.embed(texts, batch_size=len(texts), progress=False, prompt=prompt)
        return {**features, "sentence_embedding": torch.from_numpy(vectors)}

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Refused: an artifact is copied or pushed as the folder that it is."""
        raise UsageError("an artifact is saved by copying its folder, or published with bert-onnx push.")


class ScoreModule(ArtifactModule):
    """Pairs in, scores out."""

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """`scores` [B, 1], by the model's own activation."""
        import torch

        pairs = [tuple(pair) for pair in features["texts"]]
        scores = self.pipeline.predict(pairs, batch_size=len(pairs), prompt=features["prompt"])
        return {**features, "scores": torch.from_numpy(scores).reshape(len(pairs), -1)}
