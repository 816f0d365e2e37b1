"""A served model: its pipeline, whose graph runs through the scheduler, and how well it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_onnx.artifact import Artifact
from bert_onnx.sentence_modules import SPARSE
from bert_onnx.sentence_settings import SentenceSettings
from bert_onnx.tasks import CHOICES, SEQUENCE
from runtimes.engines.base import Runtime
from runtimes.loading import load_request
from runtimes.pipelines.base import TokenizingPipeline
from runtimes.pipelines.batches import pad
from runtimes.pipelines.encoding import Window
from runtimes.server.batching.batches import Budget
from runtimes.server.batching.ledger import Ledger
from runtimes.server.batching.scheduler import Lane, Scheduler
from runtimes.server.batching.work import Group
from runtimes.server.health import Probe
from runtimes.server.logs import log
from runtimes.server.metrics import Metrics, ModelMetrics
from runtimes.server.model_card import ModelCard, open_served
from runtimes.server.queued_runtime import QueuedRuntime
from runtimes.server.refusals import TooLargeError
from runtimes.server.settings import Limits, ServerSettings
from runtimes.server.sparse_rows import KeptTokens, SparseRow

#: Most numbers of a batch's outputs: logits over a vocabulary are large.
_OUTPUT_NUMBERS = 1 << 26
#: Most numbers of an answer that has some for every token, or for every word of a vocabulary.
_ANSWER_NUMBERS = 1 << 22
#: With 2 threads, int8 batches of like length ran fastest a token from about 512 tokens on.
_TOKENS_A_THREAD = 256
_ERROR = 40  # of logging


class ServedModel:
    """One artifact.

    Args:
        name: what clients call it.
        folder: the artifact.
        pipeline: of the artifact; its runtime is replaced by one that queues.
        pads: whether the graph computes padding.
    """

    def __init__(
        self, name: str, folder: Path, pipeline: TokenizingPipeline, pads: bool, scheduler: Scheduler, limits: Limits,
        metrics: Metrics,
    ) -> None:  # fmt: skip
        self.name = name
        self.task = pipeline.task
        self.pipeline: Any = pipeline
        self.tokenizer = pipeline.tokenizer
        self.sentence: SentenceSettings = getattr(pipeline, "sentence", SentenceSettings())
        self.max_length = pipeline.max_length
        self.card = ModelCard.of(self.task, self.max_length, pipeline.config, self.tokenizer)
        self.description = pipeline.describe()
        self.is_suspect = True
        #: Requests that have chosen it and are not over; counted on the event loop.
        self.users = 0
        #: As it was when it was opened; None of a model that no folder holds.
        self.artifact: Artifact | None = None
        self._runtime = runtime = pipeline.runtime
        #: Runs rows of which attention does not see all; None where that is the same.
        self._for_hidden: Runtime | None = getattr(pipeline, "query_runtime", runtime)
        if self._for_hidden is runtime:
            self._for_hidden = None
        self._has_choices = any(CHOICES in port.axes for port in runtime.inputs)
        self._probe = Probe(folder, self.description.variant, runtime)
        ledger = Ledger(limits.queue_tokens)
        self._metrics: ModelMetrics = metrics.watch(name, pads)
        widest = max((int(port.axes[-1]) for port in runtime.outputs if isinstance(port.axes[-1], int)), default=1)
        tokens = max(1, min(limits.batch_tokens, _OUTPUT_NUMBERS // widest))
        self.lane = Lane(name, self._run, Budget(tokens, pads, self._enough(tokens)), ledger, self)
        kept = pipeline.tokenizer.mask_token_id if self.task == "fill-mask" else None
        pipeline.runtime = QueuedRuntime(runtime, scheduler, self.lane, kept)

    def _run(self, group: Group, windows: list[Window]) -> Mapping[str, Any]:
        """Each window is a row; to a graph of choices it is the only choice of a text."""
        inputs = pad(windows, self.tokenizer.padding_id)
        if self._has_choices:
            inputs = {name: array[:, None] for name, array in inputs.items()}
        further = {name: np.array([value], np.int64) for name, value in group.further}
        hidden = any(window.seen is not None for window in windows)
        runtime = (hidden and self._for_hidden) or self._runtime
        outputs: dict[str, Any] = dict(runtime.run({**inputs, **further}, group.outputs))
        if group.kept is not None:
            for name, array in outputs.items():
                rows = zip(array, windows, strict=True)
                outputs[name] = [KeptTokens.of(row, window.ids, group.kept) for row, window in rows]
        if SPARSE in outputs:
            outputs[SPARSE] = [SparseRow.of(row) for row in outputs[SPARSE]]
        return outputs

    def check_answer(self, names: Sequence[str], lengths: Sequence[int]) -> None:
        """Raises TooLargeError: outputs called `names` are too large for rows of `lengths` tokens."""
        numbers = 0
        for port in self._runtime.outputs:
            if port.name in names:
                width = math.prod(axis for axis in port.axes if isinstance(axis, int))
                numbers += width * (sum(lengths) if SEQUENCE in port.axes else len(lengths))
        if numbers > _ANSWER_NUMBERS:
            raise TooLargeError(
                f"the answer would have {numbers} numbers, and one may have {_ANSWER_NUMBERS}; send fewer texts."
            )

    def _enough(self, tokens: int) -> int | None:
        """Of a processor, tokens that keep its threads busy; a GPU takes all that it gets."""
        runtime = self.description.runtime
        on_processor = not any("CUDA" in name or "Tensorrt" in name for name in runtime.providers)
        return min(tokens, _TOKENS_A_THREAD * runtime.threads) if on_processor and runtime.threads else None

    def takes(self, name: str) -> bool:
        """Whether the graph has an input of that name."""
        return any(port.name == name for port in self._runtime.inputs)

    def ran(self, lengths: Sequence[int], seconds: float) -> None:
        """A batch ran."""
        self._metrics.ran(lengths, seconds)

    def dropped(self, rows: int, reason: str) -> None:
        """Rows were dropped."""
        self._metrics.dropped(rows, reason)

    def fault(self, error: Exception) -> None:
        """A row failed: until the probe says otherwise, the model may be ill."""
        self.is_suspect = True
        self._metrics.fault(error)
        log(_ERROR, "the model failed on a text", error, model=self.name)

    def check(self) -> None:
        """Run the probe. Raises InferenceError: the model is ill."""
        self.is_suspect = True
        self._probe.check()
        self.is_suspect = False

    def close(self) -> None:
        """Give back what the runtime holds."""
        self.pipeline.close()


def open_model(folder: Path, settings: ServerSettings, scheduler: Scheduler, metrics: Metrics) -> ServedModel:
    """The model in `folder`, which has run once.

    Raises:
        UsageError: its task has no route.
        InferenceError: it does not give what its vectors.json has.
        ArtifactError, RuntimeUnavailableError, UsageError: as `runtimes.load`.
    """
    artifact = open_served(folder)
    pipeline: Any = load_request(folder, settings.runtime)
    pads = not artifact.manifest.variant(pipeline.describe().variant).target.endswith("-unpadded")
    model = ServedModel(folder.name, folder, pipeline, pads, scheduler, settings.limits, metrics)
    model.check()
    model.artifact = artifact
    scheduler.add(model.lane)
    metrics.show_queue(model.name, model.lane.ledger)
    return model
