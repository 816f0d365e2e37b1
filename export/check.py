"""Refuses wrong requests before torch, onnx or a runtime is imported: in a fraction of a second.

The stories import all of them at their top. So the command line calls a function of this module first, and imports the
story afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bert_onnx.artifact import Artifact
from bert_onnx.artifact.publish import check_destination
from bert_onnx.checkpoint import find_checkpoint, read_settings, tensor_names
from bert_onnx.checkpoint.cross_encoder import read_prompts
from bert_onnx.config import BertConfig
from bert_onnx.errors import ArtifactError, UsageError
from bert_onnx.sentence_modules import is_sparse
from bert_onnx.sentence_settings import SentenceSettings
from bert_onnx.tasks import find_task
from export.plan import check_cache
from export.reference.from_artifact import find_again
from export.reference.prefetch import ReferenceLoader
from export.reference.task_choice import choose_task
from export.request import ExportRequest, ExtendRequest, PrecisionRequest
from export.targets import check_opset, find_target
from export.text_input.check import check_text_input
from runtimes.engines.table import RUNTIMES, RuntimeRow, find_runtime


@dataclass(frozen=True)
class CheckedExport:
    """What an export begins with.

    Args:
        destination: the folder to publish to, resolved.
        load: makes the eager model; it knows the checkpoint, not yet hashed, the task and its options.
        sentence: prompts, similarity and length of vectors.
    """

    destination: Path
    load: ReferenceLoader
    sentence: SentenceSettings


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
    check_cache(map(find_target, request.targets), task, checkpoint.config)
    sentence = SentenceSettings()
    if task.name == "text-ranking":
        sentence = read_prompts(checkpoint)
    elif task.embedding:
        sentence = read_settings(checkpoint, is_sparse(options.modules))
    if request.text_input:
        check_text_input(task, options)
    load = ReferenceLoader(checkpoint, task, options, request.allow_new_heads, request.strict_weights)
    return CheckedExport(destination, load, sentence)


def check_extend(request: ExtendRequest) -> None:
    """Refuse an artifact that is damaged, or whose checkpoint is gone, or targets that do not serve its task.

    Raises:
        UsageError: a target that does not serve the task.
        ArtifactError, CheckpointError, HubError: naming what is missing.
    """
    artifact = Artifact.open(request.folder, check_hashes=False)
    check_destination(request.folder, force=True)
    task, config = find_task(artifact.manifest.task), BertConfig.from_pretrained(artifact.folder)
    check_cache(map(find_target, request.targets), task, config)
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
