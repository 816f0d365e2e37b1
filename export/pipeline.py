"""The story from a checkpoint to a published artifact, top to bottom. Nothing is published unverified."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial

import bert_onnx
from bert_onnx.artifact import SCHEMA_VERSION, Artifact, Manifest, ModelLimits, TextGraph, Variant
from bert_onnx.artifact.publish import check_destination, publish, seal, staging_folder
from bert_onnx.checkpoint import find_checkpoint
from bert_onnx.checkpoint.finding import with_digest
from bert_onnx.source import Source
from export.artifact_files import write_companions
from export.plan import variant_plans
from export.precision import LowerPrecision
from export.reference.load import Eager, choose_task, load_eager
from export.reference.prefetch import AnswersAhead, answers_ahead
from export.reference.runtime import input_limits, reference_for
from export.report import ExportReport, tool_versions
from export.request import ExportRequest, Progress, no_progress, within
from export.text_input.build import TextInput, check_text_input
from export.variant import BuildOptions, VariantBuilder
from export.verification.vectors import write_vectors
from runtimes.background import Background


def export(
    request: ExportRequest, progress: Progress = no_progress, started: AnswersAhead | None = None
) -> ExportReport:
    """Make, verify and publish the artifact that `request` describes.

    Args:
        request: see there.
        progress: called as steps begin.
        started: a process that waits to compute eager answers, see `start_early`.

    Raises:
        BertOnnxError: one of its kinds; whatever was published before is untouched.
    """
    begun = time.monotonic()
    destination = check_destination(request.destination, request.force)
    progress("finding the checkpoint", 0.0)
    checkpoint = find_checkpoint(
        request.model, revision=request.revision, offline=request.offline, random_seed=request.random_seed, digest=False
    )
    hashing = Background(partial(with_digest, checkpoint))
    task, options = choose_task(request, checkpoint)
    if request.text_input:
        check_text_input(task)
    with ExitStack() as stack:
        ahead = stack.enter_context(answers_ahead(checkpoint, task, options, request.allow_new_heads, started))
        progress("loading the weights", 0.05)
        eager = load_eager(checkpoint, task, options, allow_new_heads=request.allow_new_heads)
        stage = stack.enter_context(staging_folder(destination, needed=_weight_bytes(eager)))
        longest, warnings = write_companions(stage, checkpoint, eager.config, task, options)
        if ahead is not None:
            ahead.ask_vectors(stage, longest)
        text_input = None
        if request.text_input:
            progress("comparing the tokenizer in the graph", 0.1)
            text_input = TextInput(stage, task, longest, input_limits(eager), eager.module.outputs)
        (stage / "onnx").mkdir()
        reference = reference_for(eager, ahead)
        lower = LowerPrecision(request.precision, eager, reference, stage, longest)
        writing = BuildOptions(request.external_data_threshold, request.check_each_pass)
        builder = VariantBuilder(eager, reference, lower, stage / "onnx", writing)
        plans = variant_plans(request.targets, request.precision)
        built = builder.build_all(plans, request.opset, within(progress, 0.15, 0.97))
        variants = tuple(one.variant for one in built)
        text_graphs = text_input.add(variants, eager.module.inputs) if text_input is not None else ()
        write_vectors(stage, reference, input_limits(eager), longest, variants)
        progress("publishing", 0.97)
        seal(stage, _manifest(eager, hashing.result().source, longest, variants, text_graphs))
        folder = publish(stage, destination, force=request.force)
    progress("done", 1.0)
    artifact = Artifact.open(folder, check_hashes=False)  # written and hashed a moment ago, by us
    warnings += tuple(warning for one in built for warning in one.warnings)
    return ExportReport(artifact, eager.warnings + warnings, time.monotonic() - begun)


def _manifest(
    eager: Eager,
    source: Source,
    longest: int,
    variants: tuple[Variant, ...],
    text_graphs: tuple[TextGraph, ...],
) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        bert_onnx=bert_onnx.__version__,
        tools=tool_versions(text_input=bool(text_graphs)),
        source=source,
        task=eager.task.name,
        options=eager.options,
        config=_limits(eager),
        model_max_length=longest,
        inputs=eager.module.inputs,
        outputs=eager.module.outputs,
        variants=variants,
        text_graphs=text_graphs,
    )


def _weight_bytes(eager: Eager) -> int:
    """Bytes of the weights, each counted once: what the disk must have room for at the least."""
    return sum(parameter.numel() * parameter.element_size() for parameter in eager.module.parameters())


def _limits(eager: Eager) -> ModelLimits:
    config = eager.config
    return ModelLimits(
        vocab_size=config.vocab_size,
        max_position_embeddings=config.max_position_embeddings,
        type_vocab_size=config.type_vocab_size,
        pad_token_id=config.pad_token_id,
        is_decoder=config.is_decoder,
    )
