"""Refuses wrong requests before torch, onnx or a runtime is imported: in a fraction of a second.

The stories import all of them at their top. So the command line calls a function of this module first, and imports the
story afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bert_onnx.artifact import Artifact
from bert_onnx.artifact.publish import check_destination
from bert_onnx.checkpoint import Checkpoint, Pooling, find_checkpoint, read_pooling, tensor_names
from bert_onnx.checkpoint.names import POOLER_WEIGHT, canonical
from bert_onnx.errors import ArtifactError, CheckpointError, UsageError
from bert_onnx.postprocess import postprocess_of
from bert_onnx.tasks import POOLINGS, Task, TaskOptions, find_task, infer_task
from export.reference.from_artifact import find_again
from export.request import AUTO, ExportRequest, ExtendRequest, PrecisionRequest
from export.targets import check_opset, find_target
from export.text_input.check import check_text_input
from runtimes.engines.table import RUNTIMES, RuntimeRow, find_runtime


@dataclass(frozen=True)
class CheckedExport:
    """What an export begins with.

    Args:
        destination: the folder to publish to, resolved.
        checkpoint: with its weights found and not yet hashed.
        task, options: what the graphs compute.
    """

    destination: Path
    checkpoint: Checkpoint
    task: Task
    options: TaskOptions


def check_export(request: ExportRequest) -> CheckedExport:
    """Find the checkpoint of `request` and decide on the task; a model of a hub is downloaded here.

    Raises:
        ArtifactError: something is in the way.
        UsageError, ConfigError, CheckpointError, HubError: as `find_checkpoint` and `choose_task`; a weight file whose
            header is damaged.
        RuntimeUnavailableError: a library that graphs with text input need is missing.
    """
    destination = check_destination(request.destination, request.force)
    checkpoint = find_checkpoint(
        request.model, revision=request.revision, offline=request.offline, random_seed=request.random_seed, digest=False
    )
    tensor_names(checkpoint)
    task, options = choose_task(request, checkpoint)
    if request.text_input:
        check_text_input(task)
    return CheckedExport(destination, checkpoint, task, options)


def choose_task(request: ExportRequest, checkpoint: Checkpoint) -> tuple[Task, TaskOptions]:
    """The task and its options: what was asked for, else what the checkpoint says, else mean and normalised.

    Raises:
        UsageError: `auto` cannot tell, or the task has no postprocess outputs and they were asked for.
        CheckpointError: the checkpoint's pooling is damaged, or one that we do not compute.
    """
    stated = _stated_pooling(request, checkpoint) if request.task in (AUTO, "sentence-similarity") else None
    pooled = stated is not None or request.pooling is not None
    task = infer_task(checkpoint.config, pooled) if request.task == AUTO else find_task(request.task)
    pooling = request.pooling or (stated.mode if stated else POOLINGS[0])
    if request.postprocess:
        postprocess_of(task.name, checkpoint.config)
    normalize = request.normalize if request.normalize is not None else (stated.normalize if stated else True)
    return task, TaskOptions(
        pooling=pooling,
        normalize=normalize,
        pooler=task.name == "feature-extraction" and _has_pooler(checkpoint),
        output_attentions=request.output_attentions,
        output_hidden_states=request.output_hidden_states,
        postprocess=request.postprocess,
    )


def check_extend(request: ExtendRequest) -> None:
    """Refuse an artifact that is damaged, or whose checkpoint is gone.

    Raises:
        ArtifactError, CheckpointError, HubError: naming what is missing.
    """
    artifact = Artifact.open(request.folder, check_hashes=False)
    check_destination(request.folder, force=True)
    find_again(artifact.manifest.source, request.checkpoint, request.offline, digest=False)


def check_verify(folder: str, model: str | None, offline: bool, evaluation: str | None) -> None:
    """The same for `bert-onnx verify`, whose arguments these are.

    Raises:
        InputError: there is no file `evaluation`.
        ArtifactError, CheckpointError, HubError: naming what is missing.
    """
    PrecisionRequest(evaluation=evaluation)
    artifact = Artifact.open(folder, check_hashes=False)
    find_again(artifact.manifest.source, model, offline, digest=False)


def check_matrix(folder: str, runtimes: str) -> None:
    """The same for `bert-onnx verify --runtimes`.

    Raises:
        UsageError: a runtime that does not exist.
        ArtifactError: the artifact in `folder` is missing or damaged.
    """
    chosen_rows(runtimes)
    Artifact.open(folder, check_hashes=False)


def chosen_rows(runtimes: str) -> list[RuntimeRow]:
    """The rows of `runtimes`: `all`, or names of the table with commas.

    Raises:
        UsageError: a runtime that does not exist.
    """
    if runtimes == "all":
        return list(RUNTIMES.values())
    names = [name.strip() for name in runtimes.split(",") if name.strip()]
    if not names:
        raise UsageError("--runtimes is empty; give all, or names with commas.")
    return [find_runtime(name) for name in names]


def check_optimize(
    source: Path, destination: Path, target: str, heads: int | None, hidden: int | None, opset: int | None
) -> None:
    """Refuse what `optimize` cannot do whatever is in the graph; the arguments are its own.

    Raises:
        UsageError: an unknown target or opset, options that do not fit together, no folder to write to.
        ArtifactError: there is no file `source`.
    """
    check_opset(opset or find_target(target).opset)
    if not source.is_file():
        raise ArtifactError(f"{source} does not exist; name an .onnx file.")
    if destination.resolve() == source.resolve():
        raise UsageError("the output is the input; name another file: the input is left untouched.")
    if not destination.parent.is_dir():
        raise UsageError(f"the folder {destination.parent} does not exist; make it, or name another file.")
    if (heads is None) != (hidden is None):
        raise UsageError("--heads and --hidden belong together; give both or neither.")
    if heads is not None and hidden is not None and (heads < 1 or hidden < 1 or hidden % heads):
        raise UsageError(f"--hidden {hidden} cannot be split into --heads {heads}.")


def check_graph_file(path: Path) -> None:
    """Raises ArtifactError where there is no file `path`."""
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist; name an artifact folder or an .onnx file.")


def _stated_pooling(request: ExportRequest, checkpoint: Checkpoint) -> Pooling | None:
    """What the checkpoint says of its pooling; a pooling that we do not compute matters only if it is to be used."""
    try:
        return read_pooling(checkpoint)
    except CheckpointError:
        if request.pooling is None:
            raise
        return None


def _has_pooler(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint has a trained pooler; a random model always has one."""
    if checkpoint.source.kind == "random":
        return True
    return any(canonical(name) == POOLER_WEIGHT for name in tensor_names(checkpoint))
