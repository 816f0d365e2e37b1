"""docs/benchmarks-gpu.md, made of the results alone."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.gpu.engines import CAPTURED_MOST
from benchmarks.gpu.report import aims_table, choices_table, differences, failures, ratio_table, time_table
from benchmarks.gpu.results import Peak, Results
from benchmarks.measure import markdown_table

_REHEARSAL = (
    "**A rehearsal on a CPU with a tiny model: it shows that the program runs. No figure here says anything of a GPU.**"
)


def make_page(results: Results) -> str:
    """The page, in Markdown."""
    parts = [
        "# Graphs on a GPU",
        "Written by `make gpu`; the docstring of `benchmarks/gpu/__main__.py` says how it measures.",
    ]
    if results.device.rehearsal:
        parts.append(_REHEARSAL)
    parts += [_device(results), *_tests(results)]
    if "fp16" in results.measured:
        halves = [row for row in results.rows if row.precision == "fp16"]
        parts += ["## What was aimed at", aims_table(halves, _peak(results, "fp16"))]
    for precision in results.measured:
        parts += _precision(results, precision)
    parts += [*_kernels(results), *_notes(results)]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _device(results: Results) -> str:
    device = results.device
    lines = [
        f"{device.name}, {device.memory_mib} MiB, compute capability {device.compute_capability},",
        f"driver {device.driver};",
        f"{device.host}; {', '.join(device.versions)}. bert-base with random weights.",
    ]
    clocks = [row.clocks for row in results.rows if row.clocks]
    if clocks:
        speeds = [found["clocks.sm"] for found in clocks]
        lines.append(
            f"Clock of the multiprocessors after each batch: {min(speeds):.0f} to {max(speeds):.0f} MHz, of at most "
            f"{max(found['clocks.max.sm'] for found in clocks):.0f}."
        )
    return "\n".join(lines)


def _tests(results: Results) -> Iterator[str]:
    if not results.tests:
        return
    counts = {
        outcome: [one for one in results.tests if one.outcome == outcome] for outcome in ("passed", "failed", "skipped")
    }
    yield "## Tests"
    yield (
        ", ".join(f"{len(found)} {outcome}" for outcome, found in counts.items())
        + ". [gpu.md](gpu.md) says what they show."
    )
    told = [f"* {one.name} {one.outcome}: {one.reason}" for one in (*counts["failed"], *counts["skipped"])]
    if told:
        yield "\n".join(told)


def _precision(results: Results, precision: str) -> list[str]:
    rows = [row for row in results.rows if row.precision == precision]
    peak, bare = _peak(results, precision), results.measured[precision]
    if not rows:
        return []
    return [
        f"## {precision}",
        "Ratio of the fastest peer's time to that of our fastest graph: median, with the middle half of the rounds "
        "in brackets; above 1 we are faster. The difference is the largest of our graphs from eager torch in "
        "float32, on real tokens.",
        ratio_table(rows),
        f"Milliseconds for the batch, and floating point operations on real tokens a second as a share of "
        f"{peak.operations / 1e12:.0f} TFLOP/s ({peak.source}; a bare product in this run reached "
        f"{bare.operations / 1e12:.0f}). CUDA graphs, which spare launches, take part up to {CAPTURED_MOST:,} places.",
        time_table(rows, peak),
        "Largest differences: " + ", ".join(f"{who} {far:.1e}" for who, far in differences(rows).items()) + ".",
        "What `load` takes, where an artifact has both graphs, and how much longer that took than the fastest of ours:",
        choices_table(rows),
    ]


def _peak(results: Results, precision: str) -> Peak:
    return results.sheets.get(precision) or results.measured[precision]


def _kernels(results: Results) -> Iterator[str]:
    if not results.kernels:
        return
    yield "## Kernels"
    yield "Of one forward pass, as torch's profiler saw them: the longest, with their share of the time of all."
    for batch, engines in results.kernels.items():
        lines = [
            [engine, "<br>".join(f"{share:.0%} `{_plain(name)}`" for name, share in found) or "none was seen"]
            for engine, found in engines.items()
        ]
        yield f"### {batch}"
        yield markdown_table(["engine", "kernels"], lines, texts=2)


def _plain(name: str) -> str:
    """A name that ends no cell."""
    return name.replace("|", "/").replace("`", "'")


def _notes(results: Results) -> Iterator[str]:
    refused = [
        f"* {name} in {precision}: {why}" for precision, found in results.refused.items() for name, why in found.items()
    ]
    notes = refused + failures(results.rows)
    if notes:
        yield "## What did not run"
        yield "\n".join(notes)
