"""Measures graphs that take text and writes docs/text-input.md.

    python -m benchmarks.text_input [--artifact DIR] [--output FILE] [--rounds N]

Without an artifact, the sample is exported with --text-input first.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.machine import describe_machine
from benchmarks.measure import REPOSITORY
from benchmarks.text_input.page import write_page
from benchmarks.text_input.speed import measure_calls, measure_opening
from benchmarks.text_input.strings import compare, graph_encoder, operator_encoder, real_strings
from bert_onnx.tokenization import load_tokenizer

OUTPUT = REPOSITORY / "docs" / "text-input.md"
_PACKAGES = ("onnxruntime", "onnxruntime-extensions", "tokenizers", "numpy")
_LONGEST = 256


def main() -> None:
    """Measure, then write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", metavar="DIR", help="an artifact of the sample, exported with --text-input")
    parser.add_argument("--output", metavar="FILE", default=str(OUTPUT))
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folder = Path(arguments.artifact or _export(scratch))
        tokenizer, strings = load_tokenizer(folder), real_strings()
        print(f"{len(strings)} strings")
        found = {
            "graph": compare(graph_encoder(tokenizer, _LONGEST, raw=True), tokenizer, _LONGEST, strings),
            "run": compare(graph_encoder(tokenizer, _LONGEST, raw=False), tokenizer, _LONGEST, strings),
            "operator": compare(operator_encoder(tokenizer, _LONGEST), tokenizer, _LONGEST, strings),
        }
        print({name: one.identical for name, one in found.items()})
        calls = measure_calls(folder, (1, 8, 32), arguments.rounds)
        opening = measure_opening(folder, max(3, arguments.rounds // 20))
    Path(arguments.output).write_text(
        write_page(found, calls, opening, describe_machine(_PACKAGES)), encoding="utf-8", newline="\n"
    )
    print(f"written: {arguments.output}")


def _export(scratch: str) -> str:
    from export.pipeline import export
    from export.request import ExportRequest

    return str(export(ExportRequest("sample", output=f"{scratch}/artifact", text_input=True)).artifact.folder)


if __name__ == "__main__":
    main()
