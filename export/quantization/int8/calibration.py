"""Calibration: per-channel minimum and maximum of what weight MatMuls read, and a sample of its rows, without padding.

The texts are split in two: ranges come from one half and are judged on the other, so that a candidate that only fits
the texts that it was made from loses. What is published takes its ranges from both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from bert_onnx.errors import InputError
from export.quantization.feeds import Feed
from export.quantization.int8.groups import QuantGroup
from export.quantization.sessions import GraphSession

#: Rows kept of each group, and bytes that the rows of all groups of one run may take.
ROWS = 4096
MAX_BYTES = 2**29
_FLOAT = 4

#: Rows that a candidate is judged on; more change no decision.
_JUDGED = 512


@dataclass(frozen=True)
class Statistics:
    """What was seen of one activation x [..., I].

    Args:
        low, high: per-channel minimum and maximum [I], over all texts.
        fit_low, fit_high: the same over one half of the texts.
        rows: a sample of real tokens of all texts [N, I].
        judge: a smaller sample of real tokens of the other half [M, I].
        count: how many real tokens there were.
    """

    low: np.ndarray
    high: np.ndarray
    fit_low: np.ndarray
    fit_high: np.ndarray
    rows: np.ndarray
    judge: np.ndarray
    count: int


class Calibration:
    """Statistics of groups, gathered by running a graph. They are kept where all of them fit into `max_bytes`.

    Args:
        model: a float graph.
        groups: groups of it.
        feeds: calibration texts.
        rows: rows to keep of each group.
        max_bytes: what the rows of the groups of one run may take.
    """

    def __init__(
        self,
        model: ir.Model,
        groups: Sequence[QuantGroup],
        feeds: Sequence[Feed],
        rows: int = ROWS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._model = model
        self._feeds = feeds
        self._rows = rows
        self._runs = self._divide(groups, max_bytes)
        self._kept: dict[QuantGroup, Statistics] = {}

    def every(self) -> Iterator[tuple[QuantGroup, Statistics]]:
        """Statistics of each group in turn; groups whose rows do not fit beside the others cost another run.

        Raises:
            InputError: an activation is not finite.
        """
        for together in self._runs:
            for group, statistics in _run(self._model, together, self._feeds, self._rows):
                if len(self._runs) == 1:
                    self._kept[group] = statistics
                yield group, statistics

    def of(self, group: QuantGroup) -> Statistics:
        """Statistics of one group, gathered again where they were not kept."""
        if group in self._kept:
            return self._kept[group]
        ((_, statistics),) = _run(self._model, [group], self._feeds, self._rows)
        return statistics

    def _divide(self, groups: Sequence[QuantGroup], max_bytes: int) -> list[list[QuantGroup]]:
        """Groups whose rows are in memory together."""
        runs: list[list[QuantGroup]] = []
        used = 0
        for group in groups:
            needed = min(self._rows, _tokens(self._feeds)) * group.inputs * _FLOAT
            if not runs or used + needed > max_bytes:
                runs.append([])
                used = 0
            runs[-1].append(group)
            used += needed
        return runs


def expose(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """A copy of `model` that returns the values `names` and nothing else, so that nothing else is computed."""
    copy = model.clone()
    values = {value.name: value for node in copy.graph for value in node.outputs}
    values |= {value.name: value for value in copy.graph.inputs}
    copy.graph.outputs.clear()
    for name in names:
        value = values[name]
        value.type = value.type or ir.TensorType(ir.DataType.FLOAT)
        copy.graph.outputs.append(value)
    return copy


def real_rows(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The rows [N, I] of real tokens of an activation [B, S, I]; all rows of one that has no padding in it."""
    flat = array.reshape(-1, array.shape[-1])
    return flat[mask.reshape(-1)] if len(flat) == mask.size and array.ndim > 2 else flat


def _tokens(feeds: Sequence[Feed]) -> int:
    return int(sum(feed.mask.sum() for feed in feeds))


def _run(
    model: ir.Model, groups: Sequence[QuantGroup], feeds: Sequence[Feed], rows: int
) -> Iterator[tuple[QuantGroup, Statistics]]:
    names = [group.source for group in groups]
    share = min(1.0, rows / max(1, _tokens(feeds)))
    collectors = [_Collector(group, share) for group in groups]
    with GraphSession(expose(model, names)) as session:
        for number, feed in enumerate(feeds):
            for collector, array in zip(collectors, session.run(names, feed), strict=True):
                collector.add(real_rows(array, feed.mask), fit=number % 2 == 0)
    for group, collector in zip(groups, collectors, strict=True):
        yield group, collector.finish()


class _Collector:
    """Statistics of one group, batch by batch."""

    def __init__(self, group: QuantGroup, share: float) -> None:
        self._group = group
        self._share = share
        self._rng = np.random.default_rng(0)
        self._bounds: dict[bool, list[np.ndarray]] = {}
        self._rows: dict[bool, list[np.ndarray]] = {True: [], False: []}
        self._count = 0

    def add(self, rows: np.ndarray, fit: bool) -> None:
        """Take the rows [N, I] of one batch, of the half that ranges are made from or of the one that judges them."""
        low, high = rows.min(axis=0), rows.max(axis=0)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise InputError(f"what {self._group.name} reads is not finite; the weights are damaged.")
        if fit in self._bounds:
            low, high = np.minimum(low, self._bounds[fit][0]), np.maximum(high, self._bounds[fit][1])
        self._bounds[fit] = [low, high]
        self._rows[fit].append(rows[self._rng.random(len(rows)) < self._share])
        self._count += len(rows)

    def finish(self) -> Statistics:
        """What was seen; with a single batch, both halves are the same."""
        bounds = list(self._bounds.values())
        fit_low, fit_high = self._bounds.get(True, bounds[0])
        judged = self._rows[False] or self._rows[True]
        return Statistics(
            low=np.min([low for low, _ in bounds], axis=0),
            high=np.max([high for _, high in bounds], axis=0),
            fit_low=fit_low,
            fit_high=fit_high,
            rows=np.concatenate(self._rows[True] + self._rows[False]),
            judge=np.concatenate(judged)[:_JUDGED].copy(),
            count=self._count,
        )
