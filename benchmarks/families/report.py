"""The page of `benchmarks.families`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.families.models import TARGETS_MEASURED
from benchmarks.measure import markdown_table

#: Seconds of each pass by (model_type, file), an entry a round.
Times = Mapping[tuple[str, str], np.ndarray]

PRECISIONS = ("fp32", "int8")

_ABOUT = """# BERT's family: speed
<!-- written by `make bench-families` -->

One model of each family whose mathematics differ from BERT's ([families.md](families.md)), {layers} layers of {width}
(so that all fit into one run), heads of 64, random weights, a vocabulary of 2000: our graphs and optimum's of the same
checkpoint, all on ONNX Runtime with its default optimisations and the same threads. `xlm-roberta`, `camembert` and
`data2vec-text` have the graphs of `roberta`, `ernie` BERT's. All files are open at once, and each round runs each of
them in an order of its own; figures are medians of {rounds}, ratios are of a round, in brackets their quartiles.

int8 is dynamic on both sides: ours has a scale for each token, so that no text depends on its batch; optimum's
(`ORTQuantizer`, per channel) one for the whole batch. It shows speed alone.
Random weights say nothing of quality, so no gate was asked;
[benchmarks-precision.md](benchmarks-precision.md) has that.
The largest difference between our fp32 outputs and optimum's on real tokens is {difference:.1e}."""

_BESIDE = """## Beside BERT
Time for each multiply-add of the model, as a ratio to BERT's with the same file in the same round: 1 is BERT's speed,
above 1 is slower. Multiply-adds are those of all products that real tokens need; a narrow embedding's
projection (ELECTRA, ALBERT) is among them. MPNet's biases of distances are additions and count as nothing; in
unpadded graphs its attention runs on padded rows."""


def write_page(
    times: Mapping[str, Times],
    arithmetic: Mapping[tuple[str, str], float],
    difference: float,
    sizes: tuple[int, int],
    machine: str,
) -> str:
    """The whole page.

    Args:
        times: by batch.
        arithmetic: multiply-adds by (batch, model_type).
        difference: the largest of our fp32 outputs from optimum's.
        sizes: layers and width.
    """
    rounds = " and ".join(str(len(next(iter(one.values())))) for one in times.values())
    about = _ABOUT.format(layers=sizes[0], width=sizes[1], rounds=f"{rounds} rounds", difference=difference)
    parts = [about, _BESIDE, _verdict(times, arithmetic)]
    parts += [_beside_bert(batch, one, arithmetic) for batch, one in times.items()]
    parts.append("## Beside optimum\nRatio = optimum's time / ours: above 1, ours is faster.")
    parts += [_beside_optimum(batch, one, precision) for batch, one in times.items() for precision in PRECISIONS]
    return "\n\n".join([*parts, machine]) + "\n"


def relative_cost(
    times: Times, batch: str, name: str, file: str, arithmetic: Mapping[tuple[str, str], float]
) -> np.ndarray:
    """Time per multiply-add of `name` over BERT's, round by round."""
    more = arithmetic[batch, name] / arithmetic[batch, "bert"]
    return times[name, file] / times["bert", file] / more


def _verdict(times: Mapping[str, Times], arithmetic: Mapping[tuple[str, str], float]) -> str:
    """The largest figure of each kind of batch, ours and optimum's."""
    lines = []
    for batch, one in times.items():
        costs = {
            (name, file): float(np.median(relative_cost(one, batch, name, file, arithmetic)))
            for name, file in one
            if name != "bert"
        }
        ours = max((key for key in costs if "optimum" not in key[1]), key=costs.__getitem__)
        peer = max((key for key in costs if "optimum" in key[1]), key=costs.__getitem__)
        lines.append(
            f"* {batch}: the slowest of ours is {costs[ours]:.2f} times BERT ({ours[0]}, {ours[1]}), the slowest of "
            f"optimum's {costs[peer]:.2f} ({peer[0]}, {peer[1]})."
        )
    return "\n".join(lines)


def _beside_bert(batch: str, times: Times, arithmetic: Mapping[tuple[str, str], float]) -> str:
    names, files = list(dict.fromkeys(name for name, _ in times)), list(dict.fromkeys(file for _, file in times))
    rows = []
    for name in names:
        more = arithmetic[batch, name] / arithmetic[batch, "bert"]
        costs = [_spread(relative_cost(times, batch, name, file, arithmetic)) for file in files]
        rows.append([f"`{name}`", f"{more:.3f}", *costs])
    return f"### {batch}\n\n" + markdown_table(["model_type", "multiply-adds", *files], rows)


def _beside_optimum(batch: str, times: Times, precision: str) -> str:
    rows = []
    for name in dict.fromkeys(name for name, _ in times):
        peer = times[name, f"{precision} optimum"]
        row = [f"`{name}`", _milliseconds(peer)]
        for target in TARGETS_MEASURED:
            own = times[name, f"{precision} {target}"]
            row += [_milliseconds(own), _spread(peer / own)]
        rows.append(row)
    head = [
        "model_type",
        "optimum, ms",
        *(title for target in TARGETS_MEASURED for title in (f"{target}, ms", "ratio")),
    ]
    return f"### {batch}, {precision}\n\n" + markdown_table(head, rows)


def _milliseconds(seconds: np.ndarray) -> str:
    return f"{1000 * float(np.median(seconds)):.1f}"


def _spread(values: np.ndarray) -> str:
    low, middle, high = np.percentile(values, (25, 50, 75))
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"
