"""Adds variants to a published artifact: the others stay, byte by byte, and all of them appear in one step."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from bert_onnx.artifact import CARD_NAME, Artifact, Manifest, TextGraph, Variant
from bert_onnx.artifact.publish import check_destination, publish, seal, staging_folder
from bert_onnx.errors import UsageError
from export.onnx_file.limits import EXTERNAL_DATA_THRESHOLD
from export.plan import VariantPlan, lower_plans
from export.precision import LowerPrecision
from export.precision_request import FP32, PrecisionRequest
from export.reference.from_artifact import checkpoint_of, eager_of
from export.reference.load import Eager
from export.reference.prefetch import answers_ahead
from export.reference.runtime import input_limits, reference_for
from export.report import ExportReport, tool_versions
from export.request import Progress, no_progress, within
from export.targets import find_target
from export.text_input.build import TextInput
from export.variant import BuildOptions, VariantBuilder
from export.verification.vectors import write_vectors


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
        return tuple(plan for name in self.targets for plan in lower_plans(find_target(name), self.precision))


def extend(request: ExtendRequest, progress: Progress = no_progress) -> ExportReport:
    """Make the variants of `request`, judge them, and publish them beside those that are there.

    A variant of the same name is replaced.

    Raises:
        BertOnnxError: one of its kinds; the artifact is as it was.
    """
    started = time.monotonic()
    progress("checking every file", 0.0)
    artifact = Artifact.open(request.folder)
    destination = check_destination(request.folder, force=True)
    progress("loading the checkpoint", 0.05)
    checkpoint = checkpoint_of(artifact, request.checkpoint, request.offline)
    eager = eager_of(artifact, checkpoint)
    size = sum(record.size for record in artifact.manifest.files.values())
    with staging_folder(destination, needed=2 * size) as stage:
        _copy(artifact, stage)
        with answers_ahead(checkpoint, eager.task, eager.options, True) as ahead:
            if ahead is not None:
                ahead.ask_vectors(stage, artifact.manifest.model_max_length)
            reference = reference_for(eager, ahead)
            lower = LowerPrecision(request.precision, eager, reference, stage, artifact.manifest.model_max_length)
            builder = VariantBuilder(eager, reference, lower, stage / "onnx", BuildOptions(EXTERNAL_DATA_THRESHOLD))
            built = builder.build_all(request.plans(), None, within(progress, 0.15, 0.97))
            made = tuple(one.variant for one in built)
            variants = _joined(artifact.manifest.variants, made)
            text_graphs = _text_graphs(artifact.manifest, stage, made, eager)
            write_vectors(stage, reference, input_limits(eager), artifact.manifest.model_max_length, variants)
        progress("publishing", 0.97)
        seal(stage, _manifest(artifact.manifest, variants, text_graphs))
        folder = publish(stage, destination, force=True)
    progress("done", 1.0)
    warnings = tuple(warning for one in built for warning in one.warnings)
    return ExportReport(Artifact.open(folder, check_hashes=False), warnings, time.monotonic() - started)


def _copy(artifact: Artifact, stage: Path) -> None:
    """Every file that the manifest lists, but for what is written anew."""
    for name in artifact.manifest.files:
        if name != CARD_NAME:
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artifact.folder / name, stage / name)


def _joined(before: tuple[Variant, ...], made: tuple[Variant, ...]) -> tuple[Variant, ...]:
    names = {variant.name for variant in made}
    return tuple(variant for variant in before if variant.name not in names) + made


def _text_graphs(before: Manifest, stage: Path, made: tuple[Variant, ...], eager: Eager) -> tuple[TextGraph, ...]:
    """Those that were there, and one for each new variant where the artifact has any."""
    if not before.text_graphs:
        return ()
    text_input = TextInput(stage, eager.task, before.model_max_length, input_limits(eager), before.outputs)
    names = {variant.name for variant in made}
    kept = tuple(graph for graph in before.text_graphs if graph.variant not in names)
    return kept + text_input.add(made, before.inputs)


def _manifest(before: Manifest, variants: tuple[Variant, ...], text_graphs: tuple[TextGraph, ...]) -> Manifest:
    tools = before.tools | tool_versions(text_input=bool(text_graphs))
    return replace(before, tools=tools, variants=variants, text_graphs=text_graphs, files={})
