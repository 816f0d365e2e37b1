"""Tables and plots of what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.graphs.measure import Comparison, Timing
from benchmarks.graphs.models import OURS

_OURS = tuple(f"ours: {name}" for name in OURS)
#: What the project asks of its graphs: at least this ratio to the best peer, by the batch's fill.
_WANTED = ((0.2, 3.0), (0.4, 2.0), (1.0, 0.97))
#: Fills are drawn to the nearest text.
_FILL_SLACK = 0.01

_COLOURS = {
    "ours: portable": "#56B4E9",
    "ours: ort-cpu": "#0072B2",
    "ours: ort-cpu-unpadded": "#D55E00",
    "ours: openvino-unpadded": "#E69F00",
}
_PEER_STYLES = ("#555555", "#777777", "#999999", "#000000", "#BBBBBB", "#888888", "#444444")
_MARKERS = "os^Dvx+"


def wanted_ratio(comparison: Comparison) -> float | None:
    """The ratio to the best peer that is asked for; None between the fills that the project speaks of."""
    if comparison.batch.fill == 1.0:
        return _WANTED[-1][1]
    return next((ratio for fill, ratio in _WANTED[:-1] if comparison.batch.fill <= fill + _FILL_SLACK), None)


def spread(ratios: np.ndarray) -> str:
    """`2.31x (2.25-2.36)`: median, and the middle half of all rounds."""
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    return f"{middle:.2f}x ({low:.2f}-{high:.2f})"


def ratio_table(comparisons: Sequence[Comparison]) -> str:
    """Ratios of our graphs to the best peer."""
    head = ["model", "batch", "best peer", "wanted", *(name.removeprefix("ours: ") for name in _OURS), "difference"]
    rows = []
    for one in comparisons:
        peer, wanted = one.best_peer, wanted_ratio(one)
        ours = [one.find(name) for name in _OURS]
        difference = max(timing.difference for timing in ours)
        rows.append(
            [
                one.model,
                one.batch.name,
                f"{peer.name}, {_milliseconds(peer)}",
                "-" if wanted is None else f"{wanted:.2f}x",
                *(spread(one.ratios(timing)) for timing in ours),
                f"{difference:.1e}",
            ]
        )
    return _table(head, rows)


def time_table(comparisons: Sequence[Comparison]) -> str:
    """Milliseconds and share of the peak of every competitor."""
    names = list(dict.fromkeys(timing.name for one in comparisons for timing in one.timings))
    rows = []
    for one in comparisons:
        found = {timing.name: timing for timing in one.timings}
        cells = [
            f"{_milliseconds(found[name])}, {one.share(found[name]):.0%}" if name in found else "-" for name in names
        ]
        rows.append([one.model, one.batch.name, *cells])
    return _table(["model", "batch", *names], rows)


def load_table(loads: dict[str, dict[str, np.ndarray]], nodes: dict[str, dict[str, int]]) -> str:
    """Seconds to open a session, and nodes, by model and graph."""
    rows = []
    for model, times in loads.items():
        raw = times["optimum raw"]
        for name, values in times.items():
            milliseconds = f"{np.median(values) * 1e3:.0f} ms"
            rows.append([model, name, str(nodes[model][name]), milliseconds, spread(values / raw)])
    return _table(["model", "graph", "nodes", "session load", "against optimum raw"], rows)


def _milliseconds(timing: Timing) -> str:
    value = timing.median * 1e3
    return f"{value:.3g} ms" if value < 1000 else f"{value:.0f} ms"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


def plot(comparisons: Sequence[Comparison], axis: str, title: str, path: Path) -> None:
    """Milliseconds against `axis`, `length` or `fill`, one line a competitor, on logarithmic scales for lengths."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter

    figure, axes = pyplot.subplots(figsize=(8.5, 5.2))
    places = [one.batch.lengths.max() if axis == "length" else one.batch.fill for one in comparisons]
    names = [timing.name for timing in comparisons[0].timings]
    for number, name in enumerate(sorted(names, key=lambda name: name not in _COLOURS)):
        values = [one.find(name).median * 1e3 for one in comparisons]
        ours = name in _COLOURS
        axes.plot(
            places,
            values,
            label=name,
            color=_COLOURS.get(name, _PEER_STYLES[number % len(_PEER_STYLES)]),
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=5,
            linewidth=2.4 if ours else 1.1,
            linestyle="-" if ours else "--",
            zorder=3 if ours else 2,
        )
    axes.set_yscale("log")
    if axis == "length":
        axes.set_xscale("log", base=2)
        axes.set_xticks(places, [str(place) for place in places])
    axes.set_xlabel("tokens in each text, no padding" if axis == "length" else "real tokens / all places of the batch")
    axes.set_ylabel("milliseconds for the batch (median)")
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_formatter(plain)
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
