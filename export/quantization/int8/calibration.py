"""Statistics of what weight MatMuls read: smallest and largest value a channel, and a sample of rows. Padding is out.

The texts are split in two: ranges are taken from one half and judged on the other, so that a choice that only fits
the texts that it was made on loses. What is published takes its ranges from both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from bert_onnx.errors import InputError
from export.quantization.feeds import Feed
from export.quantization.int8.sites import Site
from export.quantization.sessions import GraphSession

#: Rows kept of each site, and bytes that the rows of all sites of one run may take.
ROWS = 4096
MAX_BYTES = 2**29
_FLOAT = 4


@dataclass(frozen=True)
class Statistics:
    """What was seen of one activation x [..., I].

    Args:
        low, high: smallest and largest value of each channel [I], in all texts.
        fit_low, fit_high: the same in one half of the texts.
        rows: a sample of real tokens of all texts [N, I].
        judge: a sample of real tokens of the other half [M, I].
        count: tokens that were seen.
    """

    low: np.ndarray
    high: np.ndarray
    fit_low: np.ndarray
    fit_high: np.ndarray
    rows: np.ndarray
    judge: np.ndarray
    count: int


def calibrate(
    model: ir.Model, sites: Sequence[Site], feeds: Sequence[Feed], rows: int = ROWS, max_bytes: int = MAX_BYTES
) -> Iterator[tuple[Site, Statistics]]:
    """Statistics of each site, a few sites at a time, so that memory stays bounded: each group is one more run.

    Raises:
        InputError: an activation is not finite.
    """
    per_site = {site.source: site for site in sites}
    group: list[Site] = []
    used = 0
    for site in per_site.values():
        needed = min(rows, _tokens(feeds)) * site.inputs * _FLOAT
        if group and used + needed > max_bytes:
            yield from _run(model, group, feeds, rows)
            group, used = [], 0
        group.append(site)
        used += needed
    if group:
        yield from _run(model, group, feeds, rows)


def expose(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """A copy of `model` that returns the values `names`, too."""
    copy = model.clone()
    present = {output.name for output in copy.graph.outputs}
    values = {value.name: value for node in copy.graph for value in node.outputs}
    values |= {value.name: value for value in copy.graph.inputs}
    for name in names:
        if name not in present:
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


def _run(model: ir.Model, sites: Sequence[Site], feeds: Sequence[Feed], rows: int) -> Iterator[tuple[Site, Statistics]]:
    names = [site.source for site in sites]
    share = min(1.0, rows / max(1, _tokens(feeds)))
    collectors = [_Collector(site, share) for site in sites]
    with GraphSession(expose(model, names)) as session:
        for number, feed in enumerate(feeds):
            for collector, array in zip(collectors, session.run(names, feed), strict=True):
                collector.add(real_rows(array, feed.mask), fit=number % 2 == 0)
    for site, collector in zip(sites, collectors, strict=True):
        yield site, collector.finish()


class _Collector:
    """Statistics of one site, batch by batch."""

    def __init__(self, site: Site, share: float) -> None:
        self._site = site
        self._share = share
        self._rng = np.random.default_rng(0)
        self._bounds: dict[bool, list[np.ndarray]] = {}
        self._rows: dict[bool, list[np.ndarray]] = {True: [], False: []}
        self._count = 0

    def add(self, rows: np.ndarray, fit: bool) -> None:
        """Take the rows [N, I] of one batch, of the half that ranges are made from or of the one that judges them."""
        low, high = rows.min(axis=0), rows.max(axis=0)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise InputError(f"what {self._site.name} reads is not finite; the weights are damaged.")
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
            judge=np.concatenate(judged),
            count=self._count,
        )
