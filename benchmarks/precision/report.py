"""Tables, and the plot of speed against what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.graphs.measure import Comparison
from benchmarks.graphs.report import spread
from benchmarks.measure import markdown_table
from benchmarks.precision.competitors import BASE, Competitor
from benchmarks.precision.quality import Quality


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
        "change with company",
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


def dominators(found: Sequence[Competitor], qualities: dict[str, Quality], batch: Comparison) -> dict[str, list[str]]:
    """Our variants that a peer beats in both speed and agreement -> those peers."""
    speed = {one.name: batch.find(BASE).median / batch.find(one.name).median for one in found}
    kept = {name: quality.neighbours for name, quality in qualities.items()}
    peers = [one.name for one in found if not one.ours]
    return {
        one.name: [peer for peer in peers if speed[peer] > speed[one.name] and kept[peer] > kept[one.name]]
        for one in found
        if one.ours
    }


def pareto_plot(found: Sequence[Competitor], qualities: dict[str, Quality], batch: Comparison, path: Path) -> None:
    """Speed ratio on `batch` against nearest-neighbour agreement, one point a competitor; ours joined where best."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9.5, 5.6))
    points = {
        one.name: (batch.find(BASE).median / batch.find(one.name).median, qualities[one.name].neighbours)
        for one in found
    }
    colours = {True: "#D55E00", False: "#555555"}
    for one in found:
        x, y = points[one.name]
        axes.scatter([x], [y], color=colours[one.ours], marker="o" if one.ours else "s", s=46, zorder=3)
        label = one.name.removeprefix("ours: ")
        axes.annotate(label, (x, y), xytext=(6, 4), textcoords="offset points", fontsize=7.5, color=colours[one.ours])
    front = sorted(_front([points[one.name] for one in found]))
    axes.plot([x for x, _ in front], [y for _, y in front], color="#BBBBBB", linewidth=1, zorder=1, label="best of all")
    axes.scatter([], [], color=colours[True], marker="o", label="bert-onnx")
    axes.scatter([], [], color=colours[False], marker="s", label="other tools")
    axes.set_xlabel(f"speed at {batch.batch.name}, as a multiple of float32 on ONNX Runtime")
    axes.set_ylabel("share of texts whose nearest neighbour stays the same")
    axes.set_title("all-MiniLM-L6-v2: speed against what is kept", loc="left", fontsize=11)
    axes.margins(x=0.16)
    axes.grid(visible=True, alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points that no other beats in both."""
    return [(x, y) for x, y in points if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in points)]
