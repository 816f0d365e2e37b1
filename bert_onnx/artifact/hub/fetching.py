"""From what a user names to an artifact's folder: a local one, or a hub's, in huggingface_hub's cache.

Of a repository on a hub the manifest comes first. It says which files there are and which of them are graphs, so that
of the graphs only those are downloaded that are opened: tokenizer, config and card at once, a graph (with its external
data) when it has been chosen.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bert_onnx.artifact.contract import journal
from bert_onnx.artifact.contract.checks import read_manifest
from bert_onnx.artifact.contract.hashing import hash_files
from bert_onnx.artifact.contract.links import in_cache
from bert_onnx.artifact.contract.manifest import Manifest
from bert_onnx.artifact.contract.names import MANIFEST_NAME
from bert_onnx.artifact.contract.opening import Artifact
from bert_onnx.errors import ArtifactError, HubError, UsageError
from bert_onnx.hub.client import (
    cached,
    conversation,
    download,
    download_file,
    listing,
    offline_by_environment,
)
from bert_onnx.hub.errors import FETCH_ARTIFACT
from bert_onnx.hub.names import check_revision, is_hub_id

#: A branch that moves while it is fetched is fetched again, so often.
_ATTEMPTS = 3


def find_artifact(
    model: str | os.PathLike[str], revision: str | None = None, offline: bool = False, *, whole: bool = False
) -> Path:
    """The folder of the artifact that `model` names.

    What exists here wins; a string `owner/name` that does not is looked for on a hub. Paths are never looked for there.

    Args:
        revision: branch, tag or commit on the hub; None means its main branch.
        offline: look into the hub's local cache only; HF_HUB_OFFLINE says the same.
        whole: fetch all graphs; else none, `fetch_graph` fetches those that are opened.

    Raises:
        UsageError: a revision of a folder, or one that cannot be one.
        HubError: the hub cannot be reached, refuses, or has no such artifact.
        StorageError: the cache cannot be written.
    """
    folder = Path(model)
    local = not isinstance(model, str) or "/" not in model or not is_hub_id(model)
    if local or os.path.lexists(folder) or journal.staged_folder(folder) is not None:
        if revision is not None:
            raise UsageError(f"revision {revision!r} fits artifacts on a hub only, and {model} is not one.")
        return folder
    check_revision(revision)
    offline = offline or offline_by_environment()
    try:
        with conversation(str(model), revision, offline, FETCH_ARTIFACT):
            return _from_cache(str(model), revision, whole) if offline else _from_hub(str(model), revision, whole)
    except HubError as error:
        raise HubError(f"there is no folder {model} here, and {error}") from error


def fetch_graph(artifact: Artifact, names: Iterable[str | None], offline: bool) -> None:
    """Download those of an artifact's files `names` that the hub's cache lacks, and compare them with the manifest.

    Raises:
        HubError: the hub cannot be reached, lacks a file, or is not to be asked.
        ArtifactError: what came is not what the manifest records.
    """
    missing = [name for name in names if name is not None and not os.path.lexists(artifact.folder / name)]
    place = in_cache(artifact.folder)
    if not missing or place is None:
        return
    if offline or offline_by_environment():
        raise HubError(f"the cache lacks {missing[0]} of {place.model}; run once without --offline.")
    with conversation(place.model, place.commit, False, FETCH_ARTIFACT):
        download(place.model, place.commit, missing, str(place.cache))
    for name in missing:
        if not os.path.lexists(artifact.folder / name):
            raise HubError(f"{place.model} lacks {name}, which its manifest lists; push the artifact again.")
    measured = hash_files([artifact.folder / name for name in missing])
    for name in missing:
        if measured[artifact.folder / name] != artifact.manifest.files[name]:
            raise ArtifactError(f"{name} of {place.model} is not what its manifest records (its sha256 differs).")


def _from_hub(model: str, revision: str | None, whole: bool) -> Path:
    for _ in range(_ATTEMPTS):
        names, commit = listing(model, revision)
        place = download_file(model, commit, MANIFEST_NAME).parent if MANIFEST_NAME in names else None
        wanted = _wanted(_manifest(place, model), whole)
        folder = download(model, revision, sorted(wanted & set(names)))
        if folder.name == commit:
            return folder
    raise HubError(f"{model} changes faster than it can be fetched; name a commit of it as the revision.")


def _from_cache(model: str, revision: str | None, whole: bool) -> Path:
    folder = cached(model, revision)
    manifest = _manifest(folder if os.path.lexists(folder / MANIFEST_NAME) else None, model)
    lacks = sorted(name for name in _wanted(manifest, whole) if not os.path.lexists(folder / name))
    if lacks:
        raise HubError(f"the cache lacks {lacks[0]} of {model}; run once without --offline.")
    return folder


def _manifest(folder: Path | None, model: str) -> Manifest:
    """Raises HubError where `folder` holds no artifact, or None says that there is no manifest at all."""
    reason = f"it has no {MANIFEST_NAME}"
    if folder is not None:
        try:
            return read_manifest(folder)
        except ArtifactError as error:
            reason = str(error).rstrip(".")
    raise HubError(f"{model} holds no artifact of bert-onnx ({reason}); make one with `bert-onnx export {model}`.")


def _wanted(manifest: Manifest, whole: bool) -> set[str]:
    return {MANIFEST_NAME, *(manifest.files if whole else manifest.files.keys() - manifest.graph_files)}
