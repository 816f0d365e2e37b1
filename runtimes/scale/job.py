"""`bert-onnx embed` for folders: cut, computed by an engine, and closed by a manifest that is written last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from bert_onnx.artifact import Artifact, Manifest
from bert_onnx.errors import UsageError
from runtimes.embed_files.embedder import EmbedderOptions
from runtimes.embed_files.rows import check_rows, width_of
from runtimes.machine.cpu import usable_threads
from runtimes.machine.processor import this_processor
from runtimes.pipelines.batches import BatchOptions
from runtimes.progress import ProgressLine
from runtimes.scale.engine import EngineJob, find_engine
from runtimes.scale.ledger import Ledger
from runtimes.scale.reading import OBJECT
from runtimes.scale.request import PART_ROWS, FolderReport, FolderRequest
from runtimes.scale.slices import cut
from runtimes.scale.source_files import SourceFile, find_files, open_source
from runtimes.scale.store import Store
from runtimes.scale.work import ERRORS, Receipt, Work
from runtimes.selection.select import choices

#: Tokens of a call on one thread: with 2,048 a worker holds 60 MB more and is slower, since less of it stays in the
#: processor's caches (all-MiniLM-L6-v2, one core of Zen: 163 texts a second against 143).
_TOKENS = 512


def embed_folder(request: FolderRequest, progress: bool | None = None) -> FolderReport:
    """Embed the rows of `request.source`; each is in one part, or among the broken ones, once.

    Raises:
        UsageError: an option, format or folder that does not fit; an unfinished job that is not to be resumed.
        InputError: the input cannot be read, or lacks the column.
        StorageError: the output refuses; what is done so far is kept.
        ArtifactError, RuntimeUnavailableError, InferenceError: as `runtimes.load`, its pipelines, and the engine.
    """
    from runtimes.loading import load_request
    from runtimes.selection.open import check_request

    run = find_engine(request.engine)
    manifest = check_request(request.artifact, request.runtime)
    request = replace(request, **_share(request, manifest))
    check_rows(manifest.task, request.artifact, request.suffix, request.queries, request.embedding.truncate_dim)
    output = Store(request.output)
    ledger = Ledger(output, request.suffix)
    ledger.check(request.resume or request.force)
    source, pattern = open_source(request.source)
    column, files = find_files(source, request.column, pattern)
    if column == OBJECT and files[0].places:
        raise UsageError(f"the column of texts must not be called {OBJECT!r}: the objects of jsonl are.")
    content = Artifact.open(request.artifact, partial=True).manifest_sha256
    with load_request(request.artifact, request.runtime, check_hashes=False) as model:
        prompt = manifest.sentence.resolve(request.embedding.prompt_name, request.embedding.prompt)
        settings = _settings(request, model) | {"manifest_sha256": content, "prompt": prompt, "column": column}
        pieces = cut(files, _part_rows(files, request.partitions), settings)
        if request.force:
            ledger.clear()
        ledger.take_up({**settings, "slices": [piece.part for piece in pieces]})
        receipts = ledger.receipts(pieces)
        resumed = len(receipts)
        rest = [piece for piece in pieces if piece.part not in receipts]
        work = Work(source.address, request.output, request.suffix, _embedder_options(request, model, column))
        job = EngineJob(work, rest, model, request.workers, request.runtime.threads or 1, request.address)
        for receipt in _shown(run(job) if rest else iter(()), sum(file.rows for file in files), receipts, progress):
            receipts[receipt.slice] = receipt
    ledger.close(settings, [receipts[piece.part] for piece in pieces])
    return _report(request.output, list(receipts.values()), settings["width"], resumed)


def _share(request: FolderRequest, manifest: Manifest) -> dict[str, Any]:
    """Threads and workers where nobody named them: on the CPU a session a core, which is faster than one of all cores,
    and which costs little memory where sessions share their weights."""
    threads, workers = request.runtime.threads, request.workers
    first = choices(manifest, request.runtime, this_processor(), None)[0].row.name
    alone = request.engine == "local" and (workers == 1 or (workers is None and first != "onnxruntime-cpu"))
    if threads is None and not alone:
        threads = 1
    if workers is None and request.engine == "local":
        workers = 1 if threads is None or alone else max(1, usable_threads() // threads)
    batching = request.batching or BatchOptions(**({"tokens": _TOKENS} if threads == 1 else {}))
    return {"runtime": replace(request.runtime, threads=threads), "workers": workers, "batching": batching}


def _settings(request: FolderRequest, model: Any) -> dict[str, Any]:
    """What decides the content of parts, beside input and artifact."""
    described = model.describe()
    return {
        "variant": described.variant,
        "runtime": described.runtime.name,
        "precision": described.precision,
        "width": width_of(model, model.task, request.embedding),
        "queries": request.queries,
        "suffix": request.suffix,
    }


def _part_rows(files: list[SourceFile], partitions: int | None) -> int:
    rows = sum(file.rows for file in files)
    return PART_ROWS if partitions is None else max(1, -(-rows // partitions))


def _embedder_options(request: FolderRequest, model: Any, column: str) -> EmbedderOptions:
    """What workers are sent: they open what was opened here, not what they would choose."""
    described = model.describe()
    runtime = replace(request.runtime, runtime=described.runtime.name, precision=described.precision)
    return EmbedderOptions(
        request.artifact.absolute(),
        column,
        runtime,
        request.batching or BatchOptions(),
        request.embedding,
        request.queries,
    )


def _shown(
    made: Iterator[Receipt], rows: int, before: Mapping[str, Receipt], progress: bool | None
) -> Iterator[Receipt]:
    line = ProgressLine("rows", rows, progress)
    done = sum(one.rows + one.broken for one in before.values())
    try:
        for receipt in made:
            done += receipt.rows + receipt.broken
            line.update(done)
            yield receipt
    finally:
        line.close()


def _report(output: str, receipts: list[Receipt], width: int, resumed: int) -> FolderReport:
    broken = sum(one.broken for one in receipts)
    rows = sum(one.rows for one in receipts)
    errors = f"{output.rstrip('/')}/{ERRORS}" if broken else None
    return FolderReport(output, rows, width, len(receipts), resumed, broken, errors)
