"""May a task have graphs that take text? Asked before anything is loaded."""

from __future__ import annotations

from bert_onnx.errors import UsageError
from bert_onnx.tasks import Task
from bert_onnx.text_input import WITHOUT_TEXT
from runtimes.engines.ort.text import import_extensions


def check_text_input(task: Task) -> None:
    """Refuse at once what can never take text.

    Raises:
        UsageError: the task feeds tokens back.
        RuntimeUnavailableError: onnxruntime-extensions is missing.
    """
    if task.name in WITHOUT_TEXT:
        raise UsageError(f"--text-input has no meaning for {task.name}, which reads its own tokens; leave it out.")
    import_extensions()
