"""Texts to vectors, whatever holds them: a file to a file (`embed_files`), a folder to a folder of parts (`scale`)."""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass, field
from pathlib import Path

from runtimes.embed_files.job import EmbedReport, EmbedRequest, embed_file
from runtimes.pipelines.sentences import EmbeddingOptions
from runtimes.scale.job import embed_folder
from runtimes.scale.request import FolderReport, FolderRequest
from runtimes.selection.request import RuntimeRequest


@dataclass(frozen=True)
class FolderOptions:
    """What jobs on folders have alone, as `FolderRequest` (`format`: its suffix); None where nothing was said."""

    engine: str | None = None
    address: str | None = None
    workers: int | None = None
    partitions: int | None = None
    format: str | None = None


@dataclass(frozen=True)
class EmbedJob:
    """What to embed, and how.

    Args:
        source, output: files, or folders at any address.
        folders: one that is given makes the output a folder.
        artifact, column, resume, force, runtime, embedding, queries: as `FolderRequest`.
    """

    artifact: Path
    source: str
    output: str
    column: str | None = None
    resume: bool = False
    force: bool = False
    runtime: RuntimeRequest = field(default_factory=RuntimeRequest)
    embedding: EmbeddingOptions = field(default_factory=EmbeddingOptions)
    queries: bool = False
    folders: FolderOptions = field(default_factory=FolderOptions)

    @property
    def makes_folder(self) -> bool:
        """Whether the output is a folder of parts; else it is one file."""
        places = (self.source, self.output)
        return (
            any(option is not None for option in astuple(self.folders))
            or any("://" in place for place in places)
            or any(place.endswith(os.sep) or os.path.isdir(place) for place in places)
        )


def embed(job: EmbedJob, progress: bool | None = None) -> EmbedReport | FolderReport:
    """Embed the texts of `job`. Raises what `embed_file` and `embed_folder` raise."""
    return _embed_folder(job, progress) if job.makes_folder else _embed_file(job, progress)


def _embed_folder(job: EmbedJob, progress: bool | None) -> FolderReport:
    folders = job.folders
    request = FolderRequest(
        job.artifact,
        job.source,
        job.output,
        job.column,
        suffix=f".{folders.format or 'parquet'}",
        engine=folders.engine or "local",
        address=folders.address,
        workers=folders.workers,
        partitions=folders.partitions,
        resume=job.resume,
        force=job.force,
        runtime=job.runtime,
        embedding=job.embedding,
        queries=job.queries,
    )
    return embed_folder(request, progress)


def _embed_file(job: EmbedJob, progress: bool | None) -> EmbedReport:
    runtime = job.runtime
    request = EmbedRequest(
        job.artifact,
        Path(job.source),
        Path(job.output),
        job.column,
        job.resume,
        job.force,
        variant=runtime.variant,
        runtime=runtime.runtime,
        precision=runtime.precision,
        threads=runtime.threads,
        offline=runtime.offline,
        embedding=job.embedding,
        queries=job.queries,
    )
    return embed_file(request, progress)
