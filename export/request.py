"""What a user may ask of an export, checked before anything expensive starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bert_onnx.checkpoint.finding import SAMPLE
from bert_onnx.errors import UsageError
from bert_onnx.tasks import TASKS, find_task
from export.onnx_file.limits import EXTERNAL_DATA_THRESHOLD
from export.precision_request import PrecisionRequest
from export.targets import check_opset, find_target

AUTO = "auto"
ARTIFACTS = Path("artifacts")

#: Called with the name of each step as it begins, and with the share of the whole that is done by then, 0 to 1.
Progress = Callable[[str, float], None]

#: Names that programs and people look for in artifacts/, where they are not the end of what was asked for.
_ARTIFACT_NAMES = {SAMPLE: "all-MiniLM-L6-v2"}


def no_progress(step: str, share: float) -> None:
    """Progress that nobody watches."""


def within(progress: Progress, begin: float, end: float) -> Progress:
    """Progress of a part, which is the share from `begin` to `end` of the whole."""
    return lambda step, share: progress(step, begin + (end - begin) * share)


@dataclass(frozen=True)
class ExportRequest:
    """One export.

    Args:
        model: a folder, a hub id, or `sample`.
        task: a row of the task table, or `auto`: what the checkpoint's architecture says.
        output: the artifact's folder; None puts it into artifacts/ under the model's name.
        targets: rows of the target table; `portable` is always made, as the reference of the others.
        opset: ai.onnx opset of the portable graph; None for the target's own.
        revision: branch, tag or commit on the hub.
        offline: use the hub's local cache only.
        pooling, normalize: for sentence-similarity; None means as the checkpoint says, else mean and normalised.
        output_attentions, output_hidden_states: further outputs.
        postprocess: also answers made of the scores: probabilities, label ids, spans ...
        precision: which precisions, how they are made and judged.
        text_input: also make graphs that take text.
        random_seed: ignore the checkpoint's weights and draw random ones with this seed.
        allow_new_heads: accept a head that the checkpoint has no weights for.
        force: replace an artifact that is there.
        check_each_pass: compare the graph after every pass, and name the one that breaks it; slow.
        external_data_threshold: bytes of weights beyond which they go into a file of their own.

    Raises:
        UsageError: naming the first thing that does not exist or does not fit.
    """

    model: str
    task: str = AUTO
    output: str | None = None
    targets: tuple[str, ...] = ("portable",)
    opset: int | None = None
    revision: str | None = None
    offline: bool = False
    pooling: str | None = None
    normalize: bool | None = None
    output_attentions: bool = False
    output_hidden_states: bool = False
    postprocess: bool = False
    precision: PrecisionRequest = field(default_factory=PrecisionRequest)
    text_input: bool = False
    random_seed: int | None = None
    allow_new_heads: bool = False
    force: bool = False
    check_each_pass: bool = False
    external_data_threshold: int = EXTERNAL_DATA_THRESHOLD

    def __post_init__(self) -> None:
        if not self.model:
            raise UsageError("MODEL is empty; name a folder, a hub id or 'sample'.")
        if self.task != AUTO:
            find_task(self.task)
        for target in self.targets:
            find_target(target)
        if self.opset is not None:
            check_opset(self.opset)
        if self.output is not None and not self.output.strip():
            raise UsageError("--output is empty; name the folder to make.")
        if self.random_seed is not None and not 0 <= self.random_seed < 2**63:
            raise UsageError(f"--random-weights {self.random_seed} is not a seed; give a whole number of at least 0.")
        pooled = self.pooling is not None or self.normalize is not None
        if pooled and self.task not in (AUTO, "sentence-similarity"):
            raise UsageError(f"--pooling and --normalize have no meaning for {self.task}; use sentence-similarity.")

    @property
    def destination(self) -> Path:
        """The folder to publish to: `artifacts/<model>`, with the task where one was named."""
        if self.output is not None:
            return Path(self.output)
        name = _ARTIFACT_NAMES.get(self.model) or Path(self.model).expanduser().resolve().name or "model"
        return ARTIFACTS / (name if self.task == AUTO else f"{name}-{self.task}")


assert AUTO not in TASKS
