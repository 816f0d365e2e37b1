"""Measures every head against transformers and against ONNX Runtime, and writes docs/parity.md.

python -m benchmarks.parity_table [--quick] [--families] [--only TEXT] [--output FILE] [--json]
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import describe_machine
from benchmarks.measure import REPOSITORY, markdown_table
from bert_onnx.artifact.contract.parity import Rounding
from export.verification.tolerances import ROUNDING

if TYPE_CHECKING:
    from benchmarks.parity_rows import Measured, Row

OUTPUT = REPOSITORY / "docs" / "parity.md"
FAMILIES_OUTPUT = REPOSITORY / "docs" / "parity-families.md"
PACKAGES = ("torch", "transformers", "sentence-transformers", "onnx", "onnxscript", "onnxruntime", "numpy")

TEXTS = (
    "A man is eating food.",
    "The girl is carrying a baby, isn't she?",
    "Ünïcödé naïve café, 東京, and a 🙂.",
    "a",
    "Two men pushed carts through the woods. " * 8,
    "A text that is longer than the model can read. " * 60,
)

_TEXT = """# Parity

Written by `make parity`; do not edit. Differences and errors are over all elements of all cases.

* **eager vs transformers**: our PyTorch model against transformers', largest difference, in float32 with the same
  weights, both with attention written out. Sentence embeddings: against sentence-transformers' pooling on
  transformers' states.
* **ONNX vs eager**: the published file on ONNX Runtime's CPU provider against our PyTorch model, largest difference.
* **eager from float64**, **ONNX from float64**: errors of the PyTorch model in float32 and of the published file
  against the PyTorch model in float64, root mean square and largest; **ratio**: of the two root mean squares. The
  verdict allows {rms:g} times eager's root mean square and {largest:g} times its largest
  ([verification.md](verification.md)).
* **largest value**: the largest magnitude of that output, without which a difference says little.
* **cases**: the inputs that every export is verified on (`export/verification/cases.py`): 1 token, 3 x 17,
  2 x 128, the longest sequence, padding on the right and on the left, holes in the mask, pairs;
  with a cache also steps behind caches of several lengths.

Tiny models have 3 layers and weights and biases ten times as large as BERT's at the start of its training, so that a
mistake shows; so has the one of 24 layers. BERT-base and BERT-large have weights of a standard deviation of 0.05, which
is that of trained ones. Biases and LayerNorms are random, too.

{table}

* Decoders: queries that cannot attend to any key have arbitrary outputs; they are left out of the comparison with
  transformers, not of that with ONNX.
* Relative positions with a cache: transformers takes every new token for the last one, which is right for one token
  at a time; cases with several new tokens are compared between ONNX and eager only.
{embedding}
{machine}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two tiny models only, and write nothing")
    parser.add_argument("--families", action="store_true", help="the other families: docs/parity-families.md")
    parser.add_argument("--only", metavar="TEXT", help="rows whose head or model contains this, and write nothing")
    parser.add_argument("--output", type=Path, help="what to write (default: the page in docs)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    chosen = parser.parse_args(arguments)
    _be_quiet()
    from benchmarks import parity_rows as rows  # torch and transformers take seconds to import

    every = rows.FAMILY_ROWS if chosen.families else rows.ROWS
    selected = rows.QUICK_ROWS if chosen.quick else every
    selected = tuple(row for row in selected if chosen.only is None or chosen.only in f"{row.label} {_model(row)}")
    measured = []
    for number, row in enumerate(selected, start=1):
        begun = time.monotonic()
        measured.append(rows.measure(row))
        text = f"{number}/{len(selected)} {row.label}, {_model(row)}: {time.monotonic() - begun:.1f} s"
        print(text, file=sys.stderr, flush=True)
    whole = not chosen.quick and chosen.only is None
    page = render(measured, rows.embed_difference(list(TEXTS)) if whole and not chosen.families else None)
    print("\n".join(rows.to_json(row) for row in measured) if chosen.json else page)
    if whole:
        output = chosen.output or (FAMILIES_OUTPUT if chosen.families else OUTPUT)
        output.write_text(page, encoding="utf-8")
        print(f"written to {output}", file=sys.stderr)
    if any(row.verdict != "pass" for row in measured):
        raise SystemExit("a head did not pass")


def render(measured: Sequence[Measured], embedding: float | None) -> str:
    """The document: one line an output of every row.

    Args:
        embedding: largest difference of embeddings from sentence-transformers', from text on; None leaves it out.
    """
    header = (
        "head", "model", "output", "eager vs transformers", "ONNX vs eager", "eager from float64", "ONNX from float64",
        "ratio", "largest value", "opset", "cases", "verdict",
    )  # fmt: skip
    lines = []
    for row in measured:
        for place, figure in enumerate(row.figures):
            first, last = (row.row.label, _model(row.row)), (str(row.opset), str(row.cases), row.verdict)
            lines.append(
                (
                    *(first if place == 0 else ("", "")),
                    f"`{figure.name}`",
                    _difference(figure.from_transformers),
                    _difference(figure.parity.max_abs_diff),
                    *_errors(figure.parity.rounding),
                    f"{figure.largest:.3g}",
                    *(last if place == 0 else ("", "", "")),
                )
            )
    note = ""
    if embedding is not None:
        note = (
            f"* From text to embedding, all-MiniLM-L6-v2, {len(TEXTS)} texts: our pipeline on the published file "
            f"against sentence-transformers: {embedding:.1e}.\n"
        )
    return _TEXT.format(
        table=markdown_table(header, lines, texts=3),
        embedding=note,
        machine=describe_machine(PACKAGES, load=False),
        rms=ROUNDING.rms,
        largest=ROUNDING.largest,
    )


def _model(row: Row) -> str:
    """The model of a row, for people."""
    return row.model if row.family == "bert" else f"{row.family}, {row.model}"


def _errors(rounding: Rounding | None) -> tuple[str, str, str]:
    """Both errors, rms and largest, and their ratio."""
    if rounding is None:
        return "", "", ""
    eager = f"{rounding.eager_rms:.1e}, {rounding.eager_max:.1e}"
    return eager, f"{rounding.graph_rms:.1e}, {rounding.graph_max:.1e}", f"{rounding.ratio:.2f}"


def _difference(figure: float) -> str:
    return "0" if figure == 0 else f"{figure:.1e}"


def _be_quiet() -> None:
    """Silence what the libraries say about themselves."""
    warnings.simplefilter("ignore")
    for name in ("transformers", "torch.onnx", "sentence_transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
