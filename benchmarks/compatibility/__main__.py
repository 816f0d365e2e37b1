"""Exports checkpoints of many kinds, compares them with their libraries and tools, and writes docs/compatibility.md.

python -m benchmarks.compatibility [--only TEXT] [--output FILE]
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.machine import describe_machine
from benchmarks.measure import REPOSITORY, markdown_table

if TYPE_CHECKING:
    from benchmarks.compatibility.clients.measure import Line
    from benchmarks.compatibility.measure import Finding, Found

OUTPUT = REPOSITORY / "docs" / "compatibility.md"
PACKAGES = (
    "torch", "transformers", "sentence-transformers", "optimum", "optimum-onnx", "tokenizers", "onnxruntime",
    "openvino", "onnx", "fastembed",
)  # fmt: skip

_TEXT = """# Compatibility

Written by `make compatibility`; do not edit. Each row is a small checkpoint of one kind, most of them made after a
public bug report. It is asked through its own library, then exported without any option but `--target` and, where
named, `--task`.

* **same as its library**: largest difference of the portable graph from what the library returns, from text to
  result: vectors, scores, places of characters, token ids. **unpadded**: the same of `ort-cpu-unpadded`.
* **int8**: whether the int8 graph passes its gate, with the gate's first figure ([precision.md](precision.md)).
  All models but the sample have random weights, whose scores lie closer together than those of trained ones, and are
  calibrated and judged with texts of their own small vocabulary.
* **its library's ONNX backend**: largest difference where the library opens the artifact itself, unchanged.
* **optimum**, **transformers.js**: largest difference of what the head returns, from transformers on the checkpoint.
  `-`: the tool has no class for it.

{table}
{notes}
{clients}
{machine}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="TEXT", help="kinds and heads whose name contains this, and write nothing")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="what to write (default: docs/compatibility.md)")
    chosen = parser.parse_args(arguments)
    _be_quiet()
    from benchmarks.compatibility.kinds import KINDS  # torch and transformers take seconds to import
    from benchmarks.compatibility.measure import measure

    kinds = [kind for kind in KINDS if chosen.only is None or chosen.only in kind.name]
    with TemporaryDirectory() as scratch:
        rows = []
        for number, kind in enumerate(kinds, start=1):
            begun = time.monotonic()
            rows.append(measure(kind, Path(scratch) / str(number)))
            text = f"{number}/{len(kinds)} {kind.name}: {time.monotonic() - begun:.1f} s"
            print(text, file=sys.stderr, flush=True)
        _add_transformers_js(rows)
        clients = _ask_clients(chosen.only, Path(scratch))
    page = render(rows, clients)
    print(page)
    if chosen.only is None:
        chosen.output.write_text(page, encoding="utf-8")
        print(f"written to {chosen.output}", file=sys.stderr)


def _add_transformers_js(rows: Sequence[Found]) -> None:
    from benchmarks.compatibility.measure import difference
    from benchmarks.compatibility.tools import ask_transformers_js

    asked = {row.kind.name: row for row in rows if row.raw is not None and row.folder is not None}
    jobs = {name: (row.folder, row.kind.library) for name, row in asked.items() if row.folder is not None}
    found = ask_transformers_js(jobs)
    for name, row in asked.items():
        if found is None:
            row.transformers_js = "not installed"
        elif row.raw is not None:
            answer = found[name]
            row.transformers_js = answer if isinstance(answer, str) else difference(row.raw, answer)


def _ask_clients(only: str | None, scratch: Path) -> list[Line]:
    from benchmarks.compatibility.clients.heads import HEADS, publish
    from benchmarks.compatibility.clients.measure import measure_tensors, measure_texts
    from benchmarks.compatibility.clients.vectors import read_cases

    lines = []
    for head in HEADS:
        if only is None or only in head.task:
            begun = time.monotonic()
            published = publish(head, scratch / head.task)
            lines += measure_tensors(published, read_cases(published)) + measure_texts(published)
            print(f"clients, {head.task}: {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
    return lines


def render(rows: Sequence[Found], clients: Sequence[Line] = ()) -> str:
    """The page: a line a kind, a note for each finding that is no number, and the table of clients."""
    from benchmarks.compatibility.clients.page import render_clients

    header = (
        "kind", "its library", "export", "same as its library", "unpadded", "int8", "its library's ONNX backend",
        "optimum", "transformers.js",
    )  # fmt: skip
    notes: list[str] = []

    def show(finding: Finding) -> str:
        if isinstance(finding, float):
            return "same" if finding == 0 else f"{finding:.1e}"
        if finding == "-":
            return finding
        if finding not in notes:
            notes.append(finding)
        return f"no ({notes.index(finding) + 1})"

    lines = []
    for row in rows:
        exported = "yes" if row.refused is None else show(row.refused)
        findings = (row.library, row.unpadded)
        tools = (row.reopened, row.optimum, row.transformers_js)
        lines.append(
            (row.kind.name, row.kind.library.name, exported, *map(show, findings), row.int8, *map(show, tools))
        )
    held = sum(row.holds for row in rows)
    listed = "".join(f"{number}. {note}\n" for number, note in enumerate(notes, start=1))
    text = f"\n{held} of {len(rows)} kinds are exported and the same everywhere.\n" + (f"\n{listed}" if listed else "")
    return _TEXT.format(
        table=markdown_table(header, lines, texts=3),
        notes=text,
        clients=render_clients(clients),
        machine=describe_machine(PACKAGES, load=False),
    )


def _be_quiet() -> None:
    """Silence what the libraries say about themselves, and keep them from a hub that is not there."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
    warnings.simplefilter("ignore")
    for name in ("transformers", "torch.onnx", "sentence_transformers", "optimum"):
        logging.getLogger(name).setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
