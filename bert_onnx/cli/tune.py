"""`bert-onnx tune`: measure what is fastest on this machine; `load` and `run` use it from then on."""

from __future__ import annotations

import argparse
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
    from runtimes.selection.tune import TuneReport


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "tune",
        "measure runtimes, variants and threads here, and keep the fastest",
        (
            "tune artifacts/all-MiniLM-L6-v2",
            "tune artifacts/all-MiniLM-L6-v2 --for latency --seconds 5",
        ),
    )
    add_artifact(parser)
    parser.add_argument(
        "--for",
        dest="purpose",
        choices=("throughput", "latency"),
        default="throughput",
        help="batches of mixed lengths (default), or one short text at a time",
    )
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help="how long each is measured (default 1)")
    add_report_options(parser)
    parser.set_defaults(command=_tune)


def _tune(arguments: argparse.Namespace) -> None:
    from bert_onnx.cli.progress import progress_bar
    from runtimes.selection.tune import tune

    with progress_bar(quiet=is_silent(arguments)) as progress:
        report = tune(artifact_folder(arguments, whole=True), arguments.purpose, arguments.seconds, progress)
    print_report(arguments, report, lambda: _show(report))


def _show(report: TuneReport) -> None:
    from bert_onnx.cli.tables import format_table

    rows = [
        (row.runtime, row.variant, row.precision, str(row.threads), f"{row.milliseconds:.2f}", _verdict(row.verified))
        for row in report.tuned.rows
    ]
    print(format_table(("runtime", "variant", "precision", "threads", "ms a call", "verified"), rows))
    for precision in dict.fromkeys(("fp32", *(row.precision for row in report.tuned.rows))):
        best = report.tuned.best(precision)
        if best is not None:
            default = " (the default)" if precision == "fp32" else f" (precision={precision!r})"
            print(f"\n{precision}{default}: {best.variant} on {best.runtime}, {_threads_text(best.threads)}", end="")
    print(f"\n\nkept in {report.kept_in}")
    for item in report.skipped:
        print(f"not measured: {item.variant} on {item.runtime}: {item.why}")


def _threads_text(threads: int) -> str:
    return f"{threads} thread" if threads == 1 else f"{threads} threads"


def _verdict(verified: bool) -> str:
    return "yes" if verified else "no"
