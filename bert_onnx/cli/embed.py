"""`bert-onnx embed`: every text of a file or a folder to a vector, in parts that survive a crash."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bert_onnx.cli.parsing import (
    add_artifact,
    add_command,
    add_report_options,
    add_runtime_options,
    artifact_folder,
    is_silent,
    print_report,
)


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "embed",
        "turn the texts of a file or a folder into vectors",
        (
            "embed artifacts/all-MiniLM-L6-v2 texts.txt vectors.npy",
            "embed artifacts/all-MiniLM-L6-v2 rows.csv vectors.parquet --column title --resume",
            "embed artifacts/all-MiniLM-L6-v2 s3://bucket/texts s3://bucket/vectors --engine ray",
        ),
    )
    add_artifact(parser, "an artifact for sentence-similarity, sparse-embedding or late-interaction")
    parser.add_argument(
        "source",
        metavar="INPUT",
        help="texts: .txt (one a line), .jsonl, .csv or .parquet; or a folder of .parquet or .jsonl, at any address",
    )
    parser.add_argument(
        "output",
        metavar="OUTPUT",
        help="vectors: .npy, .jsonl or .parquet; sparse and late ones: .jsonl or .parquet; or a folder, at any address",
    )
    parser.add_argument("--column", metavar="NAME", help="where the text is (default: the only column, or 'text')")
    parser.add_argument("--resume", action="store_true", help="go on with a job that was interrupted")
    parser.add_argument("--force", action="store_true", help="replace an output that is there")
    parser.add_argument("--prompt-name", metavar="NAME", help="prompt to put before texts (default: the model's own)")
    parser.add_argument("--truncate-dim", type=int, metavar="N", help="values of a vector to keep (default: all)")
    parser.add_argument(
        "--queries", action="store_true", help="the texts are queries, not documents (late interaction)"
    )
    parser.add_argument("--variant", metavar="NAME", help="which graph (default: the best here)")
    add_runtime_options(parser)
    add_report_options(parser)
    folders = parser.add_argument_group("folders")
    folders.add_argument("--engine", metavar="E", help="where it runs: local (default), ray or spark")
    folders.add_argument("--address", metavar="A", help="of a cluster of Ray or Spark (default: one is started here)")
    folders.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    folders.add_argument("--partitions", type=int, metavar="N", help="parts to write (default: of 32,768 rows)")
    folders.add_argument("--format", metavar="F", choices=("parquet", "jsonl"), help="of the parts (default: parquet)")
    parser.set_defaults(command=_embed)


def _embed(arguments: argparse.Namespace) -> None:
    from runtimes.embed_job import EmbedJob, FolderOptions, embed
    from runtimes.pipelines.sentences import EmbeddingOptions
    from runtimes.selection.request import RuntimeRequest

    job = EmbedJob(
        artifact=Path(artifact_folder(arguments, whole=False)),
        source=arguments.source,
        output=arguments.output,
        column=arguments.column,
        resume=arguments.resume,
        force=arguments.force,
        runtime=RuntimeRequest(
            arguments.variant, arguments.runtime, arguments.precision, arguments.threads, offline=arguments.offline
        ),
        embedding=EmbeddingOptions(arguments.prompt_name, truncate_dim=arguments.truncate_dim),
        queries=arguments.queries,
        folders=FolderOptions(
            arguments.engine, arguments.address, arguments.workers, arguments.partitions, arguments.format
        ),
    )
    report = embed(job, progress=False if is_silent(arguments) else None)
    print_report(arguments, report, lambda: _show(report))


def _show(report: Any) -> None:
    print(f"{report.vectors} vectors of {report.width} numbers in {report.output}{_resumed(report)}")
    if report.broken:
        print(f"{report.broken} broken lines left out; see {report.errors}")


def _resumed(report: Any) -> str:
    if not report.resumed:
        return ""
    return f", {report.resumed} {'parts' if hasattr(report, 'parts') else 'of them'} from before"
