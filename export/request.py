"""What a user may ask of an export, checked before anything expensive starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bert_onnx.checkpoint.finding import SAMPLE
from bert_onnx.errors import InputError, UsageError
from bert_onnx.tasks import TASKS, find_task
from export.evaluation.budgets import find_budget
from export.onnx_file.limits import EXTERNAL_DATA_THRESHOLD
from export.plan import (
    DEFAULT_METHOD,
    FP32,
    HALVES,
    PRECISIONS,
    REFERENCE,
    VariantPlan,
    check_method,
    check_precision,
    one_a_file,
)
from export.quantization.isa import DEFAULT_ISA, find_isa
from export.quantization.methods import METHODS
from export.targets import Target, check_opset, find_target

AUTO = "auto"
ARTIFACTS = Path("artifacts")

#: Names that programs and people look for in artifacts/, where they are not the end of what was asked for.
_ARTIFACT_NAMES = {SAMPLE: "all-MiniLM-L6-v2"}


@dataclass(frozen=True)
class PrecisionRequest:
    """Which precisions are made, how, and what they are judged by.

    Args:
        precisions: of each target; fp32 portable is always made, as the reference of the others.
        method: how int8 is made: static, dynamic or weights; None for each precision's own.
        isas: instruction sets that int8 files are laid out for, one file each.
        calibration: a file of texts that ranges are learned from; None for the built-in ones.
        evaluation: a file of held-out texts; None for the built-in ones.
        budget: what the principal figure must reach; None for the table's row.
        allow_degraded: publish what is below its budget, and say so.

    Raises:
        UsageError: naming the first thing that does not exist or does not fit.
        InputError: a file that does not exist.
    """

    precisions: tuple[str, ...] = (FP32,)
    method: str | None = None
    isas: tuple[str, ...] = (DEFAULT_ISA,)
    calibration: str | None = None
    evaluation: str | None = None
    budget: float | None = None
    allow_degraded: bool = False

    def __post_init__(self) -> None:
        if not self.precisions:
            raise UsageError(f"--precision is empty; choose from {', '.join(PRECISIONS)}.")
        for precision in self.precisions:
            if precision not in PRECISIONS:
                raise UsageError(f"the precision {precision!r} is unknown; choose from {', '.join(PRECISIONS)}.")
            if precision != FP32:
                find_budget(precision, self.budget)
        if self.method is not None and self.method not in METHODS:
            raise UsageError(f"the method {self.method!r} is unknown; choose one of {', '.join(METHODS)}.")
        if "int4" in self.precisions and self.method not in (None, "weights"):
            raise UsageError(f"int4 is for weights alone, and --method {self.method} is not; use --method weights.")
        if not self.isas:
            raise UsageError("--isa is empty; leave it out for the default.")
        for isa in self.isas:
            if find_isa(isa).symmetric:
                raise UsageError(f"--isa is for processors, and {isa} is none; use --target ort-tensorrt.")
        for option, name in (("--calibration", self.calibration), ("--eval", self.evaluation)):
            if name is not None and not Path(name).is_file():
                raise InputError(f"{option} {name} is not a file; name a .txt, .jsonl, .csv or .parquet file of texts.")

    @property
    def lower(self) -> tuple[str, ...]:
        """The precisions below fp32, each once."""
        return tuple(precision for precision in dict.fromkeys(self.precisions) if precision != FP32)

    def lower_plans(self, target: Target) -> Iterator[VariantPlan]:
        """The variants of `target` below fp32.

        Raises:
            UsageError: a precision that its clients do not run.
        """
        for precision in self.lower:
            check_precision(precision, target)
            if precision in HALVES:
                yield VariantPlan(target, precision)
                continue
            method = self.method or DEFAULT_METHOD[precision]
            check_method(method, target)
            if method == "weights":
                yield VariantPlan(target, precision, method)
                continue
            for isa in dict.fromkeys(self.isas) if target.isa is None else (target.isa,):
                yield VariantPlan(target, precision, method, find_isa(isa))


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
        postprocess: also outputs made of the scores: probabilities, label ids, spans ...
        precision: which precisions, how they are made and judged.
        text_input: also make graphs that take text.
        random_seed: ignore the checkpoint's weights and draw random ones with this seed.
        allow_new_heads: accept a head that the checkpoint has no weights for.
        strict_weights: refuse tensors that a training loop left behind, rather than leave them out with a note.
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
    strict_weights: bool = False
    force: bool = False
    check_each_pass: bool = False
    external_data_threshold: int = EXTERNAL_DATA_THRESHOLD

    def __post_init__(self) -> None:
        if not self.model:
            raise UsageError("MODEL is empty; name a folder, a hub id or 'sample'.")
        if self.task != AUTO:
            find_task(self.task)
        self.plans()
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
        name = _ARTIFACT_NAMES.get(self.model) or Path(os.path.expanduser(self.model)).resolve().name or "model"
        return ARTIFACTS / (name if self.task == AUTO else f"{name}-{self.task}")

    def plans(self) -> tuple[VariantPlan, ...]:
        """The variants to make: portable fp32 first, then target by target."""
        plans = [REFERENCE]
        for target in map(find_target, self.targets):
            if FP32 in self.precision.precisions:
                plans.append(VariantPlan(target))
            plans += self.precision.lower_plans(target)
        return one_a_file(plans)


@dataclass(frozen=True)
class ExtendRequest:
    """Variants to add.

    Args:
        folder: a published artifact.
        targets: rows of the target table.
        precision: which precisions, how they are made and judged.
        checkpoint: where its checkpoint is now; None means where the manifest says it came from.
        offline: use the hub's local cache only.

    Raises:
        UsageError: naming the first thing that does not exist or does not fit.
    """

    folder: str
    targets: tuple[str, ...] = ("portable",)
    precision: PrecisionRequest = field(default_factory=lambda: PrecisionRequest(("int8",)))
    checkpoint: str | None = None
    offline: bool = False

    def __post_init__(self) -> None:
        if not self.precision.lower or FP32 in self.precision.precisions:
            raise UsageError("quantize makes precisions below fp32; `bert-onnx export` makes fp32.")
        self.plans()

    def plans(self) -> tuple[VariantPlan, ...]:
        """The variants to make."""
        targets = map(find_target, self.targets)
        return one_a_file(plan for target in targets for plan in self.precision.lower_plans(target))


assert AUTO not in TASKS
