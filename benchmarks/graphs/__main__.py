"""Measures our graphs beside those of other tools, prints the tables, and writes them with two plots into docs/.

    python -m benchmarks.graphs [--quick] [--threads 2] [--seconds 20] [--clock cpu] [--work DIR] [--docs DIR]

Ratio = a peer's time / ours, round by round in one run; the best peer is the one with the shortest median time on that
batch. Every competitor is float32, has the same threads, and none spins between its runs. --quick takes the sample
alone, few batches and no torch.compile, and writes nothing.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # torch's threads, too, sleep between their runs

import argparse
import platform
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import onnx

from benchmarks.graphs.batches import Batch, Texts
from benchmarks.graphs.engines import Engine, onnxruntime_session, open_engines, torch_run
from benchmarks.graphs.measure import CLOCKS, Comparison, bare_products, compare, load_times
from benchmarks.graphs.models import Model, bert_base_folder, make_graphs, sample_folder
from benchmarks.graphs.report import load_table, plot, ratio_table, spread, time_table, wanted_ratio

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_PACKAGES = ("onnxruntime", "openvino", "torch", "transformers", "optimum", "optimum-onnx", "onnx")
_LONGEST = 256
_FILLS = (0.1, 0.2, 0.3, 0.4, 0.6)
_LENGTHS = (16, 32, 64, 128, 256)
_SWEPT_ROWS, _MIXED_ROWS = 8, 32


def main() -> int:
    """The command."""
    arguments = _arguments()
    work = Path(arguments.work or tempfile.mkdtemp(prefix="bert-onnx-bench-"))
    work.mkdir(parents=True, exist_ok=True)
    texts = Texts(sample_folder(), _LONGEST)
    folders = {"all-MiniLM-L6-v2": sample_folder()}
    if not arguments.quick:
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
        engines = list(open_engines(model, arguments.threads, compiled=not arguments.quick))
        runner = _Runner(model, engines, arguments)
        for batch in _batches(texts, arguments.quick):
            comparisons.append(runner.run(batch))
        if not arguments.quick and not sweeps["fill"]:
            sweeps["length"] = [runner.run(texts.full(_SWEPT_ROWS, length)) for length in _LENGTHS]
            sweeps["fill"] = [runner.run(texts.mixed(_MIXED_ROWS, _LONGEST, fill)) for fill in _FILLS]
            sweeps["fill"].append(runner.run(texts.full(_MIXED_ROWS, _LONGEST)))
    page = _page(comparisons, sweeps, load_table(loads, nodes), notes, arguments)
    print(page)
    if not arguments.quick:
        docs = Path(arguments.docs)
        plot(sweeps["length"], "length", f"{_SWEPT_ROWS} texts of one length, all-MiniLM-L6-v2", docs / _IMAGES[0])
        title = f"{_MIXED_ROWS} texts, the longest of {_LONGEST} tokens, all-MiniLM-L6-v2"
        plot(sweeps["fill"], "fill", title, docs / _IMAGES[1])
        (docs / "benchmarks-graphs.md").write_text(page)
    return 0


_IMAGES = ("img/graphs-time-by-length.png", "img/graphs-time-by-fill.png")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.graphs", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the sample, few batches, a few minutes; writes nothing")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0, help="about how long each batch is measured")
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
    if not quick:
        yield texts.mixed(32, 128, 0.19)


class _Runner:
    """Compares the engines of one model, and says so as it goes."""

    def __init__(self, model: Model, engines: list[Engine], arguments: argparse.Namespace) -> None:
        self.model, self.engines = model, engines
        self.seconds, self.clock = arguments.seconds, arguments.clock
        self.reference = torch_run(model.folder, arguments.threads, compiled=False, attention="eager")
        self.products = bare_products(arguments.threads)

    def run(self, batch: Batch) -> Comparison:
        """One comparison."""
        config = self.model.config
        found = compare(
            self.model.name, config, self.engines, self.reference, self.products, batch, self.seconds, self.clock
        )
        peer, ours = found.best_peer, found.find("ours: ort-cpu-unpadded")
        line = f"{self.model.name} {batch.name}: unpadded {spread(found.ratios(ours))} of {peer.name}"
        print(line, f"wanted {wanted_ratio(found)}", file=sys.stderr, flush=True)
        return found


def _page(
    comparisons: list[Comparison],
    sweeps: dict[str, list[Comparison]],
    loading: str,
    notes: list[str],
    arguments: argparse.Namespace,
) -> str:
    """The page, in Markdown."""
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    parts = [
        "# Graphs beside those of other tools",
        "Written by `python -m benchmarks.graphs`; its docstring says how it measures.",
        f"{_processor()}, {arguments.threads} threads, {arguments.clock} time; Python {platform.python_version()}, "
        f"{versions}.",
        "## Against the best float32 peer",
        "Median ratio of the peer's time to ours, with the middle half of the rounds in brackets; above 1 we are "
        "faster. The difference is the largest of our graphs from eager torch, on real tokens.",
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


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
