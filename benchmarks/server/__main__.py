"""Measures the server beside others under load and writes docs/benchmarks-server.md.

    python -m benchmarks.server [--part NAME ...] [--quick] [--artifact DIR] [--infinity DIR] [--rounds N] [--seconds S]

A part that is not measured stays as it was measured before.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.machine import describe_machine
from benchmarks.measure import REPOSITORY
from benchmarks.server.measure import measure_closed, measure_offered, measure_open
from benchmarks.server.report import ours_beside, page
from benchmarks.server.subjects import OURS_FP32, start, subjects
from benchmarks.throughput import export_sample

OUTPUT = REPOSITORY / "docs" / "benchmarks-server.md"
WORK = REPOSITORY / "build" / "bench-server"
PARTS = ("closed", "offered", "open")
_PACKAGES = ("onnxruntime", "torch", "transformers", "sentence-transformers", "fastapi", "uvicorn", "tokenizers")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="repeatable (default: all)")
    parser.add_argument("--quick", action="store_true", help="as little as shows that it works, and write nothing")
    parser.add_argument("--artifact", type=Path, metavar="DIR", help="the sample in fp32 and int8 (default: a new one)")
    parser.add_argument("--infinity", type=Path, default=WORK / "infinity", metavar="DIR", help="its environment")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds in which servers take turns")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="of each load")
    chosen = parser.parse_args()
    rounds, seconds = (1, 1.0) if chosen.quick else (chosen.rounds, chosen.seconds)
    WORK.mkdir(parents=True, exist_ok=True)
    stored = WORK / "results.json"
    results = json.loads(stored.read_text()) if stored.exists() else {}
    artifact = chosen.artifact or _artifact()
    found = subjects(artifact, _checkpoint(), WORK, chosen.infinity)
    for part in chosen.part or PARTS:
        if part == "open":
            (ours,) = (subject for subject in found if subject.name == OURS_FP32)
            figures = measure_open(ours, WORK, 2 * seconds, _report)
        else:
            with start(found, WORK, _report) as running:
                if part == "closed":
                    figures = measure_closed(running, artifact, rounds, seconds, _report)
                else:
                    figures = measure_offered(running, results["closed"]["figures"], 2 * seconds, _report)
        results[part] = {"figures": figures, "machine": describe_machine(_PACKAGES)}
    print(page(results), *ours_beside(results), sep="\n")
    if not chosen.quick:
        stored.write_text(json.dumps(results, indent=1))
        OUTPUT.write_text(page(results), encoding="utf-8")


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _artifact() -> Path:
    folder = WORK / "artifact"
    if not folder.exists():
        _report("exporting the sample")
        export_sample(folder, int8=True)
    return folder


def _checkpoint() -> Path:
    from bert_onnx.checkpoint import find_checkpoint

    return find_checkpoint("sample").folder


if __name__ == "__main__":
    main()
