"""From an artifact folder to the pipeline of its task."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Literal, overload

from bert_onnx.errors import ArtifactError, RuntimeUnavailableError
from runtimes.background import Background

if TYPE_CHECKING:
    from bert_onnx.artifact import Artifact
    from bert_onnx.config import BertConfig
    from bert_onnx.tokenization import BertTokenizerFast
    from runtimes.engines.base import Runtime
    from runtimes.machine.processor import Processor
    from runtimes.pipelines.base import Parts, Pipeline
    from runtimes.selection.select import Choice, Wanted
    from runtimes.selection.tuned import Tuned
    from runtimes.text_model import TextModel

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


@overload
def load(
    folder: str | os.PathLike[str],
    variant: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    strict: bool = True,
    check_hashes: bool = True,
    text_input: Literal[False] = False,
) -> Pipeline: ...


@overload
def load(
    folder: str | os.PathLike[str],
    variant: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    strict: bool = True,
    check_hashes: bool = True,
    *,
    text_input: Literal[True],
) -> TextModel: ...


def load(
    folder: str | os.PathLike[str],
    variant: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    strict: bool = True,
    check_hashes: bool = True,
    text_input: bool = False,
) -> Pipeline | TextModel:
    """The pipeline for the artifact in `folder`, on the best runtime here; `describe()` says which and why.

    Args:
        folder: what `bert-onnx export` wrote.
        variant: which of its graphs, by name; None leaves the choice to `runtimes.selection.select`.
        runtime: a row of `runtimes.engines.table`, such as `onnxruntime-cpu`, `openvino` or `onnxruntime-cuda`.
        precision: `fp32` (the default), `int8`, `bf16` ..., or `fastest`: the fastest that passed its gate.
        threads: threads that compute one call; None takes what affinity and the cgroup quota allow.
        strict: where `runtime` was named and cannot be had, raise; else take another and say so.
        check_hashes: compare every file with its sha256; leave that out only for files that this machine made.
        text_input: open a graph that takes text, made with `export --text-input`; a `TextModel` comes back.

    Raises:
        ArtifactError: the folder is missing, damaged or changed, or has no such variant.
        RuntimeUnavailableError: the runtime or a library of it is missing (named), or this processor would give wrong
            sums with the int8 file.
        UsageError: what was named does not exist or does not fit together.
    """
    # Hashing lets go of the interpreter lock, importing does at times: side by side they take less than in turn.
    libraries = Background(lambda: _import_libraries(runtime))
    from bert_onnx.artifact import Artifact
    from runtimes.selection.select import Wanted

    wanted = Wanted(variant, runtime, precision, threads, strict)
    for _ in range(_ATTEMPTS):
        artifact = Artifact.open(folder, check_hashes=check_hashes)
        libraries.result()
        pipeline = _open_text_model(artifact, wanted) if text_input else _open(artifact, wanted)
        if artifact.is_current():
            return pipeline
        pipeline.close()  # another artifact was published meanwhile: graph and tokenizer may be of different ones
    raise ArtifactError(f"{folder} is replaced faster than it can be opened; wait for the exports to finish.")


def _import_libraries(runtime: str | None) -> None:
    """Import what opening needs. An import that fails is told by whoever needs it."""
    for name in ("openvino" if runtime == "openvino" else "onnxruntime", "tokenizers"):
        try:
            import_module(name)
        except Exception:
            return


def _open(artifact: Artifact, wanted: Wanted) -> Pipeline:
    manifest = artifact.manifest
    # Opening a session lets go of the interpreter lock for most of its time.
    text_side = Background(lambda: _open_text_side(artifact))
    choice, runtime, why = open_best(artifact, wanted)
    tokenizer, config = text_side.result()
    from runtimes.pipelines.base import Parts

    parts = Parts(
        task=manifest.task,
        runtime=runtime,
        tokenizer=tokenizer,
        config=config,
        max_length=min(manifest.model_max_length, manifest.config.max_position_embeddings),
        variant=choice.variant.name,
        precision=choice.precision,
        why=why,
    )
    return make_pipeline(parts)


def _open_text_side(artifact: Artifact) -> tuple[BertTokenizerFast, BertConfig]:
    """What stands between texts and the graph; the pipeline's module is imported, too."""
    from bert_onnx.config import BertConfig
    from bert_onnx.tokenization import load_tokenizer

    tokenizer, config = load_tokenizer(artifact.folder), BertConfig.from_pretrained(artifact.folder)
    import_module(PIPELINES[artifact.manifest.task][0])
    return tokenizer, config


def _open_text_model(artifact: Artifact, wanted: Wanted) -> TextModel:
    from runtimes.text_model import open_text_model

    return open_text_model(artifact, wanted)


def open_best(artifact: Artifact, wanted: Wanted) -> tuple[Choice, Runtime, str]:
    """The best choice that opens, its runtime, and why it was taken: what failed before is part of that.

    Raises:
        RuntimeUnavailableError, UsageError, ArtifactError: as `load`.
    """
    from runtimes.machine.processor import this_processor
    from runtimes.selection.select import choices

    processor = this_processor()
    tuned = _tuned(artifact, processor)
    failures: list[RuntimeUnavailableError] = []
    for choice in choices(artifact.manifest, wanted, processor, tuned):
        try:
            runtime = open_choice(artifact, choice)
        except RuntimeUnavailableError as error:
            failures.append(error)
            if wanted.runtime is not None and wanted.strict:
                break
            continue
        return choice, runtime, " ".join([f"{choice.why}.", *(f"Not taken: {error}" for error in failures)])
    raise failures[0]


def _tuned(artifact: Artifact, processor: Processor) -> Tuned | None:
    """What was measured here; nothing is imported to find out that nothing ever was."""
    from runtimes.machine.user_cache import cache_folder

    if not cache_folder("tune").is_dir():
        return None
    from runtimes.machine.cpu import usable_threads
    from runtimes.selection.tuned import load_tuned, tuned_path

    return load_tuned(tuned_path(artifact.manifest_sha256, processor, usable_threads()))


def open_choice(artifact: Artifact, choice: Choice) -> Runtime:
    """The runtime of `choice`."""
    from runtimes.engines.base import RuntimeOptions

    manifest = artifact.manifest
    options = RuntimeOptions(threads=choice.threads, compute=choice.compute)
    opened: Runtime = choice.row.load_class().open(
        artifact.path(choice.variant), manifest.inputs, manifest.outputs, options, manifest.config
    )
    return opened


def make_pipeline(parts: Parts) -> Pipeline:
    """The pipeline of `parts.task`."""
    module, name = PIPELINES[parts.task]
    pipeline: Pipeline = getattr(import_module(module), name)(parts)
    return pipeline
