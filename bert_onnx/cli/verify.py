"""`bert-onnx verify`: compare an artifact with the eager model again."""

from __future__ import annotations

import argparse
from typing import Any

from bert_onnx.cli.parsing import (
    add_artifact,
    add_command,
    add_report_options,
    artifact_folder,
    is_silent,
    print_report,
)
from bert_onnx.cli.printing import print_notes


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "verify",
        "compare an artifact with the eager model again",
        (
            "verify artifacts/all-MiniLM-L6-v2",
            "verify artifacts/mine --checkpoint path/to/checkpoint --eval held-out.txt",
            "verify artifacts/all-MiniLM-L6-v2 --runtimes openvino,onnxruntime-cpu",
        ),
    )
    add_artifact(parser)
    parser.add_argument("--checkpoint", metavar="MODEL", help="where its checkpoint is now (default: as recorded)")
    parser.add_argument("--eval", dest="evaluation", metavar="FILE", help="texts to judge int8 and other variants by")
    parser.add_argument("--runtimes", metavar="LIST", help="compare runtimes instead: all, or names with commas")
    add_report_options(parser)
    parser.set_defaults(command=_verify)


def _verify(arguments: argparse.Namespace) -> None:
    from bert_onnx.cli.progress import progress_bar
    from bert_onnx.cli.render import show_verdicts
    from export.check import check_verify

    arguments.folder = artifact_folder(arguments, whole=True)
    if arguments.runtimes is not None:
        _compare_runtimes(arguments)
        return
    check_verify(arguments.folder, arguments.checkpoint, arguments.offline, arguments.evaluation)
    from export.verify import verify_artifact

    with progress_bar(quiet=is_silent(arguments)) as progress:
        report = verify_artifact(
            arguments.folder, arguments.checkpoint, arguments.offline, progress, arguments.evaluation
        )
    print_notes(() if arguments.quiet else report.warnings)
    print_report(arguments, report, lambda: show_verdicts(report))
    report.raise_if_failed()


def _compare_runtimes(arguments: argparse.Namespace) -> None:
    """The parity matrix: every variant on every runtime here."""
    from bert_onnx.cli.progress import progress_bar
    from bert_onnx.cli.render import show_matrix
    from export.check import check_matrix

    check_matrix(arguments.folder, arguments.runtimes)
    from export.verification.runtime_matrix import runtime_matrix

    with progress_bar(quiet=is_silent(arguments)) as progress:
        matrix = runtime_matrix(arguments.folder, arguments.runtimes, arguments.checkpoint, progress)
    print_report(arguments, matrix, lambda: show_matrix(matrix))
    matrix.raise_if_failed()
