"""Publishes an artifact on a model hub: one commit that brings its files and takes away those of the one before it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_onnx.artifact.contract.names import CARD_NAME, MANIFEST_NAME, is_harmless
from bert_onnx.artifact.contract.opening import Artifact
from bert_onnx.errors import ArtifactError, HubError, UsageError
from bert_onnx.hub.client import api, conversation, download_file, listing, offline_by_environment
from bert_onnx.hub.errors import PUBLISH
from bert_onnx.hub.names import check_revision, is_hub_id


@dataclass(frozen=True)
class Pushed:
    """What a hub has now.

    Args:
        model: `owner/name`.
        commit: pin this as the revision to load exactly what was pushed.
        url: where people look at it.
        files: how many files the artifact has.
    """

    model: str
    commit: str
    url: str
    files: int


def push(folder: str | os.PathLike[str], model: str, *, private: bool = False, revision: str | None = None) -> Pushed:
    """Publish the artifact in `folder` as `model`; the repository and the branch are made where there are none.

    Args:
        folder: what `bert-onnx export` wrote; every file is compared with its sha256 first.
        model: `owner/name`.
        private: only you see the repository; of one that exists nothing changes.
        revision: a branch; None means its main branch.

    Raises:
        UsageError: `model` or `revision` cannot be one.
        ArtifactError: the folder is no artifact, or damaged.
        HubError: the hub cannot be reached, refuses, or has other files there that would be overwritten.
    """
    if "/" not in model or not is_hub_id(model):
        raise UsageError(f"{model!r} is not the name of a repository; give owner/name.")
    check_revision(revision)
    artifact = Artifact.open(folder)
    if offline_by_environment():
        raise HubError("HF_HUB_OFFLINE is set, and publishing needs the hub; unset it.")
    with conversation(model, revision, False, PUBLISH):
        client = api()
        client.create_repo(model, private=private or None, exist_ok=True)
        if revision is not None:
            client.create_branch(model, branch=revision, exist_ok=True)
        names, head = listing(model, revision)
        files = [*artifact.manifest.files, MANIFEST_NAME]
        stale = _stale(model, head, names, files)
        info = client.create_commit(
            model,
            _operations(artifact.folder, files, stale),
            commit_message=f"bert-onnx: {artifact.manifest.task}, {len(artifact.manifest.variants)} graphs",
            revision=revision,
            parent_commit=head,
        )
    return Pushed(model, info.oid, str(info.repo_url), len(files))


def _stale(model: str, commit: str, there: list[str], files: list[str]) -> list[str]:
    """Files of the artifact that is there which the new one does not have.

    Raises:
        HubError: what is there is no artifact, and has files by names of this one's.
    """
    if MANIFEST_NAME not in there:
        taken = sorted(set(there) & set(files) - {CARD_NAME})
        if taken:
            raise HubError(
                f"{model} holds {taken[0]}, which no artifact has put there, and pushing would overwrite it; push to "
                "a repository of its own."
            )
        return []
    try:
        listed = json.loads(download_file(model, commit, MANIFEST_NAME).read_bytes())["files"]
        known = set(listed) & set(there)
    except (ValueError, LookupError, TypeError) as error:
        raise HubError(f"the {MANIFEST_NAME} of {model} is not an artifact's; push to another repository.") from error
    return sorted(name for name in known - set(files) if not is_harmless(name))


def _operations(folder: Path, files: list[str], stale: list[str]) -> list[Any]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    for name in files:
        if not os.path.isfile(folder / name):
            raise ArtifactError(f"{folder / name} is missing; the artifact was changed meanwhile.")
    return [
        *(CommitOperationAdd(name, os.path.realpath(folder / name)) for name in sorted(files)),
        *(CommitOperationDelete(name) for name in stale),
    ]
