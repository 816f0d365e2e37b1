"""Makes a package of an artifact for a host: checked, written aside, compared, renamed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_onnx.artifact import Artifact
from bert_onnx.artifact.publish.staging import staging_folder
from bert_onnx.errors import ArtifactError, UsageError
from export.hosts.host import Host, Subject
from export.hosts.table import find_host


@dataclass(frozen=True)
class PackageReport:
    """What was made.

    Args:
        host: its row's name.
        folder: the package.
        variant: the graph that it was made from.
        files: bytes of each file, by name.
        difference: see `export.hosts.host.Made`.
        notes: what a user must know.
    """

    host: str
    folder: Path
    variant: str
    files: dict[str, int]
    difference: float | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form for programs."""
        return {**vars(self), "folder": str(self.folder), "notes": list(self.notes)}


def package(
    folder: str | os.PathLike[str], host: str, output: str | os.PathLike[str] | None = None, variant: str | None = None
) -> PackageReport:
    """Make what `host` takes of the artifact in `folder`.

    Args:
        host: a name of the table of hosts.
        output: the package's folder, which must not exist; None: NAME.HOST beside the artifact.
        variant: the graph to package; None: the artifact's first.

    Raises:
        UsageError: no such host, or one that cannot carry the model; the message names the rule; `output` lies inside
            the artifact.
        ArtifactError: the artifact is missing or damaged, has no such variant, or something is at `output`.
        VerificationError: the package would give other vectors; nothing was written.
        StorageError: the disk refuses.
    """
    row = find_host(host)
    artifact = Artifact.open(folder)
    destination = Path(output) if output is not None else _beside(artifact.folder, row)
    if os.path.lexists(destination):
        raise ArtifactError(f"{destination} exists; choose another --output, or remove it.")
    if artifact.folder.resolve() in destination.resolve().parents:
        raise UsageError(
            f"{destination} lies inside the artifact, whose files are all in its manifest; write elsewhere."
        )
    subject = Subject(artifact.folder, artifact.manifest, artifact.variant(variant))
    row.check(subject)
    with staging_folder(destination) as stage:
        made = row.write(subject, stage)
        paths = sorted(path for path in stage.rglob("*") if path.is_file())
        files = {path.relative_to(stage).as_posix(): path.stat().st_size for path in paths}
        os.rename(stage, destination)
    return PackageReport(row.name, destination, subject.variant.name, files, made.difference, made.notes)


def _beside(artifact: Path, host: Host) -> Path:
    whole = artifact.absolute()
    return whole.with_name(f"{whole.name}.{host.name}")
