"""The story from a checkpoint to a published artifact, top to bottom. Nothing is published unverified."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx_ir as ir

import bert_onnx
from bert_onnx.artifact import (
    SCHEMA_VERSION,
    Artifact,
    Manifest,
    ModelLimits,
    Variant,
    check_destination,
    publish,
    seal,
    staging_folder,
)
from bert_onnx.weights import find_checkpoint
from export.build import BuildPlan, build_variant
from export.companions import write_companions
from export.load_model import Eager, choose_task, load_eager
from export.reference import input_limits, prepared_reference
from export.request import ExportRequest, Progress, no_progress
from export.targets import TARGETS, Target
from export.tracer import trace
from export.vectors import write_vectors
from runtimes.base import Runtime

REFERENCE_TARGET = "portable"

#: Packages whose versions the manifest records: those that had a hand in the bytes or in the verdict.
_TOOLS = ("torch", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "numpy", "tokenizers")


@dataclass(frozen=True)
class ExportReport:
    """What an export did.

    Args:
        artifact: the published artifact.
        warnings: what the user should know.
        seconds: wall time.
    """

    artifact: Artifact
    warnings: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON form for programs."""
        return {
            "folder": str(self.artifact.folder),
            "seconds": round(self.seconds, 3),
            "warnings": list(self.warnings),
            "manifest": json.loads(self.artifact.manifest.to_json()),
        }


def export(request: ExportRequest, progress: Progress = no_progress) -> ExportReport:
    """Make, verify and publish the artifact that `request` describes.

    Raises:
        BertOnnxError: one of its kinds; whatever was published before is untouched.
    """
    started = time.monotonic()
    destination = check_destination(request.destination, request.force)
    progress("finding the checkpoint", 0.0)
    checkpoint = find_checkpoint(
        request.model, revision=request.revision, offline=request.offline, random_seed=request.random_seed
    )
    task, options = choose_task(request, checkpoint)
    progress("loading the weights", 0.05)
    eager = load_eager(checkpoint, task, options, allow_new_heads=request.allow_new_heads)
    with staging_folder(destination, needed=_weight_bytes(eager)) as stage:
        longest, warnings = write_companions(stage, checkpoint, eager.config, task, options)
        with prepared_reference(eager, checkpoint, request.allow_new_heads) as reference:
            variants = _build_variants(request, eager, reference, stage, progress)
            write_vectors(stage, reference, input_limits(eager), longest, variants)
        progress("publishing", 0.97)
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            bert_onnx=bert_onnx.__version__,
            tools={name: version(name) for name in _TOOLS} | {"python": platform.python_version()},
            source=checkpoint.source,
            task=task.name,
            options=options,
            config=_limits(eager),
            model_max_length=longest,
            inputs=eager.module.inputs,
            outputs=eager.module.outputs,
            variants=variants,
        )
        manifest = seal(stage, manifest)
        folder = publish(stage, destination, force=request.force)
    progress("done", 1.0)
    artifact = Artifact.open(folder, check_hashes=False)  # written and hashed a moment ago, by us
    return ExportReport(artifact, eager.warnings + warnings, time.monotonic() - started)


def _build_variants(
    request: ExportRequest, eager: Eager, reference: Runtime, stage: Path, progress: Progress
) -> tuple[Variant, ...]:
    """The portable graph, then one for each further target, each verified."""
    folder = stage / "onnx"
    folder.mkdir()
    targets = [TARGETS[REFERENCE_TARGET]]
    targets += [TARGETS[name] for name in dict.fromkeys(request.targets) if name != REFERENCE_TARGET]
    share = 0.82 / len(targets)
    traced: dict[int, ir.Model] = {}
    variants = []
    for number, target in enumerate(targets):
        begin = 0.15 + number * share
        opset = request.opset or target.opset
        progress(f"tracing for {target.name}", begin)
        if opset not in traced:
            traced[opset] = trace(eager.module, opset)
        plan = BuildPlan(_variant_name(target), target, opset, request.external_data_threshold, request.check_each_pass)

        def on_case(case: str, at: float = begin + 0.7 * share, target: Target = target) -> None:
            progress(f"verifying {target.name}: {case}", at)

        variants.append(build_variant(traced[opset], eager, reference, plan, folder, on_case))
    return tuple(variants)


def _variant_name(target: Target) -> str:
    return "model" if target.name == REFERENCE_TARGET else f"model_{target.name.replace('-', '_')}"


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
