"""What all pipelines share: their parts, a description, closing."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from bert_onnx.errors import RuntimeUnavailableError
from bert_onnx.sentence_settings import SentenceSettings
from runtimes.engines.base import Runtime, RuntimeDescription
from runtimes.pipelines.results import Result
from runtimes.selection.request import RuntimeRequest

if TYPE_CHECKING:
    from bert_onnx.config import BertConfig
    from bert_onnx.tokenization import FastTokenizer
    from runtimes.engines.ort.text import TextRuntime
    from runtimes.pipelines.batches import Row
    from runtimes.pipelines.encoding import Window

Prediction = TypeVar("Prediction")


@dataclass(frozen=True)
class PipelineParts:
    """What a pipeline is made of.

    Args:
        task: a name of the table of tasks.
        runtime: runs the graph.
        tokenizer: makes ids of text; None where the graph takes text.
        config: labels, problem type and token ids with a meaning.
        max_length: most tokens of a text, special ones included; longer texts are cut, and their results say so.
        variant: which graph of the artifact it is.
        precision: what it computes in.
        why: why this variant and this runtime.
        folder: the artifact's; None where the parts come from elsewhere.
        request: what the caller named.
        load: loads the same again from `folder` and `request`, in another process.
        sentence: prompts, similarity and length of sentence embeddings.
        activation_fn: what makes scores of logits, of text-ranking.
    """

    task: str
    runtime: Any
    tokenizer: FastTokenizer | None
    config: BertConfig
    max_length: int
    variant: str = ""
    precision: str = ""
    why: str = ""
    folder: Path | None = None
    request: RuntimeRequest | None = None
    load: Callable[..., Pipeline] | None = None
    sentence: SentenceSettings = field(default_factory=SentenceSettings)
    activation_fn: str | None = None


@dataclass(frozen=True)
class PipelineDescription(Result):
    """What runs: for people and for reports."""

    task: str
    variant: str
    max_length: int
    runtime: RuntimeDescription
    precision: str = ""
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**super().to_dict(), "runtime": self.runtime.to_dict()}


class Pipeline:
    """Base of what `runtimes.load` returns. Use one as a context manager, or call `close`.

    Several threads may call one at once. Pickled, it is its folder and its request: it opens again where it arrives.
    After a fork the child opens it again at its first call, since a session's threads do not come along.
    """

    if TYPE_CHECKING:  # every task has arguments of its own
        __call__: Callable[..., Any]

    runtime: Runtime | TextRuntime

    def __init__(self, parts: PipelineParts) -> None:
        self.task = parts.task
        self.runtime = parts.runtime
        self.config = parts.config
        self.max_length = parts.max_length
        self.folder = parts.folder
        self.request = parts.request
        self._load = parts.load
        self._description = PipelineDescription(
            parts.task, parts.variant, parts.max_length, parts.runtime.describe(), parts.precision, parts.why
        )
        _OPEN.add(self)

    def describe(self) -> PipelineDescription:
        """What runs, and why it was chosen."""
        return self._description

    def close(self) -> None:
        """Give back what the runtime holds."""
        if "runtime" in self.__dict__:
            self.runtime.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return self._origin()

    def __getattr__(self, name: str) -> Any:
        """The runtime, in a child process that was forked with this pipeline open."""
        if name != "runtime":
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        load, arguments = self._origin()
        self.runtime = load(*arguments).runtime
        return self.runtime

    def _origin(self) -> tuple[Callable[..., Pipeline], tuple[Path, RuntimeRequest]]:
        """What loads the same pipeline again, and its arguments."""
        load = self._load
        if load is None or self.folder is None or self.request is None:
            raise RuntimeUnavailableError(
                "this pipeline was not loaded from an artifact's folder, so that no other process can open it again; "
                "make it in the process that uses it."
            )
        return load, (self.folder, self.request)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _forget_sessions() -> None:
    """In the child of a fork: sessions have lost their threads, and would wait for them even to be taken apart."""
    for pipeline in list(_OPEN):
        runtime = pipeline.__dict__.pop("runtime", None)
        if runtime is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(runtime))


#: Pipelines that this process has open.
_OPEN: weakref.WeakSet[Pipeline] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_sessions)


class TokenizingPipeline(Pipeline):
    """Base of the pipelines whose graphs take token ids."""

    runtime: Runtime

    def __init__(self, parts: PipelineParts) -> None:
        super().__init__(parts)
        assert parts.tokenizer is not None  # the graph takes ids
        self.tokenizer = parts.tokenizer

    def _run(
        self,
        windows: Sequence[Window],
        outputs: Sequence[str],
        batch_size: int,
        finish: Callable[[Window, Row], Prediction],
    ) -> list[Prediction]:
        """`finish(window, row)` for each window, in their order; `row` holds its part of each output, with padding."""
        from runtimes.pipelines.batches import BatchOptions, run_rows, window_inputs

        inputs = window_inputs(self.runtime, windows, outputs, self.tokenizer.padding_id)
        return run_rows(inputs, BatchOptions.of_size(batch_size), lambda index, row: finish(windows[index], row))

    def _encode(self, texts: list[str], pairs: Sequence[str | None] | None = None) -> list[Window]:
        from runtimes.pipelines.encoding import encode

        return encode(self.tokenizer, texts, pairs, self.max_length)
