"""Verifies a published artifact again: its bytes, and every variant against the eager model of its checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bert_onnx.artifact import Artifact, Parity, Variant
from bert_onnx.errors import ArtifactError, CheckpointError, VerificationError
from bert_onnx.source import Source
from bert_onnx.tasks import find_task
from bert_onnx.weights import Checkpoint, find_checkpoint
from export.build import skips_padding
from export.cases import verification_cases
from export.check_file import check_file
from export.load_model import Eager, load_eager
from export.reference import eager_runtime, input_limits
from export.request import Progress, no_progress
from export.targets import find_target
from export.verify import compare, require_parity
from runtimes.onnxruntime import OnnxRuntimeCpu


@dataclass(frozen=True)
class VerifyReport:
    """What a verification found.

    Args:
        artifact: what was verified; its hashes are those of its manifest.
        parities: the new verdict of each variant, by name.
    """

    artifact: Artifact
    parities: dict[str, Parity]

    def to_dict(self) -> dict[str, Any]:
        """JSON form for programs."""
        return {
            "folder": str(self.artifact.folder),
            "passed": all(parity.passed for parity in self.parities.values()),
            "variants": {name: asdict(parity) for name, parity in self.parities.items()},
        }

    def raise_if_failed(self) -> None:
        """Raises VerificationError for the first variant that did not pass."""
        for name, parity in self.parities.items():
            require_parity(parity, f"the variant {name}")


def verify_artifact(
    folder: str, model: str | None = None, offline: bool = False, progress: Progress = no_progress
) -> VerifyReport:
    """Check every hash of the artifact in `folder`, then compare each variant with the eager model.

    Args:
        model: where the checkpoint is now; None means where the manifest says it came from.
        offline: use the hub's local cache only.

    Raises:
        ArtifactError: a file is missing, changed or damaged.
        CheckpointError: the checkpoint cannot be found, or is not the one that the artifact was made from.
    """
    progress("checking every file", 0.0)
    artifact = Artifact.open(folder)
    progress("loading the checkpoint", 0.1)
    eager = _eager_of(artifact, model, offline)
    parities = {}
    for number, variant in enumerate(artifact.manifest.variants):
        share = 0.2 + 0.8 * number / len(artifact.manifest.variants)

        def on_case(case: str, share: float = share, variant: Variant = variant) -> None:
            progress(f"verifying {variant.name}: {case}", share)

        path = artifact.path(variant)
        check_file(path)
        with OnnxRuntimeCpu.open(
            path, eager.module.inputs, eager.module.outputs, limits=input_limits(eager)
        ) as runtime:
            requires = find_target(variant.target).requires
            cases = verification_cases(eager.task, eager.config, eager.module.inputs, requires)
            parities[variant.name] = compare(
                runtime, eager_runtime(eager), cases, variant.precision, on_case, skips_padding(variant.fused)
            )
    progress("done", 1.0)
    return VerifyReport(artifact, parities)


def _eager_of(artifact: Artifact, model: str | None, offline: bool) -> Eager:
    """The eager model of the checkpoint that `artifact` was made from.

    Raises:
        CheckpointError, HubError: it cannot be found.
        VerificationError: another one was found.
        ArtifactError: the manifest states ports that the checkpoint does not give.
    """
    manifest = artifact.manifest
    checkpoint = _find_again(manifest.source, model, offline)
    found, recorded = checkpoint.source, manifest.source
    if found.weights_sha256 != recorded.weights_sha256:
        raise VerificationError(
            f"the weights of {found.model} (sha256 {found.weights_sha256[:12]}...) are not those that "
            f"{artifact.folder} was made from (sha256 {recorded.weights_sha256[:12]}...); "
            "name the right checkpoint with --checkpoint, or export again."
        )
    eager = load_eager(checkpoint, find_task(manifest.task), manifest.options, allow_new_heads=True)
    if (eager.module.inputs, eager.module.outputs) != (manifest.inputs, manifest.outputs):
        raise ArtifactError(
            f"the inputs and outputs in {artifact.folder} are not those of its checkpoint; export again."
        )
    return eager


def _find_again(source: Source, model: str | None, offline: bool) -> Checkpoint:
    """The checkpoint that `source` describes, or that `model` names in its place."""
    if model is None and source.kind == "folder" and not Path(source.model).is_dir():
        raise CheckpointError(
            f"the artifact was made from a folder called {source.model!r}; "
            "say where it is now with --checkpoint FOLDER."
        )
    revision = source.revision if model is None else None
    return find_checkpoint(model or source.model, revision=revision, offline=offline, random_seed=source.seed)
