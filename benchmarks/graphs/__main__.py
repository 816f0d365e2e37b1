"""Measures our graphs beside those of other tools, prints the tables, and writes them with two plots into docs/.

    python -m benchmarks.graphs [--quick] [--sample-only] [--threads 2] [--seconds 20] [--clock cpu] [--work DIR]
                                [--docs DIR]

Ratio = a peer's time / ours, round by round in one run; the best peer is the one with the shortest median time on that
batch. Every competitor is float32, has the same threads, and none spins between its runs. --quick takes the sample
alone, few batches and no torch.compile, and writes nothing. bert-base, of which a pass takes seconds, has few batches
and no torch.compile, too.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # torch's threads, too, sleep between their runs

import argparse
import gc
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx

from benchmarks.graphs.batches import Batch, Texts
from benchmarks.graphs.engines import Engine, onnxruntime_session, open_modules, open_sessions, torch_run
from benchmarks.graphs.measure import CLOCKS, Comparison, bare_products, compare, load_times
from benchmarks.graphs.models import Model, bert_base_folder, make_graphs, sample_folder
from benchmarks.graphs.report import load_table, plot, ratio_table, spread, time_table, wanted_ratio
from benchmarks.machine import describe_machine

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_PACKAGES = ("onnxruntime", "openvino", "torch", "transformers", "optimum", "optimum-onnx", "onnx")
_LONGEST = 256
_FILLS = (0.1, 0.2, 0.3, 0.4, 0.6)
_LENGTHS = (16, 32, 64, 128, 256)
_SWEPT_ROWS, _SWEPT_MIXED_ROWS = 8, 16

#: Where weights come to lie in memory makes a session a few percent faster or slower for as long as it lives; so all
#: sessions are opened anew this often, unless the command says otherwise.
_OPENINGS = 3


def main() -> int:
    """The command."""
    arguments = _arguments()
    work = Path(arguments.work or tempfile.mkdtemp(prefix="bert-onnx-bench-"))
    work.mkdir(parents=True, exist_ok=True)
    texts = Texts(sample_folder(), _LONGEST)
    folders = {"all-MiniLM-L6-v2": sample_folder()}
    if not (arguments.quick or arguments.sample_only):
        folders["bert-base, random"] = bert_base_folder(work)
    comparisons: list[Comparison] = []
    sweeps: dict[str, list[Comparison]] = {"length": [], "fill": []}
    loads, nodes, notes = {}, {}, []
    for name, folder in folders.items():
        model = make_graphs(name, folder, work)
        notes += [f"{peer} could not be made for {name}: {why}" for peer, why in model.refused.items()]
        graphs = {**model.ours, **model.peers}
        paths = {graph: str(path) for graph, path in graphs.items()}
        loads[name] = load_times(paths, lambda path: onnxruntime_session(Path(path), arguments.threads), rounds=5)
        nodes[name] = {graph: len(onnx.load(str(path)).graph.node) for graph, path in graphs.items()}
        large = "bert-base" in name
        runner = _Runner(model, arguments, large)
        comparisons += runner.run(list(_batches(texts, arguments.quick or large)))
        if not arguments.quick and not sweeps["fill"]:
            sweeps["length"] = runner.run([texts.full(_SWEPT_ROWS, length) for length in _LENGTHS], openings=1)
            mixed = [texts.mixed(_SWEPT_MIXED_ROWS, _LONGEST, fill) for fill in _FILLS]
            sweeps["fill"] = runner.run([*mixed, texts.full(_SWEPT_MIXED_ROWS, _LONGEST)], openings=1)
        page = _page(comparisons, sweeps, load_table(loads, nodes), notes, arguments)
        if not arguments.quick:  # after each model, so that a run that is ended leaves what it has
            _write(page, sweeps, Path(arguments.docs))
    print(page)
    return 0


def _write(page: str, sweeps: dict[str, list[Comparison]], docs: Path) -> None:
    plot(sweeps["length"], "length", f"{_SWEPT_ROWS} texts of one length, all-MiniLM-L6-v2", docs / _IMAGES[0])
    title = f"{_SWEPT_MIXED_ROWS} texts, the longest of {_LONGEST} tokens, all-MiniLM-L6-v2"
    plot(sweeps["fill"], "fill", title, docs / _IMAGES[1])
    (docs / "benchmarks-graphs.md").write_text(page, encoding="utf-8")


_IMAGES = ("img/graphs-time-by-length.png", "img/graphs-time-by-fill.png")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.graphs", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the sample, few batches, a few minutes; writes nothing")
    parser.add_argument("--sample-only", action="store_true", help="leave bert-base out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0, help="about how long each batch is measured")
    parser.add_argument("--openings", type=int, default=_OPENINGS, help="how often all sessions are opened anew")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall", help="cpu: for a machine that is not quiet")
    parser.add_argument("--work", help="where graphs are kept from one run to the next (default: a new folder)")
    parser.add_argument("--docs", default=str(_DOCS), help="where the page and the plots go")
    return parser.parse_args()


def _batches(texts: Texts, quick: bool) -> Iterator[Batch]:
    """Without padding, then mixed lengths."""
    for rows, length in ((1, 16), (1, 128), (8, 128)):
        yield texts.full(rows, length)
    if not quick:
        yield texts.full(32, 128)
    yield texts.mixed(32, 36, 0.39)
    if not quick:
        yield texts.mixed(32, 128, 0.39)
        yield texts.mixed(32, _LONGEST, 0.39)
        yield texts.mixed(32, _LONGEST, 0.19)
    yield texts.mixed(32, 128, 0.19)


class _Runner:
    """Compares the engines of one model, and says so as it goes."""

    def __init__(self, model: Model, arguments: argparse.Namespace, large: bool = False) -> None:
        self.model, self.arguments = model, arguments
        self.openings = 1 if arguments.quick or large else arguments.openings
        self.modules = list(open_modules(model, arguments.threads, compiled=not (arguments.quick or large)))
        self.reference = torch_run(model.folder, arguments.threads, compiled=False, attention="eager")
        self.products = bare_products(arguments.threads)

    def run(self, batches: Sequence[Batch], openings: int | None = None) -> list[Comparison]:
        """One comparison a batch, each over several openings of all sessions."""
        openings = openings or self.openings
        found: list[Comparison] = []
        for _ in range(openings):
            engines = [*open_sessions(self.model, self.arguments.threads), *self.modules]
            rounds = [self._compare(engines, batch, self.arguments.seconds / openings) for batch in batches]
            found = [one.joined(other) for one, other in zip(found, rounds, strict=True)] if found else rounds
            del engines
            gc.collect()
        return found

    def _compare(self, engines: list[Engine], batch: Batch, seconds: float) -> Comparison:
        config, clock = self.model.config, self.arguments.clock
        found = compare(self.model.name, config, engines, self.reference, self.products, batch, seconds, clock)
        ratio = spread(found.ratios(found.find("ours: ort-cpu-unpadded")))
        line = f"{self.model.name} {batch.name}: ort-cpu-unpadded {ratio} of {found.best_peer.name}"
        print(line, f"(wanted {wanted_ratio(found)})", file=sys.stderr, flush=True)
        return found


def _page(
    comparisons: list[Comparison],
    sweeps: dict[str, list[Comparison]],
    loading: str,
    notes: list[str],
    arguments: argparse.Namespace,
) -> str:
    """The page, in Markdown."""
    parts = [
        "# Graphs beside those of other tools",
        "Written by `python -m benchmarks.graphs`; its docstring says how it measures.",
        describe_machine(_PACKAGES),
        f"{arguments.threads} threads; {arguments.clock} time.",
        "## Against the best float32 peer",
        "Median ratio of the peer's time to ours, with the middle half of the rounds in brackets; above 1 we are "
        "faster. The peer is the fastest on that batch; without padding, the fastest on ONNX Runtime. The difference "
        "is the largest of our graphs from eager torch, on real tokens.",
        ratio_table(comparisons),
        "## Every competitor",
        "Milliseconds for the batch, and floating point operations on real tokens a second as a share of a bare "
        "product's in the same run.",
        time_table(comparisons),
        "## Loading",
        loading,
        *notes,
    ]
    if sweeps["fill"]:
        parts += [
            "## Time against length and against fill",
            f"![time against length]({_IMAGES[0]})",
            time_table(sweeps["length"]),
            f"![time against fill]({_IMAGES[1]})",
            time_table(sweeps["fill"]),
        ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
