"""Measures what variants keep of the eager model's meaning, and how fast they are, beside those of other tools.

    python -m benchmarks.precision [--quick] [--texts 768] [--seconds 20] [--work DIR] [--docs DIR]

Quality: mean-pooled embeddings of Debian package descriptions against eager float32; calibration saw other texts, of
other domains. Speed: interleaved rounds on the same batches; ratio = ONNX Runtime on optimum's float32 export / it.
Writes docs/benchmarks-precision.md on processors with VNNI, docs/benchmarks-precision-avx2.md on others.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # torch's threads, too, sleep between their runs

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.graphs.batches import Texts
from benchmarks.graphs.engines import torch_run
from benchmarks.graphs.measure import Comparison, bare_products, compare
from benchmarks.graphs.models import sample_folder
from benchmarks.machine import describe_machine
from benchmarks.precision.competitors import BASE, ISA, Competitor, competitors
from benchmarks.precision.quality import Quality, measure_quality
from benchmarks.precision.report import pareto_plot, points_of, quality_table, speed_table
from benchmarks.precision.texts import package_texts
from bert_onnx.config import BertConfig

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_PACKAGES = ("onnxruntime", "openvino", "nncf", "optimum", "optimum-onnx", "torch", "transformers")
#: Processors without VNNI have a page of their own: other kernels, other files.
_SUFFIX = "" if ISA == "avx512_vnni" else f"-{ISA}"
#: Without padding, and with mixed lengths.
_IMAGES = (f"img/precision-pareto{_SUFFIX}.png", f"img/precision-pareto-mixed{_SUFFIX}.png")
_THREADS = 2


def main() -> int:
    """The command."""
    arguments = _arguments()
    work = Path(arguments.work or tempfile.mkdtemp(prefix="bert-onnx-bench-"))
    work.mkdir(parents=True, exist_ok=True)
    every = package_texts()
    texts = [one.text for one in every[:: max(1, len(every) // arguments.texts)]][: arguments.texts]
    found, refused = competitors(work, _THREADS)
    reference = torch_run(sample_folder(), _THREADS, compiled=False, attention="eager")
    qualities = measure_quality(found, reference, texts)
    comparisons = _speeds(found, reference, arguments)
    page = _page(found, qualities, comparisons, refused, len(texts))
    print(page)
    if not arguments.quick:
        docs = Path(arguments.docs)
        for batch, image in zip(comparisons[-2:], _IMAGES, strict=True):
            pareto_plot(points_of(found, qualities, batch), batch.batch.name, docs / image)
        (docs / f"benchmarks-precision{_SUFFIX}.md").write_text(page, encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few texts and rounds; writes nothing")
    parser.add_argument("--texts", type=int, default=768, help="how many texts quality is measured on")
    parser.add_argument("--seconds", type=float, default=25.0, help="about how long each batch is measured")
    parser.add_argument("--work", help="where files are kept from one run to the next (default: a new folder)")
    parser.add_argument("--docs", default=str(_DOCS), help="where the page and the plot go")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.texts, chosen.seconds = 64, 1.0
    return chosen


def _speeds(found: list[Competitor], reference: object, arguments: argparse.Namespace) -> list[Comparison]:
    texts = Texts(sample_folder(), 256)
    config = BertConfig.from_pretrained(sample_folder())
    products = bare_products(_THREADS)
    batches = [texts.full(1, 16), texts.full(1, 128), texts.full(32, 128), texts.mixed(32, 256, 0.19)]
    engines = [one.engine for one in found]
    results = []
    for batch in batches:
        print(f"measuring {batch.name}", file=sys.stderr, flush=True)
        results.append(
            compare("all-MiniLM-L6-v2", config, engines, reference, products, batch, arguments.seconds)  # type: ignore[arg-type]
        )
    return results


def _page(
    found: list[Competitor],
    qualities: dict[str, Quality],
    comparisons: list[Comparison],
    refused: dict[str, str],
    count: int,
) -> str:
    parts = [
        "# Precisions beside those of other tools",
        "Written by `python -m benchmarks.precision`; its docstring says how it measures.",
        describe_machine(_PACKAGES),
        f"all-MiniLM-L6-v2, {_THREADS} threads, {count} Debian package descriptions.",
        "## What is kept",
        "Against eager float32: cosines of mean-pooled embeddings, share of texts whose nearest neighbour stays the "
        "same, and the largest change of a text's embedding with the other texts of its batch.",
        quality_table(found, qualities),
        "## How fast",
        f"Median ratio of the time of {BASE} (float32, ONNX Runtime) to the variant's, with the middle half of the "
        "rounds in brackets; above 1 is faster.",
        speed_table(found, comparisons),
        "## Both",
        *(f"![speed against nearest-neighbour agreement]({image})" for image in _IMAGES),
        *(f"{name} could not be made: {why}" for name, why in refused.items()),
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
