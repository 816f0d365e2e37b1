"""May an artifact be published here? What --force replaces, and what it never deletes."""

from __future__ import annotations

import os
from pathlib import Path

from bert_onnx.artifact.contract import journal
from bert_onnx.artifact.contract.checks import unlisted_files
from bert_onnx.artifact.contract.decode import load_object
from bert_onnx.artifact.contract.names import MANIFEST_NAME, is_dropping, printable
from bert_onnx.errors import ArtifactError

# A damaged manifest may be replaced too, if it is recognisably ours: many programs have a manifest.json.
_SIGNATURE = b'"bert_onnx"'


def resolve_destination(destination: str | os.PathLike[str]) -> Path:
    """`destination` as an absolute path without links, so that its siblings lie on the same disk."""
    return Path(os.path.realpath(destination))


def check_destination(destination: str | os.PathLike[str], force: bool) -> Path:
    """Whether an artifact may be published at `destination`; ask before the expensive work. Returns it resolved.

    Without `force` nothing may be there. With it, what is there must be an artifact with nothing of somebody else's
    in it, or an empty folder.

    Raises:
        ArtifactError: something is in the way.
    """
    target = resolve_destination(destination)
    journal.finish(target)
    if not os.path.lexists(target):
        return target
    if not target.is_dir():
        raise ArtifactError(f"{target} exists and is not a folder; choose another output folder.")
    if os.path.ismount(target):
        raise ArtifactError(f"{target} is a mount point, which cannot be replaced; choose a folder inside it.")
    if not force:
        raise ArtifactError(f"{target} exists; choose another output folder, or replace it with --force.")
    try:
        _check_replaceable(target)
    except OSError as error:
        raise ArtifactError(f"{target} cannot be read ({error.strerror}); choose another output folder.") from error
    return target


def _check_replaceable(target: Path) -> None:
    """--force deletes what is there, so it must be ours.

    Raises:
        ArtifactError: it is not.
        OSError: it cannot be read.
    """
    if not os.listdir(target):
        return
    path = target / MANIFEST_NAME
    text = path.read_bytes() if path.is_file() else b""
    if _SIGNATURE not in text:
        raise ArtifactError(f"{target} holds something that is not an artifact, which --force does not replace.")
    try:
        listed = set(load_object(text, str(path)).get("files", ()))
    except (ArtifactError, TypeError):
        return  # damaged, so that it cannot say what belongs to it
    unknown = unlisted_files(target, listed, is_dropping)
    if unknown:
        raise ArtifactError(
            f"{target} holds {printable(unknown[0])}, "
            "which is not part of the artifact and would be lost; move it away first."
        )
