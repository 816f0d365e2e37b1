"""From an artifact folder to the pipeline of its task."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from bert_onnx.errors import ArtifactError
from runtimes.background import Background

if TYPE_CHECKING:
    from bert_onnx.artifact import Artifact
    from bert_onnx.config import BertConfig
    from bert_onnx.tokenization import FastTokenizer
    from runtimes.pipelines.base import Pipeline, PipelineParts
    from runtimes.selection.request import RuntimeRequest

#: Module and class of the pipeline of each task, imported when it is needed.
PIPELINES: dict[str, tuple[str, str]] = {
    "feature-extraction": ("runtimes.pipelines.embedding", "FeatureExtraction"),
    "sentence-similarity": ("runtimes.pipelines.embedding", "SentenceEmbedding"),
    "sparse-embedding": ("runtimes.pipelines.sparse", "SparseEncoding"),
    "late-interaction": ("runtimes.pipelines.late_interaction", "LateInteractionEmbedding"),
    "fill-mask": ("runtimes.pipelines.fill_mask", "FillMask"),
    "next-sentence-prediction": ("runtimes.pipelines.sentence_pair", "NextSentencePrediction"),
    "pretraining": ("runtimes.pipelines.fill_mask", "Pretraining"),
    "text-classification": ("runtimes.pipelines.classification", "TextClassification"),
    "text-ranking": ("runtimes.pipelines.ranking", "TextRanking"),
    "token-classification": ("runtimes.pipelines.tokens", "TokenClassification"),
    "question-answering": ("runtimes.pipelines.question_answering", "QuestionAnswering"),
    "multiple-choice": ("runtimes.pipelines.multiple_choice", "MultipleChoice"),
    "text-generation": ("runtimes.pipelines.generation", "TextGeneration"),
    "text-generation-with-past": ("runtimes.pipelines.generation", "TextGeneration"),
}
_ATTEMPTS = 3


def load(
    model: str | os.PathLike[str],
    variant: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    strict: bool = True,
    check_hashes: bool = True,
    text_input: bool = False,
    revision: str | None = None,
    offline: bool = False,
) -> Pipeline:
    """The pipeline for an artifact, on the best runtime here; `describe()` says which and why.

    Args:
        model: a folder that `bert-onnx export` wrote, or `owner/name` on a model hub: what exists here wins. Of a
            hub's graphs only the one that is opened is downloaded, into the hub's cache.
        variant: which of its graphs, by name; None leaves the choice to `runtimes.selection.select`.
        runtime: a row of `runtimes.engines.table`, such as `onnxruntime-cpu`, `openvino` or `onnxruntime-cuda`.
        precision: `fp32` (the default), `int8`, `bf16` ..., or `fastest`: the fastest that passed its gate.
        threads: threads that compute one call; None takes what affinity and the cgroup quota allow.
        strict: where `runtime` was named and cannot be had, raise; else take another and say so.
        check_hashes: compare every file with its sha256; leave that out only for files that this machine made.
        text_input: open a graph that takes text, made with `export --text-input`; a
            `runtimes.text_model.TextModel` comes back.
        revision: branch, tag or commit on the hub.
        offline: use the hub's local cache only.

    Raises:
        HubError: the hub cannot be reached, or has no such artifact.
        ArtifactError: the folder is missing, damaged or changed, or has no such variant.
        RuntimeUnavailableError: the runtime or a library of it is missing (named), or this processor would give wrong
            sums with the int8 file.
        UsageError: what was named does not exist or does not fit together.
    """
    from bert_onnx.artifact.hub.fetching import find_artifact
    from runtimes.selection.request import RuntimeRequest

    request = RuntimeRequest(variant, runtime, precision, threads, strict, text_input, offline)
    return load_request(find_artifact(model, revision, offline), request, check_hashes)


def load_request(folder: str | os.PathLike[str], request: RuntimeRequest, check_hashes: bool = True) -> Pipeline:
    """As `load`, for a folder and what `request` names."""
    # Hashing lets go of the interpreter lock, importing does at times: side by side they take less than in turn.
    libraries = Background(lambda: _import_libraries(request.runtime))
    from bert_onnx.artifact import Artifact

    for _ in range(_ATTEMPTS):
        artifact = Artifact.open(folder, check_hashes=check_hashes, partial=True)
        libraries.result()
        opener = _open_text_model if request.text_input else _open
        pipeline = opener(artifact, Path(folder).absolute(), request)
        if artifact.is_current():
            return pipeline
        pipeline.close()  # another artifact was published meanwhile: graph and tokenizer may be of different ones
    raise ArtifactError(f"{folder} is replaced faster than it can be opened; wait for the exports to finish.")


def _import_libraries(runtime: str | None) -> None:
    """Import what opening needs. An import that fails is reported by the code that needs it."""
    for name in ("openvino" if runtime == "openvino" else "onnxruntime", "tokenizers"):
        try:
            import_module(name)
        except Exception:
            return


def _open(artifact: Artifact, folder: Path, request: RuntimeRequest) -> Pipeline:
    manifest = artifact.manifest
    # Opening a session lets go of the interpreter lock for most of its time.
    text_side = Background(lambda: _open_text_side(artifact))
    from runtimes.pipelines.base import PipelineParts
    from runtimes.selection.open import open_best

    choice, runtime, why = open_best(artifact, request)
    tokenizer, config = text_side.result()
    parts = PipelineParts(
        task=manifest.task,
        runtime=runtime,
        tokenizer=tokenizer,
        config=config,
        max_length=manifest.longest_text,
        variant=choice.variant.name,
        precision=choice.precision,
        why=why,
        folder=folder,
        request=request,
        load=load_request,
        sentence=manifest.sentence,
        activation_fn=manifest.options.activation_fn,
    )
    return make_pipeline(parts)


def _open_text_side(artifact: Artifact) -> tuple[FastTokenizer, BertConfig]:
    """What stands between texts and the graph; the pipeline's module is imported, too."""
    from bert_onnx.config import BertConfig
    from bert_onnx.tokenization import load_tokenizer

    config = BertConfig.from_pretrained(artifact.folder)
    tokenizer = load_tokenizer(artifact.folder, config.vocab_size)
    import_module(PIPELINES[artifact.manifest.task][0])
    return tokenizer, config


def _open_text_model(artifact: Artifact, folder: Path, request: RuntimeRequest) -> Pipeline:
    from runtimes.text_model import open_text_model

    return open_text_model(artifact, folder, request, load_request)


def make_pipeline(parts: PipelineParts) -> Pipeline:
    """The pipeline of `parts.task`."""
    module, name = PIPELINES[parts.task]
    pipeline: Pipeline = getattr(import_module(module), name)(parts)
    return pipeline
