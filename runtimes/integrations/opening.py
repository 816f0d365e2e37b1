"""What every adapter takes as its model, and the pipeline that it becomes."""

from __future__ import annotations

import os
from typing import Any, TypeVar

from bert_onnx.errors import UsageError
from runtimes.loading import load
from runtimes.pipelines.base import Pipeline

#: A folder that `bert-onnx export` wrote, `owner/name` on a model hub, or what `bert_onnx.load` returned.
Model = str | os.PathLike[str] | Pipeline
Kind = TypeVar("Kind", bound=Pipeline)


def opened(model: Model, kind: type[Kind], does: str) -> Kind:
    """The pipeline of `model`.

    Args:
        kind: the class that it must be of.
        does: what such a pipeline does, for the message.

    Raises:
        UsageError: the artifact is of another task.
        ArtifactError, HubError, RuntimeUnavailableError: as `bert_onnx.load`.
    """
    pipeline: Any = model if isinstance(model, Pipeline) else load(model)
    if not isinstance(pipeline, kind):
        raise UsageError(f"this artifact is of {pipeline.task}, which does not {does}; use an artifact that does.")
    return pipeline


def vectors_of(model: Model) -> Any:
    """The pipeline of `model`, which makes sentence embeddings."""
    from runtimes.pipelines.sentences import SentencePipeline

    return opened(model, SentencePipeline, "make one vector of a text")


def scores_of(model: Model) -> Any:
    """The pipeline of `model`, which ranks documents."""
    from runtimes.pipelines.ranking import TextRanking

    return opened(model, TextRanking, "score pairs of a query and a document")
