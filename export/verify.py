"""Verifies a published artifact again: its bytes, every variant against the eager model, and lower ones on text."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from bert_onnx.artifact import Artifact, Parity, Variant
from bert_onnx.errors import VerificationError
from export.evaluation.data import is_built_in
from export.evaluation.gate import GateReport
from export.onnx_file.check import check_file
from export.plan import FP32
from export.precision import LowerPrecision
from export.reference.computed import Expected
from export.reference.from_artifact import checkpoint_of, eager_of
from export.reference.load import Eager
from export.reference.runtime import Reference
from export.report import Progress, no_progress
from export.request import PrecisionRequest
from export.targets import find_target
from export.text_input.build import TextInput, require_text_parity
from export.variant import skips_padding
from export.verification.cases import verification_cases
from export.verification.opening import open_variant
from export.verification.parity import compare, require_parity
from runtimes.engines.base import Runtime


@dataclass(frozen=True)
class VerifyReport:
    """What a verification found.

    Args:
        artifact: what was verified; its hashes are those of its manifest.
        parities: the new verdict of each variant, by name.
        qualities: what the gate found of variants below fp32, by name, with the thresholds of their manifest.
        unjudged: variants that were judged on texts which are not here.
        texts: the new verdict of each graph that takes text, by name.
        warnings: what the user should know.
    """

    artifact: Artifact
    parities: dict[str, Parity]
    qualities: dict[str, GateReport]
    unjudged: tuple[str, ...] = ()
    texts: dict[str, Parity] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON form for programs."""
        return {
            "folder": str(self.artifact.folder),
            "passed": not self.failures(),
            "variants": {name: asdict(parity) for name, parity in self.parities.items()},
            "quality": {name: report.to_dict() for name, report in self.qualities.items()},
            "not_judged": list(self.unjudged),
            "warnings": list(self.warnings),
            "text_graphs": {name: asdict(parity) for name, parity in self.texts.items()},
        }

    def failures(self) -> tuple[str, ...]:
        """Names of variants that did not pass; those that are published as degraded may be below their budget."""
        broken = [name for name, parity in self.parities.items() if not parity.passed or self._is_below(name)]
        return (*broken, *(name for name, parity in self.texts.items() if not parity.passed))

    def raise_if_failed(self) -> None:
        """Raises VerificationError for the first variant that did not pass."""
        for name, parity in self.parities.items():
            require_parity(parity, f"the variant {name}")
            if self._is_below(name):
                report = self.qualities[name]
                raise VerificationError(
                    f"the variant {name} is below its budget on {report.count} texts of {report.texts}: "
                    f"{'; '.join(report.failures)}."
                )

        for name, parity in self.texts.items():
            require_text_parity(parity, name)

    def _is_below(self, name: str) -> bool:
        quality = self.artifact.manifest.variant(name).quality
        degraded = quality is not None and quality.degraded
        return name in self.qualities and not self.qualities[name].passed and not degraded


class _Verdicts(NamedTuple):
    """What is found of variants; the fields are those of VerifyReport."""

    parities: dict[str, Parity]
    qualities: dict[str, GateReport]
    unjudged: tuple[str, ...]
    doubts: tuple[str, ...]


def verify_artifact(
    folder: str,
    model: str | None = None,
    offline: bool = False,
    progress: Progress = no_progress,
    evaluation: str | None = None,
) -> VerifyReport:
    """Check every hash of the artifact in `folder`, then compare each variant with the eager model.

    Args:
        model: where the checkpoint is now; None means where the manifest says it came from.
        offline: use the hub's local cache only.
        evaluation: a file of texts that variants below fp32 are judged on; None for the built-in ones.

    Raises:
        ArtifactError: a file is missing, changed or damaged.
        CheckpointError: the checkpoint cannot be found, or is not the one that the artifact was made from.
        InputError: the texts cannot be used.
    """
    request = PrecisionRequest(evaluation=evaluation)
    progress("checking every file", 0.0)
    artifact = Artifact.open(folder)
    progress("loading the checkpoint", 0.1)
    checkpoint = checkpoint_of(artifact, model, offline)
    eager = eager_of(artifact, checkpoint)
    found = _verify_variants(artifact, eager, request, progress)
    texts = _verify_text_graphs(artifact, eager, progress)
    progress("done", 1.0)
    return VerifyReport(
        artifact, found.parities, found.qualities, found.unjudged, texts, checkpoint.warnings + found.doubts
    )


def _verify_variants(artifact: Artifact, eager: Eager, request: PrecisionRequest, progress: Progress) -> _Verdicts:
    """Every graph against the eager model, and lower precisions on text."""
    parities: dict[str, Parity] = {}
    qualities: dict[str, GateReport] = {}
    unjudged = []
    doubts: tuple[str, ...] = ()
    variants, reference = artifact.manifest.variants, Reference(eager)
    cases = verification_cases(eager.task, eager.config, eager.module.inputs)
    progress("running the eager model", 0.15)
    reference.expect(Expected(case.inputs, len(variants), True) for case in cases)
    lower = LowerPrecision(request, reference, artifact.folder, artifact.manifest.model_max_length)
    for number, variant in enumerate(variants):
        share = 0.2 + 0.8 * number / len(variants)
        path = artifact.path(variant)
        check_file(path)
        with open_variant(path, eager, variant.target, variant.precision) as runtime:
            parities[variant.name] = _compare(runtime, reference, variant, progress, share)
            if variant.precision == FP32:
                continue
            if request.evaluation is None and not _judged_on_ours(variant):
                unjudged.append(variant.name)
                continue
            progress(f"measuring {variant.name} on held-out text", share)
            doubts = lower.texts.doubts_of_evaluation
            qualities[variant.name] = _judge(lower, runtime, variant)
    return _Verdicts(parities, qualities, tuple(unjudged), doubts)


def _verify_text_graphs(artifact: Artifact, eager: Eager, progress: Progress) -> dict[str, Parity]:
    """Their tokenizer against the artifact's, their outputs against those of their variants.

    Raises:
        VerificationError: they make other tokens.
        RuntimeUnavailableError: onnxruntime-extensions is missing.
    """
    manifest = artifact.manifest
    if not manifest.text_graphs:
        return {}
    progress("verifying the graphs that take text", 0.98)
    longest, limits = manifest.model_max_length, eager.config
    text_input = TextInput(artifact.folder, eager.task, longest, limits, manifest.inputs, manifest.outputs)
    return {
        graph.name: text_input.compare(artifact.folder / graph.file, artifact.path(graph.variant), manifest.inputs)
        for graph in manifest.text_graphs
    }


def _compare(runtime: Runtime, reference: Reference, variant: Variant, progress: Progress, share: float) -> Parity:
    eager = reference.eager
    requires = find_target(variant.target).requires
    cases = verification_cases(eager.task, eager.config, eager.module.inputs, requires)
    zeros = skips_padding(variant.fused)

    def on_case(case: str) -> None:
        progress(f"verifying {variant.name}: {case}", share)

    return compare(runtime, reference, cases, variant.precision, on_case, zeros, eager.module.postprocessing)


def _judged_on_ours(variant: Variant) -> bool:
    return variant.quality is None or is_built_in(variant.quality.texts)


def _judge(lower: LowerPrecision, runtime: Runtime, variant: Variant) -> GateReport:
    """The gate's figures, with the thresholds that the variant was published by."""
    dynamic = variant.quantization is not None and variant.quantization.method == "dynamic"
    report = lower.measure(runtime, f"{variant.precision}-dynamic" if dynamic else variant.precision)
    if variant.quality is None:
        return report
    known = {name: limit for name, limit in variant.quality.thresholds.items() if name in report.figures}
    return replace(report, thresholds=known)
