"""`bert-onnx report`: one HTML page about an artifact."""

from __future__ import annotations

import argparse
from typing import Any

from bert_onnx.cli.parsing import add_artifact, add_command, artifact_folder
from bert_onnx.cli.printing import print_json


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "report",
        "write a page that shows an artifact's files, speed here and errors",
        (
            "report artifacts/all-MiniLM-L6-v2",
            "report artifacts/all-MiniLM-L6-v2 --output report.html --seconds 60",
        ),
    )
    add_artifact(parser)
    parser.add_argument("--output", metavar="FILE", help="the page (default: NAME.report.html beside DIR)")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="how long to measure (default 20)")
    parser.add_argument("--json", action="store_true", help="print the page's path and size as JSON")
    parser.add_argument("--quiet", action="store_true", help="show no progress and no report, but errors and --json")
    parser.set_defaults(command=_report)


def _report(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from bert_onnx.artifact import Artifact
    from bert_onnx.cli.parsing import is_silent
    from bert_onnx.cli.progress import progress_bar

    folder = Path(artifact_folder(arguments, whole=True)).absolute()
    Artifact.open(folder, check_hashes=False)  # before what draws is imported
    output = Path(arguments.output or folder.with_name(f"{folder.name}.report.html"))
    from export.html_report.page import write_report

    with progress_bar(quiet=is_silent(arguments)) as progress:
        size = write_report(folder, output, arguments.seconds, progress)
    if arguments.json:
        print_json({"page": str(output), "bytes": size})
    elif not arguments.quiet:
        print(f"{output} ({size / 1e3:.0f} kB)")
