"""The shapes of what routes answer, for the OpenAPI document, where no result of a pipeline has them already.

Tests hold the answers against them."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from runtimes.server.routes.rerank import Document

#: Vectors, one a text.
Vectors = list[list[float]]


class OpenAIErrorDetail(Struct):
    """What is wrong, as OpenAI says it."""

    message: str
    type: str
    param: str | None
    code: int


class OpenAIError(Struct):
    """An error below /v1."""

    error: OpenAIErrorDetail


class PlainError(Struct):
    """An error of the other routes, as text-embeddings-inference has it."""

    error: str
    error_type: str


class Usage(Struct):
    """Tokens that were read, special ones included."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingRow(Struct):
    """A vector: numbers, or float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str
    truncated: bool


class EmbeddingAnswer(Struct):
    """The answer of /v1/embeddings."""

    object: Literal["list"]
    data: list[EmbeddingRow]
    model: str
    usage: Usage


class ModelRow(Struct):
    """A model, and what a page for people has to know of it."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    task: str
    max_length: int
    mask_token: str | UnsetType = UNSET
    labels: list[str] | UnsetType = UNSET


class ModelList(Struct):
    """All models."""

    object: Literal["list"]
    data: list[ModelRow]


class RankedRow(Struct):
    """A document's place among those that were sent, and its score."""

    index: int
    relevance_score: float
    truncated: bool
    document: Document | UnsetType = UNSET


class RankedAnswer(Struct):
    """The answer of /v1/rerank, the best first."""

    object: Literal["rerank"]
    model: str
    results: list[RankedRow]
    usage: Usage


class ScoredText(Struct):
    """As text-embeddings-inference ranks."""

    index: int
    score: float
    text: str | UnsetType = UNSET


class Weight(Struct):
    """A token's weight in a sparse vector."""

    index: int
    value: float
    token: str | UnsetType | None = UNSET


class EntityRow(Struct):
    """A part of a text; tokens have `entity` and `index`, joined ones an `entity_group`."""

    score: float
    word: str
    start: int | None
    end: int | None
    entity_group: str | UnsetType = UNSET
    entity: str | UnsetType = UNSET
    index: int | UnsetType = UNSET


class TokenRow(Struct):
    """A token; `start` and `stop` are characters of its text."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class Info(Struct):
    """The first model, and the limits."""

    model_id: str
    model_dtype: str
    model_type: dict[str, Any]
    max_input_length: int
    max_batch_tokens: int
    max_client_batch_size: int
    auto_truncate: bool
    version: str


class TensorOutput(Struct):
    """A tensor; `parameters.binary_data_size` bytes of it stand behind the JSON where it has no data."""

    name: str
    datatype: str
    shape: list[int]
    data: list[float] | UnsetType = UNSET
    parameters: dict[str, int] | UnsetType = UNSET


class InferAnswer(Struct):
    """The answer of infer."""

    model_name: str
    model_version: str
    outputs: list[TensorOutput]
    id: str | UnsetType = UNSET


class TensorShape(Struct):
    """A tensor that a model takes or gives; -1 is any length."""

    name: str
    datatype: str
    shape: list[int]


class ModelTensors(Struct):
    """A model's tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorShape]
    outputs: list[TensorShape]
