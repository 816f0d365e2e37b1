"""What commands print for people: reports on artifacts and graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bert_onnx.artifact import Artifact, Parity, Quality, TextGraph, Variant
from bert_onnx.artifact.contract.quality import LOWER_IS_BETTER, TITLES, missed
from bert_onnx.cli.tables import format_notes, format_rows, format_table, size_text
from bert_onnx.sentence_modules import describe

if TYPE_CHECKING:
    from bert_onnx.tasks import Port
    from export.evaluation.gate import GateReport
    from export.external_graph.optimize import OptimizeReport
    from export.onnx_file.summary import FileSummary
    from export.verification.runtime_cells import Cell, Matrix
    from export.verify import VerifyReport


def show_artifact(artifact: Artifact, seconds: float | None = None) -> None:
    """The folder, what it holds, and the verdict on each variant."""
    manifest = artifact.manifest
    source = manifest.source
    origin = f"{source.model} ({source.kind}{f', {source.revision[:12]}' if source.revision else ''})"
    rows = [
        ("artifact", str(artifact.folder)),
        ("made from", origin),
        ("task", manifest.task + _options_text(artifact)),
        ("inputs", _ports_text(manifest.inputs)),
        ("outputs", _ports_text(manifest.outputs)),
        ("longest text", f"{manifest.model_max_length} tokens"),
        ("opset", _opsets_text(manifest.variants)),
    ]
    print(format_rows(rows))
    print()
    print(format_table(_VARIANT_HEADER, [_variant_row(variant) for variant in manifest.variants]))
    if manifest.text_graphs:
        print("\ntakes text:")
        print(format_table(_TEXT_HEADER, [_text_row(graph) for graph in manifest.text_graphs]))
    for variant in manifest.variants:
        if variant.quality is not None:
            print("\n" + _quality_text(variant.file, variant.quality))
    if seconds is not None:
        print(f"\nverified and published in {seconds:.1f} s")


def show_verdicts(report: VerifyReport) -> None:
    """The folder and the new verdict on each output of each variant."""
    print(
        format_rows([("artifact", str(report.artifact.folder)), ("files", "every file has the sha256 of its manifest")])
    )
    print()
    header = ("variant", "output", "difference", "allowed", "error / eager's", "in case", "verdict")
    rows = [
        (
            name,
            output.name,
            f"{output.max_abs_diff:.2e}",
            f"{output.tolerance:.2e}",
            "" if output.rounding is None else f"{output.rounding.ratio:.2f}",
            output.case,
            _verdict_text(parity),
        )
        for name, parity in (*report.parities.items(), *report.texts.items())
        for output in parity.outputs
    ]
    print(format_table(header, rows))
    for name, quality in report.qualities.items():
        print("\n" + _quality_text(name, quality))
    for name in report.unjudged:
        print(f"\n{name}: was judged on texts of its publisher; name them with --eval to judge it again")


def show_graph(graph: FileSummary) -> None:
    """What is in an .onnx file."""
    rows = [
        ("file", graph.path),
        ("written by", graph.producer),
        ("size", size_text(graph.size_bytes)),
        ("IR version", str(graph.ir_version)),
        ("opsets", ", ".join(f"{domain or 'ai.onnx'} {number}" for domain, number in graph.opsets.items())),
        ("inputs", _ports_text(graph.inputs)),
        ("outputs", _ports_text(graph.outputs)),
        ("weights", ", ".join(f"{size_text(size)} {dtype}" for dtype, size in graph.weights.items()) or "none"),
        ("nodes", str(graph.nodes)),
    ]
    print(format_rows(rows))
    print()
    print(format_table(("operator", "nodes"), [(name, str(count)) for name, count in _by_count(graph.operators)]))


def show_optimized(report: OptimizeReport) -> None:
    """What became of a graph, what could not be matched and why, and how far its outputs moved."""
    recognised = [f"{count} {kind.replace('_', ' ')}" for kind, count in report.recognised.items()]
    fired = [f"{name} {outcome.count}" for name, outcome in report.ledger if outcome.count]
    comparison = report.comparison
    rows = [
        ("written", f"{report.destination} ({report.target}, opset {report.opset})"),
        ("nodes", f"{report.nodes_before} -> {report.nodes_after}"),
        ("recognised", ", ".join(recognised)),
        ("operators", ", ".join(f"{count} {name}" for name, count in _by_count(report.operators))),
        ("passes", ", ".join(fired)),
        ("difference", f"{comparison.max_abs_diff:.2e} at most from the input graph ({len(comparison.cases)} cases)"),
    ]
    print(format_rows(rows))
    if report.refusals:
        print("\nleft as it was:")
        print(format_table(("node", "why"), [(refusal.node, refusal.reason) for refusal in report.refusals]))


def show_matrix(matrix: Matrix) -> None:
    """Every variant on every runtime, with what it was compared with; reasons stand below the table."""
    print(format_rows([("artifact", matrix.folder), ("reference", matrix.reference)]))
    notes = list(dict.fromkeys(cell.reason for cell in matrix.cells if cell.reason))
    for variant in dict.fromkeys(cell.variant for cell in matrix.cells):
        print(f"\n{variant}")
        print(
            format_table(_MATRIX_HEADER, [_cell_row(cell, notes) for cell in matrix.cells if cell.variant == variant])
        )
    if notes:
        print("\n" + format_notes(notes))


_MATRIX_HEADER = ("runtime", "precision", "verdict", "difference", "allowed", "output", "cosine")


def _cell_row(cell: Cell, notes: list[str]) -> tuple[str, ...]:
    return (
        cell.runtime,
        cell.precision,
        cell.verdict + (f" [{notes.index(cell.reason) + 1}]" if cell.reason else ""),
        "" if cell.max_abs_diff is None else f"{cell.max_abs_diff:.2e}",
        "" if cell.tolerance is None else f"{cell.tolerance:.2e}",
        cell.output,
        "" if cell.cosine is None else f"{cell.cosine:.6f}",
    )


def _by_count(operators: Mapping[str, int]) -> list[tuple[str, int]]:
    """Operators, the most frequent first."""
    return sorted(operators.items(), key=lambda item: (-item[1], item[0]))


_VARIANT_HEADER = ("variant", "target", "precision", "nodes", "size", "difference", "verdict")


def _variant_row(variant: Variant) -> tuple[str, ...]:
    return (
        variant.file,
        variant.target,
        variant.precision,
        str(variant.nodes),
        size_text(variant.size_bytes),
        f"{variant.parity.max_abs_diff:.2e}",
        _verdict_text(variant.parity),
    )


_TEXT_HEADER = ("graph", "inputs", "nodes", "size", "same tokens", "difference", "verdict")


def _text_row(graph: TextGraph) -> tuple[str, ...]:
    conformance = graph.conformance
    return (
        graph.file,
        ", ".join(port.name for port in graph.inputs),
        str(graph.nodes),
        size_text(graph.size_bytes),
        f"{conformance.identical} of {conformance.count}",
        f"{graph.parity.max_abs_diff:.2e}",
        _verdict_text(graph.parity),
    )


def _opsets_text(variants: Sequence[Variant]) -> str:
    """`18`; where variants differ, each opset with the names of its variants."""
    opsets = sorted({variant.opset for variant in variants})
    if len(opsets) == 1:
        return str(opsets[0])
    named = {opset: ", ".join(variant.name for variant in variants if variant.opset == opset) for opset in opsets}
    return "\n".join(f"{opset}: {names}" for opset, names in named.items())


def _verdict_text(parity: Parity) -> str:
    return f"{parity.verdict} ({len(parity.cases)} cases)"


def _quality_text(name: str, quality: Quality | GateReport) -> str:
    """The gate's verdict, and each figure beside what it must reach."""
    below = missed(quality.figures, quality.thresholds)
    verdict = "pass" if not below else f"BELOW BUDGET in {len(below)} of {len(quality.thresholds)}"
    rows = []
    for figure, value in quality.figures.items():
        limit = quality.thresholds.get(figure)
        bound = "" if limit is None else f"{'at most' if figure in LOWER_IS_BETTER else 'at least'} {limit:g}"
        missed_by = " (missed)" if figure in below else ""
        rows.append((TITLES.get(figure, figure), f"{value:.6g}", bound + missed_by))
    head = f"{name} on {quality.count} texts of {quality.texts}: {verdict}"
    return head + "\n" + format_table(("figure", "measured", "budget"), rows)


def _options_text(artifact: Artifact) -> str:
    options = artifact.manifest.options
    if options.postprocess:
        return " (with postprocess outputs)"
    return f" ({describe(options.modules)})" if options.modules else ""


#: Ports of a cache or of every layer are many and alike.
_MOST_PORTS = 8


def _ports_text(ports: Sequence[Port]) -> str:
    lines = [f"{port.name} {port.dtype} [{', '.join(str(axis) for axis in port.axes)}]" for port in ports]
    if len(lines) > _MOST_PORTS:
        lines = [*lines[: _MOST_PORTS - 1], f"... and {len(lines) - _MOST_PORTS + 1} more"]
    return "\n".join(lines)
