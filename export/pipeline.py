"""The story from a checkpoint to a published artifact, top to bottom. Nothing is published unverified."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from bert_onnx.artifact import CARD_NAME, SCHEMA_VERSION, Artifact, Manifest, ModelLimits
from bert_onnx.artifact.publish import check_destination, publish, seal, staging_folder
from bert_onnx.checkpoint import Checkpoint
from bert_onnx.checkpoint.finding import with_digest
from bert_onnx.checkpoint.write_companions import write_companions
from bert_onnx.sentence_settings import SentenceSettings
from bert_onnx.version import __version__
from export.check import CheckedExport, check_export
from export.plan import FP32, VariantPlan
from export.reference.computed import Expected, Prefetch
from export.reference.from_artifact import checkpoint_of, eager_of
from export.reference.load import Eager
from export.reference.runtime import Reference
from export.report import ExportReport, Progress, no_progress, tool_versions, within
from export.request import ExportRequest, ExtendRequest
from export.text_input.build import TextInput
from export.variant import VariantBuilder, WriteOptions
from export.verification.cases import verification_cases
from export.verification.longest import length_warnings
from export.verification.vectors import vector_cases, write_vectors
from runtimes.background import Background

#: Shares of the whole that are done when variants begin, and when all of them are made.
_BEGIN, _END = 0.15, 0.97


def export(
    request: ExportRequest,
    progress: Progress = no_progress,
    checked: CheckedExport | None = None,
    prefetch: Prefetch | None = None,
) -> ExportReport:
    """Make, verify and publish the artifact that `request` describes.

    Args:
        request: see there.
        progress: called as steps begin.
        checked: what `check_export` made of `request`, where the caller has asked it already.
        prefetch: a second process that computes the outputs of a large eager model (`prefetching(checked.load)`).

    Raises:
        BertOnnxError: one of its kinds; whatever was published before is untouched.
    """
    begun = time.monotonic()
    progress("finding the checkpoint", 0.0)
    checked = checked or check_export(request)
    destination, checkpoint = checked.destination, checked.load.checkpoint
    hashing = Background(partial(with_digest, checkpoint))
    progress("loading the weights", 0.05)
    reference = checked.load(prefetch)
    eager = reference.eager
    with staging_folder(destination, needed=_weight_bytes(eager)) as stage:
        longest, warnings = write_companions(stage, checkpoint, eager.config, eager.task, eager.options)
        (stage / "onnx").mkdir()
        writing = WriteOptions(request.opset, request.external_data_threshold, request.check_each_pass)
        builder = VariantBuilder(reference, stage, longest, request.precision, writing)
        empty = _empty_manifest(eager, checkpoint, longest, checked.sentence)
        manifest, notes = _make_variants(builder, request.plans(), empty, request.text_input, progress)
        manifest = replace(manifest, source=hashing.result().source)
        folder = _publish(stage, manifest, destination, request.force, progress)
    artifact = Artifact.open(folder, check_hashes=False)  # written and hashed a moment ago, by us
    return ExportReport(artifact, checkpoint.warnings + eager.warnings + warnings + notes, time.monotonic() - begun)


def extend(request: ExtendRequest, progress: Progress = no_progress) -> ExportReport:
    """Add variants to a published artifact: the others stay, byte by byte, and all of them appear in one step.

    A variant of the same name is replaced.

    Raises:
        BertOnnxError: one of its kinds; the artifact is as it was.
    """
    begun = time.monotonic()
    progress("checking every file", 0.0)
    artifact = Artifact.open(request.folder)
    destination = check_destination(request.folder, force=True)
    before = artifact.manifest
    progress("loading the checkpoint", 0.05)
    checkpoint = checkpoint_of(artifact, request.checkpoint, request.offline)
    eager = eager_of(artifact, checkpoint)
    size = sum(record.size for record in before.files.values())
    with staging_folder(destination, needed=2 * size) as stage:
        _copy(artifact, stage)
        builder = VariantBuilder(Reference(eager), stage, before.model_max_length, request.precision)
        manifest, notes = _make_variants(builder, request.plans(), before, bool(before.text_graphs), progress)
        folder = _publish(stage, manifest, destination, True, progress)
    return ExportReport(
        Artifact.open(folder, check_hashes=False), checkpoint.warnings + notes, time.monotonic() - begun
    )


def _make_variants(
    builder: VariantBuilder, plans: Sequence[VariantPlan], before: Manifest, with_text: bool, progress: Progress
) -> tuple[Manifest, tuple[str, ...]]:
    """Make, verify and judge a variant for each of `plans`, and what is computed from all variants.

    Args:
        before: what the staged artifact holds already; a variant of the same name is replaced.
        with_text: each new variant gets a graph that takes text, too.

    Returns:
        The manifest with the new variants, without its files, and warnings.
    """
    reference, stage, longest = builder.reference, builder.stage, before.model_max_length
    eager = reference.eager
    prompt = before.sentence.default_prompt
    vectors = vector_cases(stage, before.inputs, eager.config, longest, prompt)
    cases = verification_cases(eager.task, eager.config, before.inputs)
    progress("running the eager model", 0.08)
    float32 = any(plan.precision == FP32 for plan in plans)
    reference.expect(
        [Expected(case.inputs, len(plans), float32) for case in cases] + [Expected(case.inputs, 1) for case in vectors]
    )
    text_input = None
    if with_text:
        progress("comparing the tokenizer in the graph", 0.1)
        text_input = TextInput(stage, eager.task, longest, eager.config, before.inputs, before.outputs)
    built = builder.build_all(plans, within(progress, _BEGIN, _END))
    made = tuple(one.variant for one in built)
    names = {variant.name for variant in made}
    variants = tuple(variant for variant in before.variants if variant.name not in names) + made
    text_graphs = tuple(graph for graph in before.text_graphs if graph.variant not in names)
    if text_input is not None:
        text_graphs += text_input.add(made, before.inputs)
    write_vectors(stage, vectors, reference, longest, variants, prompt)
    tools = before.tools | tool_versions(text_input=bool(text_graphs))
    manifest = replace(before, tools=tools, variants=variants, text_graphs=text_graphs, files={})
    warnings = dict.fromkeys(warning for one in built for warning in one.warnings)  # what variants share is said once
    return manifest, length_warnings(eager.config) + tuple(warnings)


def _publish(stage: Path, manifest: Manifest, destination: Path, force: bool, progress: Progress) -> Path:
    """Seal the staged artifact and put it into its place in one step; returns the folder."""
    progress("publishing", _END)
    seal(stage, manifest)
    folder = publish(stage, destination, force=force)
    progress("done", 1.0)
    return folder


def _copy(artifact: Artifact, stage: Path) -> None:
    """Every file that the manifest lists, but for what is written anew."""
    for name in artifact.manifest.files:
        if name != CARD_NAME:
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artifact.folder / name, stage / name)


def _empty_manifest(eager: Eager, checkpoint: Checkpoint, longest: int, sentence: SentenceSettings) -> Manifest:
    """The manifest of an artifact that has no variant yet."""
    config = eager.config
    return Manifest(
        schema_version=SCHEMA_VERSION,
        bert_onnx=__version__,
        tools={},
        source=checkpoint.source,
        task=eager.task.name,
        options=eager.options,
        config=ModelLimits(
            vocab_size=config.vocab_size,
            max_position_embeddings=config.longest_sequence,
            type_vocab_size=config.type_vocab_size,
            pad_token_id=config.pad_token_id,
            is_decoder=config.is_decoder,
        ),
        model_max_length=longest,
        sentence=sentence,
        inputs=eager.module.inputs,
        outputs=eager.module.outputs,
        variants=(),
    )


def _weight_bytes(eager: Eager) -> int:
    """Bytes of the weights, each counted once: what the disk must have room for at the least."""
    return sum(parameter.numel() * parameter.element_size() for parameter in eager.module.parameters())
