"""What 10^9 documents take: tokens a second of one core by variant and length, and a model of a fleet made of them.

    python -m benchmarks.scale_model ARTIFACT [--tokens N] [--price P] [--rate R --start S]

`--rate` (rows a second of a worker) and `--start` (seconds until it begins), both of a run of `benchmarks.scale`, make
the model say what runs of one and two workers should take; docs/scaling.md has both.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import describe_machine
from benchmarks.measure import markdown_table

LENGTHS = (16, 64, 128, 256)
DOCUMENTS = 10**9
NODES = (1, 10, 100, 1000)
_ROWS = 32


@dataclass(frozen=True)
class Fleet:
    """What a job runs on, and what it reads and writes.

    Args:
        nodes: machines.
        cores: workers of one thread on each.
        rate: documents a second of a worker.
        part: documents of a part.
        start: seconds from the command to the first document: cluster, driver, sessions.
        bytes_in, bytes_out: of a document, as stored.
        price: of a core for an hour.
    """

    nodes: int
    cores: int
    rate: float
    part: int = 32_768
    start: float = 30.0
    bytes_in: int = 600
    bytes_out: int = 4 * 384
    price: float = 0.04

    def seconds(self, documents: int) -> float:
        """Whole rounds of parts: what bounds large fleets is that the last part is as long as the others."""
        workers, part = self.nodes * self.cores, min(self.part, documents)
        parts = -(-documents // part)
        rounds = -(-parts // workers)
        return self.start + rounds * part / self.rate

    def megabits(self) -> float:
        """Network of a node, in megabits a second, both ways."""
        return self.cores * self.rate * (self.bytes_in + self.bytes_out) * 8 / 1e6

    def cost(self, documents: int) -> float:
        """Of the cores, in the currency of `price`."""
        return self.nodes * self.cores * self.price * self.seconds(documents) / 3600


def table_of_fleets(rate: float, price: float, cores: int) -> str:
    """From 1 to 1,000 nodes, with parts of the usual size and with parts small enough for the fleet."""
    rows = []
    for nodes in NODES:
        for part in (32_768, 4_096):
            fleet = Fleet(nodes, cores, rate, part=part, price=price)
            hours = fleet.seconds(DOCUMENTS) / 3600
            ideal = DOCUMENTS / (nodes * cores * rate) / 3600
            requests = 3 * DOCUMENTS / part / (hours * 3600)
            figures = (f"{hours:,.1f}", f"{ideal / hours:.2f}", f"{fleet.megabits():.0f}", f"{requests:.1f}")
            rows.append([f"{nodes}", f"{part:,}", *figures, f"{fleet.cost(DOCUMENTS):,.0f}"])
    header = ("nodes", "rows of a part", "hours", "of ideal", "Mbit/s a node", "requests/s of the store", "cost")
    return markdown_table(header, rows, texts=0)


def measure(artifact: Path, tokens: int) -> Iterator[tuple[str, int, float]]:
    """Variant, tokens of a text, and tokens a second of one thread: the best of three calls."""
    from runtimes import load

    for variant in _variants(artifact):
        model = load(artifact, variant=variant, runtime="onnxruntime-cpu", threads=1, check_hashes=False)
        for length in LENGTHS:
            texts = [" ".join(["dog"] * (length - 2))] * max(4, min(_ROWS, tokens // length))
            model.embed(texts[:2])
            best = 1e9
            for _ in range(3):
                begun = time.perf_counter()
                model.embed(texts)
                best = min(best, time.perf_counter() - begun)
            yield variant, length, len(texts) * length / best
        model.close()


def _variants(artifact: Path) -> list[str]:
    from bert_onnx.artifact import Artifact

    found = Artifact.open(artifact, check_hashes=False, partial=True).manifest.variants
    return [variant.name for variant in found if variant.target in ("portable", "ort-cpu", "ort-cpu-unpadded")]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--tokens", type=int, default=4096, help="of a call that is timed")
    parser.add_argument("--price", type=float, default=0.04, help="of a core for an hour")
    parser.add_argument("--cores", type=int, default=16, help="of a node")
    parser.add_argument("--rate", type=float, help="documents a second of a worker (default: texts of 128 tokens)")
    parser.add_argument("--start", type=float, help="seconds until workers begin: print what short runs should take")
    parser.add_argument("--rows", type=int, default=3072, help="of such a run")
    parser.add_argument("--part", type=int, default=256, help="rows of a part of such a run")
    chosen = parser.parse_args()
    if chosen.start is not None:
        for workers in (1, 2):
            fleet = Fleet(1, workers, chosen.rate, chosen.part, chosen.start)
            print(f"{workers} workers: {fleet.seconds(chosen.rows):.1f} s for {chosen.rows} rows")
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    found = list(measure(chosen.artifact, chosen.tokens))
    names = sorted({variant for variant, _, _ in found})
    rows = [[variant, *(f"{speed:,.0f}" for name, _, speed in found if name == variant)] for variant in names]
    print(markdown_table(["variant", *(f"{length} tokens" for length in LENGTHS)], rows))
    rate = chosen.rate or max(speed / length for _, length, speed in found if length == 128)
    print(f"\n{rate:.0f} documents a second of a core\n\n{table_of_fleets(rate, chosen.price, chosen.cores)}")
    print(f"\n{describe_machine(('onnxruntime',))}")


if __name__ == "__main__":
    main()
