"""Tables of what was measured on a GPU, and what was aimed at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.gpu.engines import CAPTURED, PADDED, UNPADDED
from benchmarks.gpu.results import Peak, Row, Timing
from benchmarks.measure import markdown_table
from runtimes.engines.ort.cuda_by_shape import FULL, GRAPHS, SMALL
from runtimes.engines.ort.cuda_graphs import find_bucket

#: What the project aims at, on bert-base in fp16.
_SHARE, _SHARE_SHAPE = 0.5, (128, 128)
_GAIN, _GAIN_FILL = 1.7, 0.5
_FILL_SLACK = 0.02

MET, MISSED, ABSENT = "met", "missed", "not measured"


def time_table(rows: Sequence[Row], peak: Peak) -> str:
    """Milliseconds, and share of `peak` on real tokens, of every engine; rows of one precision."""
    names = list(dict.fromkeys(name for row in rows for name in (*(one.name for one in row.timings), *row.failed)))
    lines = []
    for row in rows:
        found = {name: row.find(name) for name in names}
        cells = [
            _failure(row, name) if one is None else f"{_milliseconds(one)}, {row.share(one, peak.operations):.0%}"
            for name, one in found.items()
        ]
        lines.append([row.batch, *cells])
    return markdown_table(["batch", *names], lines)


def ratio_table(rows: Sequence[Row]) -> str:
    """The fastest peer's time to the fastest of ours, round by round, and the largest difference of ours."""
    lines = []
    for row in rows:
        ours, peer = row.best(ours=True), row.best(ours=False)
        if ours is None or peer is None:
            lines.append([row.batch, *["-"] * 4])
            continue
        difference = max(one.difference for one in row.timings if one.ours)
        lines.append([row.batch, ours.name, peer.name, spread(peer, ours), f"{difference:.1e}"])
    return markdown_table(["batch", "our fastest", "fastest peer", "ratio", "difference"], lines, texts=3)


def aims_table(rows: Sequence[Row], peak: Peak) -> str:
    """Each aim, what was measured, and whether it is met."""
    halves = [row for row in rows if row.precision == "fp16"]
    lines = [_share_aim(halves, peak), _gain_aim(halves), _peers_aim(halves)]
    return markdown_table(["aim (fp16)", "measured", "verdict"], lines, texts=3)


def failures(rows: Sequence[Row]) -> list[str]:
    """A line for each engine that could not run a batch."""
    return [f"* {name} in {row.precision} on {row.batch}: {why}" for row in rows for name, why in row.failed.items()]


def choices_table(rows: Sequence[Row]) -> str:
    """For each of our graphs: on how many batches `load` would take it, and what that costs beside our fastest there.

    `load` takes by its rule in `runtimes/engines/ort/cuda_by_shape.py`, which nobody had measured when it was written.
    """
    lost: dict[str, list[float]] = {CAPTURED: [], PADDED: [], UNPADDED: []}
    for row in rows:
        chosen, best = row.find(_choice(row)), row.best(ours=True)
        if chosen is not None and best is not None:
            lost[chosen.name].append(_ratio(chosen, best))
    lines = [
        [name, str(len(ratios)), str(sum(ratio <= 1.0 for ratio in ratios)), f"{max(ratios, default=1.0):.2f}x"]
        for name, ratios in lost.items()
    ]
    return markdown_table(["graph", "batches", "of them our fastest", "at most"], lines)


def _choice(row: Row) -> str:
    """What `load` takes for a batch."""
    if row.rows * row.length > SMALL:
        return UNPADDED if row.fill <= FULL else PADDED
    captured = find_bucket(row.rows, row.length, GRAPHS.batches, GRAPHS.lengths)
    return PADDED if captured is None else CAPTURED


def differences(rows: Sequence[Row]) -> Mapping[str, float]:
    """The largest difference of each engine from the eager model in float32, over all batches."""
    found: dict[str, float] = {}
    for row in rows:
        for one in row.timings:
            found[one.name] = max(found.get(one.name, 0.0), one.difference)
    return found


def spread(numerator: Timing, denominator: Timing) -> str:
    """`2.31x (2.25-2.36)`: median of the ratios of the rounds, and their middle half."""
    low, middle, high = np.percentile(_ratios(numerator, denominator), (25, 50, 75))
    return f"{middle:.2f}x ({low:.2f}-{high:.2f})"


def _ratio(numerator: Timing, denominator: Timing) -> float:
    return float(np.median(_ratios(numerator, denominator)))


def _ratios(numerator: Timing, denominator: Timing) -> np.ndarray:
    """Round by round."""
    return np.array(numerator.seconds) / np.array(denominator.seconds)


def _share_aim(rows: Sequence[Row], peak: Peak) -> list[str]:
    shape = "x".join(map(str, _SHARE_SHAPE))
    aim = f"at least {_SHARE:.0%} of the peak ({peak.source}) at {shape}, no padding"
    row = next((row for row in rows if _shape(row) == _SHARE_SHAPE and row.fill == 1.0), None)
    ours = None if row is None else row.best(ours=True)
    if row is None or ours is None:
        return [aim, "-", ABSENT]
    share = row.share(ours, peak.operations)
    return [aim, f"{share:.1%} ({ours.name})", MET if share >= _SHARE else MISSED]


def _gain_aim(rows: Sequence[Row]) -> list[str]:
    shape = "x".join(map(str, _SHARE_SHAPE))
    aim = f"unpadded at least {_GAIN}x as fast as our padded graph at {shape}, half filled"
    row = next((row for row in rows if _shape(row) == _SHARE_SHAPE and abs(row.fill - _GAIN_FILL) <= _FILL_SLACK), None)
    padded, unpadded = (None, None) if row is None else (row.find(PADDED), row.find(UNPADDED))
    if padded is None or unpadded is None:
        return [aim, "-", ABSENT]
    return [aim, spread(padded, unpadded), MET if _ratio(padded, unpadded) >= _GAIN else MISSED]


def _peers_aim(rows: Sequence[Row]) -> list[str]:
    aim = "ahead of every peer at every shape"
    pairs = [(row, row.best(ours=True), row.best(ours=False)) for row in rows]
    ratios = {row.batch: _ratio(peer, ours) for row, ours, peer in pairs if ours is not None and peer is not None}
    if not ratios or len(ratios) < len(rows):
        return [aim, "-", ABSENT]
    behind = {name: ratio for name, ratio in ratios.items() if ratio <= 1.0}
    worst = min(ratios, key=lambda name: ratios[name])
    told = f"{len(ratios) - len(behind)} of {len(ratios)} shapes; least {ratios[worst]:.2f}x at {worst}"
    return [aim, told, MISSED if behind else MET]


def _shape(row: Row) -> tuple[int, int]:
    return row.rows, row.length


def _failure(row: Row, name: str) -> str:
    return "failed" if name in row.failed else "-"


def _milliseconds(timing: Timing) -> str:
    value = timing.median * 1e3
    return f"{value:.3g} ms" if value < 1000 else f"{value:.0f} ms"
