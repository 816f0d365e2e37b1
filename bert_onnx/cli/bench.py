"""`bert-onnx bench`: speed by the scenarios of MLPerf inference, comparisons, and retrieval quality."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from bert_onnx.cli.parsing import (
    add_command,
    add_report_options,
    add_runtime_options,
    artifact_folder,
    is_silent,
    print_report,
)

if TYPE_CHECKING:
    from runtimes.bench.measure import Measured
    from runtimes.bench.quality import QualityReport, VariantQuality
    from runtimes.bench.report import BenchReport


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "bench",
        "measure latency, throughput, or retrieval quality here",
        (
            "bench artifacts/all-MiniLM-L6-v2",
            "bench artifacts/all-MiniLM-L6-v2 --scenario server --latency-bound 20 --output a.json",
            "bench artifacts/all-MiniLM-L6-v2 --compare model model_quantized",
            "bench --compare a.json b.json",
            "bench artifacts/all-MiniLM-L6-v2 --quality",
        ),
    )
    parser.add_argument("folder", metavar="DIR", nargs="?", help="an artifact: a folder, or owner/name on a model hub")
    parser.add_argument("--revision", metavar="R", help="branch, tag or commit on the hub")
    parser.add_argument("--offline", action="store_true", help="use the hub's local cache only")
    parser.add_argument(
        "--scenario",
        choices=("single-stream", "offline", "server"),
        default="single-stream",
        help="one query at a time (default), all at once, or at random times",
    )
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="how long to measure (default 10)")
    parser.add_argument(
        "--latency-bound",
        type=float,
        default=130.0,
        metavar="MS",
        help="what 99%% of the queries of a server must stay within (default 130)",
    )
    parser.add_argument(
        "--compare", nargs=2, metavar=("A", "B"), help="two variants in turns, or two files that --output wrote"
    )
    parser.add_argument("--quality", action="store_true", help="judge every variant by retrieval instead (NDCG@10)")
    parser.add_argument("--output", metavar="FILE", help="also write the result to this file, as JSON")
    parser.add_argument("--variant", metavar="NAME", help="which graph (default: the best here)")
    add_runtime_options(parser)
    add_report_options(parser)
    parser.set_defaults(command=_bench)


def _bench(arguments: argparse.Namespace) -> None:
    from bert_onnx.cli.progress import progress_bar
    from runtimes.bench.run import BenchOptions, check, run

    options = BenchOptions(
        scenario=arguments.scenario,
        seconds=arguments.seconds,
        bound=arguments.latency_bound,
        compare=None if arguments.compare is None else tuple(arguments.compare),
        quality=arguments.quality,
        output=arguments.output,
        variant=arguments.variant,
        runtime=arguments.runtime,
        precision=arguments.precision,
        threads=arguments.threads,
    )
    check(arguments.folder, options)
    folder = None if arguments.folder is None else artifact_folder(arguments, whole=True)
    with progress_bar(quiet=is_silent(arguments)) as progress:
        report = run(folder, options, progress)
    print_report(arguments, report, lambda: _show(report))


def _show(report: BenchReport | QualityReport) -> None:
    from runtimes.bench.quality import QualityReport

    _show_quality(report) if isinstance(report, QualityReport) else _show_speed(report)


def _show_speed(report: BenchReport) -> None:
    from bert_onnx.cli.tables import format_rows, format_table
    from runtimes.bench.compare import CONFIDENCE
    from runtimes.bench.scenarios import find_scenario

    first = report.measured[0]
    scenario, machine = find_scenario(first.scenario), first.machine
    bound = f", 99% within {first.bound:g} ms" if first.scenario == "server" else ""
    rows = [
        ("scenario", f"{first.scenario}: {scenario.title}{bound}"),
        ("machine", f"{machine.processor}, {machine.threads} threads, load {machine.load or 0:.1f} before"),
        ("versions", ", ".join(f"{name} {number}" for name, number in machine.packages.items())),
    ]
    print(format_rows(rows) + "\n")
    header = ("variant", "precision", "runtime", "threads", "queries", scenario.unit, "p50 ms", "p90 ms", "p99 ms")
    print(format_table(header, [_speed_row(one) for one in report.measured]))
    if report.ratio is not None:
        found = report.ratio
        verdict = "" if found.is_clear else "; no difference is shown"
        print(
            f"\n{report.measured[1].variant} / {first.variant}: {found.value:.3f} "
            f"({CONFIDENCE:.0%} confidence: {found.low:.3f} to {found.high:.3f}{verdict})"
        )


def _speed_row(one: Measured) -> tuple[str, ...]:
    shares = one.percentiles()
    times = (f"{shares[name]:.2f}" if name in shares else "-" for name in ("p50", "p90", "p99"))
    return one.variant, one.precision, one.runtime, str(one.threads), f"{one.queries:,}", f"{one.figure:,.2f}", *times


def _show_quality(report: QualityReport) -> None:
    from bert_onnx.cli.tables import format_table

    print(f"{report.queries} queries, {report.documents} documents, built in; differences with 95% confidence\n")
    header = ("variant", "precision", "runtime", "NDCG@10", "recall@10", "NDCG@10 beside the first")
    print(format_table(header, [_quality_row(one) for one in report.variants]))
    for name, why in report.skipped.items():
        print(f"\nnot judged: {name}: {why}")


def _quality_row(one: VariantQuality) -> tuple[str, ...]:
    gap = one.difference
    told = "-" if gap is None else f"{gap.value:+.4f} ({gap.low:+.4f} to {gap.high:+.4f})"
    return one.variant, one.precision, one.runtime, f"{one.ndcg:.4f}", f"{one.recall:.4f}", told
