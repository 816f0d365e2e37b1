"""From a published artifact back to the eager model that it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bert_onnx.artifact import Artifact
from bert_onnx.checkpoint import Checkpoint, find_checkpoint
from bert_onnx.errors import ArtifactError, CheckpointError, VerificationError
from bert_onnx.source import Source
from bert_onnx.tasks import find_task

if TYPE_CHECKING:
    from export.reference.load import Eager


def checkpoint_of(artifact: Artifact, model: str | None, offline: bool) -> Checkpoint:
    """The checkpoint that `artifact` was made from.

    Args:
        model: where it is now; None means where the manifest says.
        offline: use the hub's local cache only.

    Raises:
        CheckpointError, HubError: it cannot be found.
        VerificationError: another one was found.
    """
    recorded = artifact.manifest.source
    checkpoint = find_again(recorded, model, offline)
    found = checkpoint.source
    if found.weights_sha256 != recorded.weights_sha256:
        raise VerificationError(
            f"the weights of {found.model} (sha256 {found.weights_sha256[:12]}...) are not those that "
            f"{artifact.folder} was made from (sha256 {recorded.weights_sha256[:12]}...); "
            "name the right checkpoint with --checkpoint, or export again."
        )
    return checkpoint


def eager_of(artifact: Artifact, checkpoint: Checkpoint) -> Eager:
    """The eager model of `artifact`, with the weights of `checkpoint`.

    Raises:
        ArtifactError: the manifest states ports that the checkpoint does not give.
    """
    from export.reference.load import load_eager  # late: finding the checkpoint needs no torch

    manifest = artifact.manifest
    eager = load_eager(checkpoint, find_task(manifest.task), manifest.options, allow_new_heads=True)
    if (eager.module.inputs, eager.module.outputs) != (manifest.inputs, manifest.outputs):
        raise ArtifactError(
            f"the inputs and outputs in {artifact.folder} are not those of its checkpoint; export again."
        )
    return eager


def find_again(source: Source, model: str | None, offline: bool, digest: bool = True) -> Checkpoint:
    """The checkpoint that `source` describes, or that `model` names in its place.

    Args:
        model: where it is now; None means where `source` says.
        offline: use the hub's local cache only.
        digest: hash its weights, too.

    Raises:
        CheckpointError, ConfigError, HubError: it cannot be found.
    """
    if model is None and source.kind == "folder" and not Path(source.model).is_dir():
        raise CheckpointError(
            f"the artifact was made from a folder called {source.model!r}; "
            "say where it is now with --checkpoint FOLDER."
        )
    revision = source.revision if model is None else None
    return find_checkpoint(
        model or source.model, revision=revision, offline=offline, random_seed=source.seed, digest=digest
    )
