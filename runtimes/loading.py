"""From an artifact folder to the pipeline of its task."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from bert_onnx.errors import ArtifactError
from runtimes.background import Background

if TYPE_CHECKING:
    from bert_onnx.artifact import Artifact
    from runtimes.pipelines.base import Parts, Pipeline

#: Module and class of the pipeline of each task, imported when it is needed.
PIPELINES: dict[str, tuple[str, str]] = {
    "feature-extraction": ("runtimes.pipelines.embedding", "FeatureExtraction"),
    "sentence-similarity": ("runtimes.pipelines.embedding", "SentenceEmbedding"),
    "fill-mask": ("runtimes.pipelines.fill_mask", "FillMask"),
    "next-sentence-prediction": ("runtimes.pipelines.sentence_pair", "NextSentencePrediction"),
    "pretraining": ("runtimes.pipelines.fill_mask", "Pretraining"),
    "text-classification": ("runtimes.pipelines.classification", "TextClassification"),
    "token-classification": ("runtimes.pipelines.tokens", "TokenClassification"),
    "question-answering": ("runtimes.pipelines.question_answering", "QuestionAnswering"),
    "multiple-choice": ("runtimes.pipelines.multiple_choice", "MultipleChoice"),
    "text-generation": ("runtimes.pipelines.generation", "TextGeneration"),
    "text-generation-with-past": ("runtimes.pipelines.generation", "TextGeneration"),
}
_ATTEMPTS = 3


def load(
    folder: str | os.PathLike[str],
    variant: str | None = None,
    threads: int | None = None,
    check_hashes: bool = True,
) -> Pipeline:
    """The pipeline for the artifact in `folder`, on ONNX Runtime's CPU provider.

    Args:
        folder: what `bert-onnx export` wrote.
        variant: which of its graphs; None takes the first, fp32.
        threads: threads that compute one call; None takes what affinity and the cgroup quota allow.
        check_hashes: compare every file with its sha256; leave that out only for files that this machine made.

    Raises:
        ArtifactError: the folder is missing, damaged or changed, or has no such variant.
        RuntimeUnavailableError: onnxruntime is not installed.
    """
    # Hashing lets go of the interpreter lock, importing does at times: side by side they take less than in turn.
    libraries = Background(_import_libraries)
    from bert_onnx.artifact import Artifact

    for _ in range(_ATTEMPTS):
        artifact = Artifact.open(folder, check_hashes=check_hashes)
        libraries.result()
        pipeline = _open(artifact, variant, threads)
        if artifact.is_current():
            return pipeline
        pipeline.close()  # another artifact was published meanwhile: graph and tokenizer may be of different ones
    raise ArtifactError(f"{folder} is replaced faster than it can be opened; wait for the exports to finish.")


def _import_libraries() -> None:
    """Import what opening needs. An import that fails is told by whoever needs it."""
    for name in ("onnxruntime", "tokenizers"):
        try:
            import_module(name)
        except Exception:
            return


def _open(artifact: Artifact, variant: str | None, threads: int | None) -> Pipeline:
    from bert_onnx.config import BertConfig
    from bert_onnx.tokenization import load_tokenizer
    from runtimes.base import RuntimeOptions
    from runtimes.onnxruntime import OnnxRuntimeCpu
    from runtimes.pipelines.base import Parts

    manifest = artifact.manifest
    chosen = artifact.variant(variant)
    tokenizer = load_tokenizer(artifact.folder)
    config = BertConfig.from_pretrained(artifact.folder)
    runtime = OnnxRuntimeCpu.open(
        artifact.path(chosen), manifest.inputs, manifest.outputs, RuntimeOptions(threads=threads), manifest.config
    )
    parts = Parts(
        task=manifest.task,
        runtime=runtime,
        tokenizer=tokenizer,
        config=config,
        max_length=min(manifest.model_max_length, manifest.config.max_position_embeddings),
        variant=chosen.name,
    )
    return make_pipeline(parts)


def make_pipeline(parts: Parts) -> Pipeline:
    """The pipeline of `parts.task`."""
    module, name = PIPELINES[parts.task]
    pipeline: Pipeline = getattr(import_module(module), name)(parts)
    return pipeline
