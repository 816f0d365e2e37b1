"""Drawing by matplotlib to inline SVG whose colours are those of the page, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

#: What is drawn in these becomes a colour of the page: text and axes, grid, and the series, whose names are in the CSS.
INK, GRID = "#010203", "#040506"
SERIES = ("#0a0101", "#0a0102", "#0a0103", "#0a0104", "#0a0105", "#0a0106", "#0a0107", "#0a0108")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_CSS = {INK: "currentColor", GRID: "var(--grid)"} | {colour: f"var(--s{i})" for i, colour in enumerate(SERIES)}

#: Inches; small, so that text stays readable where a phone makes the whole as wide as its screen.
_SIZE = (4.6, 3.3)
_STYLE: Any = {  # matplotlib spells out the type of every setting
    "svg.fonttype": "path",  # the same letters everywhere, so that nothing runs into anything else
    "svg.hashsalt": "bert-onnx",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def draw(title: str, x: str, y: str, fill: Callable[[Any], None], size: tuple[float, float] = _SIZE) -> str:
    """An SVG of one pair of axes.

    Args:
        title: what it shows, for those who do not see it.
        x, y: what the axes count, with units.
        fill: draws into the axes.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        fill(axes)
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(written.getvalue(), title)


def plain_axis(axis: Any, ticks: Sequence[float], log: bool = True) -> None:
    """Ticks at `ticks` alone, written as plain numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    if log:
        (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def round_ticks(values: Sequence[float]) -> list[float]:
    """1, 2, 5 times powers of ten that enclose `values`, which are above 0."""
    low, high = min(values), max(values)
    steps = [m * 10.0**e for e in range(-9, 10) for m in (1, 2, 5)]
    below = max((s for s in steps if s <= low), default=steps[0])
    above = min((s for s in steps if s >= high), default=steps[-1])
    inside = [s for s in steps if below <= s <= above]
    return inside if len(inside) <= 9 else inside[:: -(-len(inside) // 9)]


def spread(places: np.ndarray, least: float, rounds: int = 200) -> np.ndarray:
    """`places` [N, 2] pushed apart until every two are `least` from each other, or nearly."""
    moved = places.astype(float) + np.random.default_rng(0).normal(0, 1e-3, places.shape)
    for _ in range(rounds):
        gaps = moved[:, None] - moved[None]
        distance = np.sqrt(np.square(gaps).sum(-1)) + np.eye(len(moved)) * 1e9
        push = np.clip(least - distance, 0, None)[..., None] * gaps / distance[..., None]
        if not push.any():
            break
        moved += push.sum(axis=1) / 2
    return moved


def _inline(svg: str, title: str) -> str:
    """Without prolog and fixed size, in the colours of the page, and with a name."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    for colour, name in _CSS.items():
        svg = svg.replace(colour, name)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
