"""One call for the command line: texts in, the predictions of whatever task the artifact has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from bert_onnx.errors import UsageError
from runtimes.loading import load_request
from runtimes.pipelines.results import Result
from runtimes.selection.open import check_request
from runtimes.selection.request import RuntimeRequest

#: Tasks that take a second text, and those that rank or generate a number of things that can be chosen.
_PAIRED = ("text-classification", "next-sentence-prediction", "pretraining", "question-answering")
_RANKED = ("fill-mask", "sparse-embedding", "pretraining", "text-classification", "question-answering")
_EMBEDDING = ("sentence-similarity",)
_PROMPTED = ("sentence-similarity", "sparse-embedding")
_GENERATING = ("text-generation", "text-generation-with-past")
_CHOOSING = "multiple-choice"


def predict(
    folder: str | os.PathLike[str],
    texts: Sequence[str],
    pair: str | None = None,
    top_k: int | None = None,
    max_new_tokens: int | None = None,
    request: RuntimeRequest | None = None,
    prompt_name: str | None = None,
    truncate_dim: int | None = None,
) -> list[Result]:
    """What the artifact in `folder` predicts, one result a text.

    Args:
        folder: what `bert-onnx export` wrote.
        texts: texts or questions; for multiple-choice the prompt and then its choices, which give one result.
        pair: the second text, for tasks that take one.
        top_k: how many labels, tokens or answers; None for the task's own number.
        max_new_tokens: how many tokens to generate; None for the task's own number.
        prompt_name, truncate_dim: of embeddings; None for the model's own.
        request: which variant, on which runtime, in which precision, with how many threads; None for the best here.

    Raises:
        UsageError: an option that the artifact's task does not have.
        ArtifactError, InputError, RuntimeUnavailableError: as `runtimes.load` and its pipelines.
    """
    request = request or RuntimeRequest()
    if request.text_input and not (top_k is None and max_new_tokens is None):
        raise UsageError("--top-k and --max-new-tokens have no meaning with --text-input; leave them out.")
    manifest = check_request(folder, request)
    task = manifest.task
    options = _options(task, top_k, max_new_tokens, prompt_name, truncate_dim)
    manifest.sentence.resolve(prompt_name)
    if pair is not None and task not in _PAIRED and not request.text_input:
        raise UsageError(f"--pair has no meaning for {task}; it is for {', '.join(_PAIRED)}.")
    if task == _CHOOSING and len(texts) < 2:
        raise UsageError("multiple-choice needs a prompt and at least one choice: TEXT CHOICE [CHOICE ...].")
    with load_request(folder, request) as pipeline:
        if task == _CHOOSING:
            return list(pipeline([texts[0]], [list(texts[1:])]))
        if task in _PAIRED or request.text_input:  # a graph that takes text says itself whether it takes pairs
            return list(pipeline(list(texts), pair, **options))
        return list(pipeline(list(texts), **options))


def _options(
    task: str, top_k: int | None, max_new_tokens: int | None, prompt_name: str | None, truncate_dim: int | None
) -> dict[str, Any]:
    """The options that were given, by the names that pipelines have for them.

    Raises:
        UsageError: `task` has no such option.
    """
    options: dict[str, Any] = {}
    rows = (
        ("top_k", top_k, _RANKED),
        ("max_new_tokens", max_new_tokens, _GENERATING),
        ("prompt_name", prompt_name, _PROMPTED),
        ("truncate_dim", truncate_dim, _EMBEDDING),
    )
    for name, value, tasks in rows:
        if value is None:
            continue
        if task not in tasks:
            raise UsageError(f"--{name.replace('_', '-')} has no meaning for {task}; it is for {', '.join(tasks)}.")
        options[name] = value
    return options
