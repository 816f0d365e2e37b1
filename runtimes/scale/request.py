"""What is asked of a job on folders, checked before anything is opened, and what it reports."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bert_onnx.errors import UsageError
from runtimes.embed_files.outputs import SUFFIXES as FILES
from runtimes.pipelines.batches import BatchOptions
from runtimes.pipelines.options import check_count
from runtimes.pipelines.sentences import EmbeddingOptions
from runtimes.scale.part_files import FORMATS
from runtimes.selection.request import RuntimeRequest

#: Rows of a part where nobody says how many partitions there are.
PART_ROWS = 32_768


@dataclass(frozen=True)
class FolderRequest:
    """What to embed, and where.

    Args:
        artifact: folder of a model; workers on other machines open it under the same path.
        source: a folder of .parquet or .jsonl, or one such file: a path or an address of fsspec.
        output: a folder, likewise.
        column: where the texts are; None means the only column, or `text`.
        suffix: of the parts: .parquet or .jsonl.
        engine: what decides where slices are computed; a row of `runtimes.scale.engine.ENGINES`.
        address: of a cluster; None starts one here.
        workers: processes; None for as many as there is room for.
        partitions: about how many parts; None for parts of `PART_ROWS` rows.
        runtime: variant, runtime, precision, and the threads of a worker.
        batching: how texts are put together; None for calls that suit the threads of a worker.
        resume, force, embedding, queries: as `EmbedRequest`.
    """

    artifact: Path
    source: str
    output: str
    column: str | None = None
    suffix: str = ".parquet"
    engine: str = "local"
    address: str | None = None
    workers: int | None = None
    partitions: int | None = None
    resume: bool = False
    force: bool = False
    runtime: RuntimeRequest = field(default_factory=RuntimeRequest)
    batching: BatchOptions | None = None
    embedding: EmbeddingOptions = field(default_factory=EmbeddingOptions)
    queries: bool = False

    def __post_init__(self) -> None:
        for name in ("workers", "partitions"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        if self.suffix not in FORMATS:
            raise UsageError(f"parts are written as {' or '.join(FORMATS)}, not {self.suffix}.")
        if self.output.endswith(FILES):
            raise UsageError(
                f"{self.output} would be a folder, since the input is one or options for folders were given; give it a "
                f"name that does not end with {', '.join(FILES)}."
            )
        if self.engine == "local" and self.address is not None:
            raise UsageError("--address names a cluster; add --engine ray or --engine spark.")


@dataclass(frozen=True)
class FolderReport:
    """What is in the output: how many rows in how many parts, how many parts were there before, and how many rows were
    broken, which are listed in the folder `errors`."""

    output: str
    vectors: int
    width: int
    parts: int
    resumed: int
    broken: int
    errors: str | None

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)
