"""What all pipelines share: their parts, a description, closing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from runtimes.engines.base import Runtime, RuntimeDescription
from runtimes.pipelines.results import Result

if TYPE_CHECKING:
    from bert_onnx.config import BertConfig
    from bert_onnx.tokenization import BertTokenizerFast
    from runtimes.pipelines.batches import Row
    from runtimes.pipelines.encoding import Window

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Parts:
    """What a pipeline is made of.

    Args:
        task: a name of the table of tasks.
        runtime: runs the graph.
        tokenizer: makes ids of text.
        config: labels, problem type and token ids with a meaning.
        max_length: most tokens of a text, special ones included; longer texts are cut, and their results say so.
        variant: which graph of the artifact it is.
        precision: what it computes in.
        why: why this variant and this runtime.
    """

    task: str
    runtime: Runtime
    tokenizer: BertTokenizerFast
    config: BertConfig
    max_length: int
    variant: str = ""
    precision: str = ""
    why: str = ""


@dataclass(frozen=True)
class PipelineDescription(Result):
    """What answers: for people and for reports."""

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
    """Base of the pipelines. Use one as a context manager, or call `close`."""

    if TYPE_CHECKING:  # every task has arguments of its own
        __call__: Callable[..., Any]

    def __init__(self, parts: Parts) -> None:
        self.task = parts.task
        self.runtime = parts.runtime
        self.tokenizer = parts.tokenizer
        self.config = parts.config
        self.max_length = parts.max_length
        self._parts = parts

    def describe(self) -> PipelineDescription:
        """What answers."""
        parts = self._parts
        return PipelineDescription(
            self.task, parts.variant, self.max_length, self.runtime.describe(), parts.precision, parts.why
        )

    def close(self) -> None:
        """Give back what the runtime holds."""
        self.runtime.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run(
        self,
        windows: Sequence[Window],
        outputs: Sequence[str],
        batch_size: int,
        finish: Callable[[Window, Row], Answer],
    ) -> list[Answer]:
        from runtimes.pipelines.batches import run_windows

        return run_windows(self.runtime, windows, outputs, self.tokenizer.pad_token_id, batch_size, finish)

    def _encode(self, texts: list[str], pairs: list[str] | None = None) -> list[Window]:
        from runtimes.pipelines.encoding import encode

        return encode(self.tokenizer, texts, pairs, self.max_length)
