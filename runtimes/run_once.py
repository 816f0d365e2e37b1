"""One call for the command line: texts in, the results of whatever task the artifact has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from bert_onnx.errors import UsageError
from runtimes.loading import load
from runtimes.pipelines.results import Result
from runtimes.selection.select import Wanted

#: Tasks that take a second text, and those whose number of answers can be chosen.
_PAIRED = ("text-classification", "next-sentence-prediction", "pretraining", "question-answering")
_RANKED = ("fill-mask", "pretraining", "text-classification", "question-answering")
_GENERATING = ("text-generation", "text-generation-with-past")
_CHOOSING = "multiple-choice"


def answer(
    folder: str | os.PathLike[str],
    texts: Sequence[str],
    pair: str | None = None,
    top_k: int | None = None,
    max_new_tokens: int | None = None,
    where: Wanted | None = None,
    text_input: bool = False,
) -> list[Result]:
    """What the artifact in `folder` answers, one result a text.

    Args:
        folder: what `bert-onnx export` wrote.
        texts: texts or questions; for multiple-choice the prompt and then its choices, which give one result.
        pair: the second text, for tasks that take one.
        top_k: how many answers; None for the task's own number.
        max_new_tokens: how many tokens to generate; None for the task's own number.
        where: which variant, on which runtime, in which precision, with how many threads; None leaves it to us.
        text_input: answer with a graph that takes text.

    Raises:
        UsageError: an option that the artifact's task does not have.
        ArtifactError, InputError, RuntimeUnavailableError: as `runtimes.load` and its pipelines.
    """
    where = where or Wanted()
    if text_input:
        return _answer_with_text(folder, texts, pair, top_k or max_new_tokens, where)
    with load(folder, where.variant, where.runtime, where.precision, where.threads, where.strict) as pipeline:
        task = pipeline.task
        options: dict[str, Any] = {}
        for name, value, tasks in (("top_k", top_k, _RANKED), ("max_new_tokens", max_new_tokens, _GENERATING)):
            if value is not None:
                if task not in tasks:
                    option = name.replace("_", "-")
                    raise UsageError(f"--{option} has no meaning for {task}; it is for {', '.join(tasks)}.")
                options[name] = value
        if pair is not None and task not in _PAIRED:
            raise UsageError(f"--pair has no meaning for {task}; it is for {', '.join(_PAIRED)}.")
        if task == _CHOOSING:
            if len(texts) < 2:
                raise UsageError("multiple-choice needs a prompt and at least one choice: TEXT CHOICE [CHOICE ...].")
            return list(pipeline([texts[0]], [list(texts[1:])]))
        if task in _PAIRED:
            return list(pipeline(list(texts), pair, **options))
        return list(pipeline(list(texts), **options))


def _answer_with_text(
    folder: str | os.PathLike[str], texts: Sequence[str], pair: str | None, option: int | None, where: Wanted
) -> list[Result]:
    """The same with a graph that takes text, which has no options."""
    if option is not None:
        raise UsageError("--top-k and --max-new-tokens have no meaning with --text-input; leave them out.")
    with load(
        folder, where.variant, where.runtime, where.precision, where.threads, where.strict, text_input=True
    ) as model:
        if model.task != _CHOOSING:
            return model(texts, pair)
        if len(texts) < 2:
            raise UsageError("multiple-choice needs a prompt and at least one choice: TEXT CHOICE [CHOICE ...].")
        return model([texts[0]], [list(texts[1:])])
