"""The plots of a report. Variants have numbers, which the table explains, so that no label is too long."""

from __future__ import annotations

from typing import Any

import numpy as np

from export.html_report.figures import INK, MARKERS, SERIES, draw, plain_axis, round_ticks, spread
from export.html_report.gather import Gathered
from runtimes.bench.scenarios import Probe
from runtimes.bench.sweep import BATCH_LENGTH

#: Lines of a plot at most: the best of each precision first.
_MOST_LINES = 4


def pareto(found: Gathered) -> str:
    """Latency against size, with a ring around what nothing beats; empty where nothing ran."""
    variants = found.artifact.manifest.variants
    numbered = [(n, v, found.latency(v)) for n, v in enumerate(variants, 1)]
    points = [(n, v, latency) for n, v, latency in numbered if latency is not None]
    if not points:
        return ""
    precisions = list(dict.fromkeys(v.precision for _, v, _ in points))

    def fill(axes: Any) -> None:
        for index, precision in enumerate(precisions):
            mine = [(latency, v.size_bytes / 1e6) for _, v, latency in points if v.precision == precision]
            axes.scatter(*zip(*mine, strict=True), color=SERIES[index], marker=MARKERS[index], s=36, label=precision)
        front = [(found.latency(v), v.size_bytes / 1e6) for v in found.best()]
        ring = {"facecolors": "none", "edgecolors": INK, "linewidths": 0.8}
        axes.scatter(*zip(*front, strict=True), s=130, label="beaten by none", **ring)
        axes.set_xlim(left=0, right=max(latency for *_, latency in points) * 1.2)
        axes.set_ylim(bottom=0, top=max(v.size_bytes for _, v, _ in points) / 1e6 * 1.35)
        axes.legend(loc="upper center", bbox_to_anchor=(0.45, 1.17), ncols=len(precisions) + 1, columnspacing=1.0)
        _number(axes, [(n, latency, v.size_bytes / 1e6) for n, v, latency in points])

    return draw("Latency against size of every variant", "ms for one text of 32 tokens (median)", "MB", fill)


def _number(axes: Any, points: list[tuple[int, float, float]]) -> None:
    """Each point's number beside it, pushed apart where points are close, with a thin line to the point."""
    axes.figure.draw_without_rendering()  # only then is it known where a point lies
    places = axes.transData.transform([(x, y) for _, x, y in points])
    moved = axes.transData.inverted().transform(spread(places + np.array([0.0, 15.0]), 15.0))
    for (number, x, y), (to_x, to_y) in zip(points, moved, strict=True):
        axes.annotate(
            str(number), (x, y), (to_x, to_y), ha="center", va="center", fontsize=9,
            arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.4, "shrinkA": 5, "shrinkB": 3},
        )  # fmt: skip


def rounding(found: Gathered) -> str:
    """Each float32 graph's error against float64, as a multiple of eager PyTorch's; empty where none was measured."""
    rows = [
        (f"{number}  {_short(output.name)}", output.rounding)
        for number, variant in enumerate(found.artifact.manifest.variants, 1)
        for output in variant.parity.outputs
        if output.rounding is not None and output.rounding.eager_rms > 0
    ][:28]
    if not rows:
        return ""

    def fill(axes: Any) -> None:
        places = np.arange(len(rows))
        allowed = [rounding.allowed_rms / rounding.eager_rms for _, rounding in rows]
        axes.barh(places, [rounding.ratio for _, rounding in rows], color=SERIES[0], height=0.6, label="graph")
        axes.axvline(1, color=INK, linewidth=1, label="eager PyTorch")
        axes.plot(allowed, places, "|", color=SERIES[1], markersize=11, markeredgewidth=2, label="allowed")
        axes.set_yticks(places, [name for name, _ in rows])
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.4, 1.14 if len(rows) > 8 else 1.22), ncols=3, fontsize=9)

    height = 1.3 + 0.24 * len(rows)
    return draw("Error against float64", "error, as a multiple of eager float32's", "", fill, (4.6, height))


def layers(found: Gathered) -> str:
    """Error of quantized variants after each layer; empty where there are none."""
    if not found.layers:
        return ""
    number = {variant.name: n for n, variant in enumerate(found.artifact.manifest.variants, 1)}
    longest = max(found.layers.values(), key=len)

    def fill(axes: Any) -> None:
        for index, (name, errors) in enumerate(found.layers.items()):
            places = [list(longest).index(layer) if layer in longest else n for n, layer in enumerate(errors)]
            values = [100 * error for error in errors.values()]
            axes.plot(places, values, color=SERIES[index], marker=MARKERS[index], markersize=4, label=f"{number[name]}")
        names = list(longest)
        step = -(-len(names) // 14)
        axes.set_xticks(range(0, len(names), step), names[::step], rotation=60, ha="right", fontsize=8)
        axes.set_ylim(bottom=0)
        axes.legend(title="variant", ncols=3)

    return draw("Error after each layer", "", "error after the layer, %", fill, (4.6, 3.9))


def by_length(found: Gathered) -> str:
    """Latency of one text against its tokens."""
    return _lines(
        found, "tokens of one text", "by_length", "Latency against length", "ms: median, and 99% within the band"
    )


def by_batch(found: Gathered) -> str:
    """Latency of a text in a batch against the batch's size."""
    return _lines(
        found,
        f"texts of {BATCH_LENGTH} tokens in a call",
        "by_batch",
        "Latency against batch",
        "ms a text: median, 99%",
    )


def _lines(found: Gathered, x: str, field: str, title: str, y: str) -> str:
    names = _chosen(found)
    if not any(getattr(found.sweeps[name], field) for name in names):
        return ""
    number = {variant.name: n for n, variant in enumerate(found.artifact.manifest.variants, 1)}

    def fill(axes: Any) -> None:
        every: list[float] = []
        for index, name in enumerate(names):
            probes: dict[int, Probe] = getattr(found.sweeps[name], field)
            middle, high = ([p.percentile(share) / p.samples for p in probes.values()] for share in (50, 99))
            sweep = found.sweeps[name]
            label = f"{number[name]} {sweep.precision}, {sweep.runtime}"
            axes.plot(list(probes), middle, color=SERIES[index], marker=MARKERS[index], markersize=4, label=label)
            axes.fill_between(list(probes), middle, high, color=SERIES[index], alpha=0.18, linewidth=0)
            every += middle + high
        plain_axis(axes.xaxis, list(getattr(found.sweeps[names[0]], field)))
        plain_axis(axes.yaxis, round_ticks(every))
        axes.legend(loc="upper left" if field == "by_length" else "upper right", fontsize=8)
        low, top = axes.get_ylim()
        axes.set_ylim(low, top * (top / low) ** 0.35)  # room for the legend

    return draw(title, x, y, fill)


def _chosen(found: Gathered) -> list[str]:
    """The reference, and the fastest of each precision."""
    variants = [v for v in found.artifact.manifest.variants if v.name in found.sweeps]
    fastest = sorted(variants, key=lambda v: found.latency(v) or 0.0)
    first = {v.precision: v.name for v in reversed(fastest)}
    names = [variants[0].name, *first.values()] if variants else []
    return list(dict.fromkeys(names))[:_MOST_LINES]


def _short(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:9]}…{name[-10:]}"
