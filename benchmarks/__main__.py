"""Measures against peers and writes docs/benchmarks.md.

    python -m benchmarks [--quick] [--only NAME ...] [--rounds N] [--output FILE]

Each measurement owns one section of the document; a section that is not measured stays as it was.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.measure import REPOSITORY
from benchmarks.options import Options

OUTPUT = REPOSITORY / "docs" / "benchmarks.md"

#: Name of a measurement -> its module, which has a TITLE and `section(options) -> text`. The order is the document's.
MEASUREMENTS = {
    "export": "benchmarks.export_time",
    "cold-start": "benchmarks.cold_start",
    "throughput": "benchmarks.throughput",
    "edge": "benchmarks.edge",
}

_HEAD = """# Benchmarks

Written by `make bench`; do not edit. Programs that are compared take turns on one machine, so that ratios are
comparable even where the machine is busy. Seconds are those of this machine.
"""


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="as little as shows that it works, and write nothing")
    parser.add_argument("--only", action="append", choices=tuple(MEASUREMENTS), help="repeatable (default: all)")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds in which programs take turns")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="what to write (default: docs/benchmarks.md)")
    chosen = parser.parse_args()
    if chosen.rounds is not None and chosen.rounds < 1:
        parser.error("--rounds must be at least 1")
    options = Options(chosen.quick, chosen.rounds, lambda line: print(line, file=sys.stderr, flush=True))
    for name in chosen.only or MEASUREMENTS:
        module = import_module(MEASUREMENTS[name])
        text = f"## {module.TITLE}\n\n{module.section(options)}"
        print(text, end="\n\n", flush=True)
        if not chosen.quick:
            before = chosen.output.read_text(encoding="utf-8") if chosen.output.is_file() else ""
            chosen.output.write_text(with_section(before, name, text), encoding="utf-8")


def with_section(document: str, name: str, text: str) -> str:
    """`document` with `text` as the section `name`, all sections in the order of the table."""
    sections = dict(re.findall(r"<!-- (\S+) -->\n(.*?)\n<!-- end -->", document, re.DOTALL)) | {name: text.strip()}
    parts = [f"<!-- {key} -->\n{sections[key]}\n<!-- end -->\n" for key in MEASUREMENTS if key in sections]
    return "\n".join([_HEAD, *parts])


if __name__ == "__main__":
    main()
