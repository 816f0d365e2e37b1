"""May a task have graphs that take text? Asked before anything is loaded."""

from __future__ import annotations

from bert_onnx.errors import UsageError
from bert_onnx.sentence_modules import excludes_prompt
from bert_onnx.tasks import Task, TaskOptions
from bert_onnx.text_input import WITHOUT_TEXT
from runtimes.engines.ort.text import import_extensions


def check_text_input(task: Task, options: TaskOptions) -> None:
    """Refuse at once what can never take text.

    Raises:
        UsageError: the task feeds tokens back; its pooling has to know the prompt's tokens from the text's.
        RuntimeUnavailableError: onnxruntime-extensions is missing.
    """
    if task.name in WITHOUT_TEXT:
        raise UsageError(f"--text-input has no meaning for {task.name}, which {WITHOUT_TEXT[task.name]}; leave it out.")
    if excludes_prompt(options.modules):
        raise UsageError(
            "--text-input is not possible: the pooling leaves out the tokens of the prompt, and a graph that takes "
            "text cannot tell them from the text's; leave it out."
        )
    import_extensions()
