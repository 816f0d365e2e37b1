"""`bert-onnx embed`: every text of a file to a vector, in parts that survive a crash."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_onnx.cli.parsing import (
    add_artifact,
    add_command,
    add_report_options,
    artifact_folder,
    is_silent,
    print_report,
)

if TYPE_CHECKING:
    from runtimes.embed_files.job import EmbedReport


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "embed",
        "turn the texts of a file into vectors",
        (
            "embed artifacts/all-MiniLM-L6-v2 texts.txt vectors.npy",
            "embed artifacts/all-MiniLM-L6-v2 rows.csv vectors.parquet --column title --resume",
        ),
    )
    add_artifact(parser, "an artifact for sentence-similarity, sparse-embedding or late-interaction")
    parser.add_argument("source", metavar="INPUT", help="texts: .txt (one a line), .jsonl, .csv or .parquet")
    parser.add_argument(
        "output", metavar="OUTPUT", help="vectors: .npy, .jsonl or .parquet; sparse and late ones: .jsonl or .parquet"
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
    parser.add_argument("--runtime", metavar="NAME", help="what runs it (default: the best here)")
    parser.add_argument("--precision", metavar="P", help="fp32 (default), int8, bf16 ... or fastest")
    parser.add_argument("--threads", type=int, metavar="N", help="threads (default: what this machine allows)")
    add_report_options(parser)
    parser.set_defaults(command=_embed)


def _embed(arguments: argparse.Namespace) -> None:
    from runtimes.embed_files.job import EmbedRequest, embed_file
    from runtimes.pipelines.sentences import EmbeddingOptions

    request = EmbedRequest(
        artifact=Path(artifact_folder(arguments, whole=False)),
        source=Path(arguments.source),
        output=Path(arguments.output),
        column=arguments.column,
        resume=arguments.resume,
        force=arguments.force,
        variant=arguments.variant,
        runtime=arguments.runtime,
        precision=arguments.precision,
        threads=arguments.threads,
        offline=arguments.offline,
        embedding=EmbeddingOptions(arguments.prompt_name, truncate_dim=arguments.truncate_dim),
        queries=arguments.queries,
    )
    report = embed_file(request, progress=False if is_silent(arguments) else None)
    print_report(arguments, report, lambda: _show(report))


def _show(report: EmbedReport) -> None:
    resumed = f", {report.resumed} of them from before" if report.resumed else ""
    print(f"{report.vectors} vectors of {report.width} numbers in {report.output}{resumed}")
    if report.broken:
        print(f"{report.broken} broken lines left out; see {report.errors}")
