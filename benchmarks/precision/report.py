"""Tables, and the plot of speed against what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.graphs.measure import Comparison
from benchmarks.graphs.report import spread
from benchmarks.measure import markdown_table
from benchmarks.precision.competitors import BASE, Competitor
from benchmarks.precision.quality import Quality

_OURS = "ours: "


def quality_table(found: Sequence[Competitor], qualities: dict[str, Quality]) -> str:
    """What each keeps, and its size."""
    base = next(one.size for one in found if one.name == BASE)
    rows = []
    for one in found:
        q = qualities[one.name]
        share = f"{one.size / 1e6:.1f} MB, {one.size / base:.2f}x"
        figures = (f"{q.mean:.5f}", f"{q.least:.4f}", f"{q.neighbours:.3f}", f"{q.rank:.4f}", f"{q.company:.1e}")
        rows.append([one.name, *figures, share])
    head = (
        "variant",
        "mean cosine",
        "least cosine",
        "same neighbour",
        "rank correlation",
        "batch dependence",
        "size",
    )
    return markdown_table(head, rows)


def speed_table(found: Sequence[Competitor], comparisons: Sequence[Comparison]) -> str:
    """Ratio to the base, batch by batch."""
    rows = []
    for one in found:
        ratios = [spread(batch.ratios(batch.find(one.name), batch.find(BASE))) for batch in comparisons]
        rows.append([one.name, *ratios])
    return markdown_table(("variant", *(batch.batch.name for batch in comparisons)), rows)


def points_of(
    found: Sequence[Competitor], qualities: dict[str, Quality], batch: Comparison
) -> dict[str, tuple[float, float]]:
    """Speed ratio on `batch` and nearest-neighbour agreement, by competitor."""
    base = batch.find(BASE).median
    return {one.name: (base / batch.find(one.name).median, qualities[one.name].neighbours) for one in found}


def pareto_plot(points: dict[str, tuple[float, float]], batch: str, path: Path) -> None:
    """One numbered point a competitor, the numbers' meaning beside the plot, and a line through the best of all."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(11, 5.8))
    colours = {True: "#D55E00", False: "#444444"}
    names = sorted(points, key=lambda name: (not name.startswith(_OURS), -points[name][1]))
    for number, name in enumerate(names, 1):
        ours = name.startswith(_OURS)
        x, y = points[name]
        axes.scatter([x], [y], color=colours[ours], marker="o" if ours else "s", s=190, zorder=3)
        axes.annotate(str(number), (x, y), color="white", fontsize=8, ha="center", va="center", zorder=4)
        text = f"{number:2}  {'bert-onnx' if ours else 'other'}: {name.removeprefix(_OURS)}"
        place = 1.0 - (number - 1) / len(names)
        axes.text(1.02, place, text, color=colours[ours], fontsize=8.5, va="top", transform=axes.transAxes)
    front = sorted(_front(list(points.values())))
    axes.plot([x for x, _ in front], [y for _, y in front], color="#BBBBBB", linewidth=1.2, zorder=1)
    axes.set_xlabel(f"speed at {batch}, as a multiple of float32 on ONNX Runtime")
    axes.set_ylabel("share of texts whose nearest neighbour stays the same")
    axes.set_title(
        "all-MiniLM-L6-v2: speed against what is kept; the line joins the best of all", loc="left", fontsize=11
    )
    axes.grid(visible=True, alpha=0.25)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points that no other beats in both."""
    return [(x, y) for x, y in points if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in points)]
