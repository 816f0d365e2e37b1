"""One call for the command line: texts in, the predictions of whatever task the artifact has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from bert_onnx.artifact import Manifest
from bert_onnx.errors import UsageError
from runtimes.loading import load_request
from runtimes.pipelines.base import Pipeline
from runtimes.pipelines.results import Result
from runtimes.selection.open import check_request
from runtimes.selection.request import RuntimeRequest

_CLASSIFYING = ("text-classification", "text-ranking")
_PROMPTED = ("sentence-similarity", "sparse-embedding", "late-interaction", "text-ranking")
_CHOOSING = "multiple-choice"
#: Tasks that take a second text.
_PAIRED = (*_CLASSIFYING, "next-sentence-prediction", "pretraining", "question-answering")
#: The tasks that have each option; what is not here, all have.
_TASKS: dict[str, tuple[str, ...]] = {
    "pair": _PAIRED,
    "top_k": ("fill-mask", "sparse-embedding", "pretraining", *_CLASSIFYING, "question-answering"),
    "max_new_tokens": ("text-generation", "text-generation-with-past"),
    "prompt_name": _PROMPTED,
    "truncate_dim": ("sentence-similarity",),
    "query": ("text-ranking", "late-interaction"),
    "labels": _CLASSIFYING,
    "function_to_apply": _CLASSIFYING,
}
#: What a graph that takes text has no meaning for.
_WITHOUT_TEXT = ("top_k", "max_new_tokens", "query", "labels", "function_to_apply")
#: What has no meaning beside an option.
_EXCLUDING = {
    "query": ("pair", "labels", "function_to_apply"),
    "labels": ("pair", "top_k", "prompt_name", "function_to_apply"),
}
#: Options that say how labels are judged, by the names that pipelines have for them.
_JUDGING = ("hypothesis_template", "multi_label")


@dataclass(frozen=True)
class RunOptions:
    """What a caller may choose; None for the task's own choice.

    Args:
        pair: the second text, for tasks that take one.
        top_k: how many labels, tokens, answers or documents.
        max_new_tokens: how many tokens to generate.
        prompt_name: name of the prompt to put before texts or queries.
        truncate_dim: values of a sentence embedding that are kept.
        query: the texts are documents, to be ranked for it.
        labels: with commas; the texts are judged by these, with a model of natural language inference.
        hypothesis_template, multi_label: how labels are judged; see `ZeroShotClassification`.
        function_to_apply: what makes scores of a classifier's logits; see `ClassificationOptions`.
    """

    pair: str | None = None
    top_k: int | None = None
    max_new_tokens: int | None = None
    prompt_name: str | None = None
    truncate_dim: int | None = None
    query: str | None = None
    labels: str | None = None
    hypothesis_template: str | None = None
    multi_label: bool | None = None
    function_to_apply: str | None = None

    def given(self) -> dict[str, Any]:
        """What the caller has chosen, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


def predict(
    folder: str | os.PathLike[str],
    texts: Sequence[str],
    options: RunOptions = RunOptions(),
    request: RuntimeRequest | None = None,
) -> list[Result]:
    """What the artifact in `folder` predicts, one result a text.

    Args:
        folder: what `bert-onnx export` wrote.
        texts: texts, questions, or documents where there is a query; for multiple-choice the prompt and then its
            choices, which give one result.
        request: which variant, on which runtime, in which precision, with how many threads; None for the best here.

    Raises:
        UsageError: an option that the artifact's task does not have.
        ArtifactError, InputError, RuntimeUnavailableError: as `runtimes.load` and its pipelines.
    """
    request = request or RuntimeRequest()
    manifest = check_request(folder, request)
    given = options.given()
    _check(manifest, given, request.text_input)
    if manifest.task == _CHOOSING and len(texts) < 2:
        raise UsageError("multiple-choice needs a prompt and at least one choice: TEXT CHOICE [CHOICE ...].")
    with load_request(folder, request) as pipeline:
        return list(_call(pipeline, manifest.task, list(texts), given))


def _call(pipeline: Pipeline, task: str, texts: list[str], given: dict[str, Any]) -> Sequence[Result]:
    if task == _CHOOSING:
        return list(pipeline([texts[0]], [texts[1:]]))
    if "query" in given:
        return list(pipeline.rank(given.pop("query"), texts, return_documents=True, **given))
    if "labels" in given:
        return list(pipeline.zero_shot(texts, given.pop("labels"), **given))
    if "pair" in given or task in _PAIRED:
        return list(pipeline(texts, given.pop("pair", None), **given))
    return list(pipeline(texts, **given))


def _check(manifest: Manifest, given: dict[str, Any], text_input: bool) -> None:
    """Raises UsageError for options that the task, or a graph that takes text, does not have, or that clash."""
    task = manifest.task
    if text_input:
        meant = [_flag(name) for name in given if name in _WITHOUT_TEXT]
        if meant:
            raise UsageError(f"{' and '.join(meant)} has no meaning with --text-input; leave it out.")
    for name in given:
        tasks = _TASKS.get(name, (task,))
        # Whether it takes pairs a graph that takes text says itself; whatever is ranked has a first few.
        if task not in tasks and not (name == "pair" and text_input) and not (name == "top_k" and "query" in given):
            raise UsageError(f"{_flag(name)} has no meaning for {task}; it is for {', '.join(tasks)}.")
    judging = [name for name in given if name in _JUDGING]
    if judging and "labels" not in given:
        raise UsageError(f"{_flag(judging[0])} says how labels are judged; give them with --labels.")
    for name, excluded in _EXCLUDING.items():
        clash = [other for other in excluded if name in given and other in given]
        if clash:
            raise UsageError(f"{_flag(name)} and {_flag(clash[0])} exclude each other; leave one out.")
    manifest.sentence.resolve(given.get("prompt_name"))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
