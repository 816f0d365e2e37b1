"""`bert-onnx embed`: every text of a file to a vector, in parts that survive a crash."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bert_onnx.errors import InputError
from runtimes.embed_files.outputs import check_output, write_output
from runtimes.embed_files.parts import Job, Part, Parts, write_whole
from runtimes.embed_files.records import Item, Record, read_items
from runtimes.embed_files.rows import Rows, check_rows, stream_rows, width_of
from runtimes.pipelines.batches import BatchOptions
from runtimes.pipelines.sentences import EmbeddingOptions
from runtimes.progress import ProgressLine
from runtimes.text_files import Broken

_CHUNK = 1 << 20


@dataclass(frozen=True)
class EmbedRequest:
    """What to embed, and how.

    Args:
        artifact: folder of a model for sentence-similarity, sparse-embedding or late-interaction.
        source: txt, jsonl, csv or parquet.
        output: npy, jsonl or parquet; npy for one vector a text alone.
        column: where the texts are; None means the only column, or `text`.
        resume: go on with a job that was interrupted.
        force: replace an output that is there.
        variant, runtime, precision, threads, offline: as `runtimes.load`.
        batching: how texts are put together; a part is one piece.
        embedding: prompt, and length of the vectors.
        queries: the texts are queries rather than documents; for late interaction.
    """

    artifact: Path
    source: Path
    output: Path
    column: str | None = None
    resume: bool = False
    force: bool = False
    variant: str | None = None
    runtime: str | None = None
    precision: str | None = None
    threads: int | None = None
    offline: bool = False
    batching: BatchOptions = field(default_factory=BatchOptions)
    embedding: EmbeddingOptions = field(default_factory=EmbeddingOptions)
    queries: bool = False


@dataclass(frozen=True)
class EmbedReport:
    """What was written: how many vectors of which width, how many lines were broken, and the file that lists them."""

    output: str
    vectors: int
    width: int
    resumed: int
    broken: int
    errors: str | None

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def embed_file(request: EmbedRequest, progress: bool | None = None) -> EmbedReport:
    """Embed `request.source`. Rows keep their order; broken lines go to `OUTPUT.errors.jsonl` with their numbers.

    Raises:
        UsageError: an option, format or file that does not fit; an unfinished job that is not to be resumed.
        InputError: the input cannot be read, or lacks the column.
        StorageError: the disk refuses; what is done so far is kept.
        ArtifactError, RuntimeUnavailableError, InferenceError: as `runtimes.load` and its pipelines.
    """
    from bert_onnx.artifact import Artifact
    from runtimes.loading import load_request
    from runtimes.selection.open import check_request
    from runtimes.selection.request import RuntimeRequest

    finishing = request.resume and _parts_folder(request.output).exists()
    check_output(request.output, request.force or finishing)
    digest, total = _hash_and_count(request.source)
    content = Artifact.open(request.artifact, partial=True).manifest_sha256
    wanted = RuntimeRequest(
        request.variant, request.runtime, request.precision, request.threads, offline=request.offline
    )
    manifest, chosen = check_request(request.artifact, wanted), request.embedding
    task = manifest.task
    check_rows(task, request.artifact, request.output.suffix, request.queries, chosen.truncate_dim)
    prompt = manifest.sentence.resolve(chosen.prompt_name, chosen.prompt)
    with load_request(request.artifact, wanted, check_hashes=False) as model:
        described, width = model.describe(), width_of(model, task, chosen)
        computing = described.variant, described.runtime.name, described.precision
        job = Job(digest, request.column, content, *computing, prompt, width, request.queries)
        with Parts(_parts_folder(request.output), job, request.resume) as parts:
            line = ProgressLine("lines", total, progress)
            try:
                resumed = _compute(model, task, request, parts, line)
            finally:
                line.close()
            return _finish(request, parts, width, resumed, model.tokenizer.convert_ids_to_tokens)


def _parts_folder(output: Path) -> Path:
    return output.with_name(f"{output.name}.parts")


def errors_path(output: Path) -> Path:
    """The file that lists broken lines."""
    return output.with_name(f"{output.name}.errors.jsonl")


def _compute(model: Any, task: str, request: EmbedRequest, parts: Parts, line: ProgressLine) -> int:
    """Compute the parts that are missing; returns how many vectors were there before."""
    items = resumed = number = 0
    for path in parts.names():
        part = parts.read(path)
        items, resumed, number = items + part.items, resumed + len(part.lines), number + 1
    waiting: deque[Item] = deque()
    rest = islice(read_items(request.source, request.column), items, None)
    texts = _texts(rest, waiting)
    for rows in stream_rows(model, task, texts, request.batching, request.embedding, request.queries):
        part = _take(waiting, rows)
        parts.write(number, part)
        number += 1
        items += part.items
        line.update(items)
    if waiting:  # broken lines after the last text
        width = width_of(model, task, request.embedding)
        parts.write(number, _take(waiting, Rows(np.empty((0, width), np.float32))))
    return resumed


def _texts(items: Iterable[Item], waiting: deque[Item]) -> Iterator[str]:
    """The texts among `items`; all of them wait for their vectors."""
    for item in items:
        waiting.append(item)
        if isinstance(item, Record):
            yield item.text


def _take(waiting: deque[Item], rows: Rows) -> Part:
    """The items that `rows` belong to, and the broken ones before the last of them; with no rows, all."""
    lines: list[int] = []
    broken: list[Broken] = []
    count = 0
    while waiting and (len(lines) < rows.texts or not rows.texts):
        item = waiting.popleft()
        count += 1
        if isinstance(item, Record):
            lines.append(item.line)
        else:
            broken.append(item)
    return Part(rows, np.array(lines, np.int64), tuple(broken), count)


def _finish(
    request: EmbedRequest, parts: Parts, width: int, resumed: int, to_tokens: Callable[[list[int]], list[str | None]]
) -> EmbedReport:
    """Put the parts together; the errors first, so that an output never lacks them."""
    rows, broken = 0, []
    for path in parts.names():
        part = parts.read(path)
        rows += len(part.lines)
        broken += list(part.broken)
    if not rows:
        first = f"; line {broken[0].line}: {broken[0].reason}" if broken else ""
        parts.remove()
        raise InputError(f"{request.source} has no text to embed ({len(broken)} broken lines{first}).")
    errors = errors_path(request.output)
    if broken:
        write_whole(errors, (json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in broken))
    elif errors.exists():
        errors.unlink()
    write_output(request.output, (parts.read(path) for path in parts.names()), rows, width, to_tokens)
    parts.remove()
    return EmbedReport(str(request.output), rows, width, resumed, len(broken), str(errors) if broken else None)


def _hash_and_count(path: Path) -> tuple[str, int | None]:
    """The sha256 of a file, and its lines, as far as they can be counted so.

    Raises:
        InputError: it cannot be read.
    """
    digest, lines = hashlib.sha256(), 0
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                lines += chunk.count(b"\n")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    return digest.hexdigest(), None if path.suffix.lower() == ".parquet" else lines
