"""The page: everything in one file, without anything from outside."""

from __future__ import annotations

import os
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from bert_onnx.errors import RuntimeUnavailableError
from bert_onnx.version import __version__
from export.html_report import plots, sections
from export.html_report.gather import Gathered, gather
from export.html_report.markup import figure, section, text
from export.html_report.passes import passes
from runtimes.bench.output import check_output
from runtimes.bench.queries import Progress
from runtimes.bench.report import write_whole

_LINKS = (
    ("ship", "Which file"), ("variants", "Variants"), ("speed", "Speed"), ("errors", "Errors"), ("graphs", "Graphs"),
    ("provenance", "Provenance"),
)  # fmt: skip


def write_report(
    folder: str | os.PathLike[str], output: str | os.PathLike[str], seconds: float, progress: Progress
) -> int:
    """Measure the artifact in `folder` for about `seconds` and write the page to `output`, whole or not at all.

    Returns:
        its size in bytes.

    Raises:
        ArtifactError: the folder is missing, damaged or no artifact.
        UsageError: see `check_output`.
        RuntimeUnavailableError: matplotlib or onnx is not installed.
        StorageError: the disk refuses.
    """
    path = Path(output).absolute()
    check_output(path, folder)
    for name in ("matplotlib", "onnx"):
        if find_spec(name) is None:
            raise RuntimeUnavailableError(f'{name} is not installed; install it with pip install "bert-onnx[report]".')
    page = render(gather(folder, seconds, progress)).encode("utf-8")
    write_whole(path, page)
    return len(page)


def render(found: Gathered) -> str:
    """The page as HTML."""
    title = text(found.artifact.folder.absolute().name)
    style = resources.files("export.html_report").joinpath("style.css").read_text(encoding="utf-8")
    body = "".join(
        (
            sections.introduction(found),
            f"<nav>{''.join(f'<a href=#{name}>{text(words)}</a>' for name, words in _LINKS)}</nav>",
            sections.ship(found),
            sections.variants(found),
            _speed(found),
            _errors(found),
            passes(found),
            sections.provenance(found),
            f"<footer>Written by bert-onnx {__version__} report.</footer>",
        )
    )
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{title}: bert-onnx report</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f'<link rel=icon href="data:,"><style>{style}</style></head><body>{body}</body></html>\n'
    )


def _speed(found: Gathered) -> str:
    machine = found.machine
    note = f"Measured here: {machine.processor}, {machine.threads} threads, {machine.system}"
    if machine.load is not None:
        busy = ", so that others slowed this down" if machine.load > machine.threads else ""
        note += f"; load average {machine.load:.1f} before{busy}"
    drawn = (
        figure(
            "Size and speed", plots.pareto(found), "Numbers are those of the table; nearer to the corner is better."
        ),
        figure("Length", plots.by_length(found), "One text a call. The band reaches to the 99th percentile."),
        figure("Batch", plots.by_batch(found), "Milliseconds a text; the band reaches to the 99th percentile."),
    )
    return section("speed", "Speed", f"{note}.", f"<div class=plots>{''.join(drawn)}</div>", sections.latencies(found))


def _errors(found: Gathered) -> str:
    drawn = (
        figure(
            "Rounding of float32 graphs",
            plots.rounding(found),
            "Root mean square of the error against the model in float64, beside eager PyTorch's own in float32: 1 is "
            "as exact as PyTorch.",
        ),
        figure(
            "Quantization, layer by layer",
            plots.layers(found),
            "Root mean square of the difference from fp32 after each LayerNormalization, as a share of the values.",
        ),
    )
    return section("errors", "Errors", "", f"<div class=plots>{''.join(drawn)}</div>") if any(drawn) else ""
