"""Runs the tests that need a GPU, in a process of their own, and reads what became of each."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.results import Outcome
from runtimes.machine.cpu import usable_threads

ROOT = Path(__file__).resolve().parents[2]
#: Where the tests are that have the mark `gpu`; docs/gpu.md says what each shows.
FILES = (
    "tests/export/test_gpu_artifact.py",
    "tests/export/test_gpu_heads.py",
    "tests/runtimes/engines/ort/test_cuda.py",
    "tests/runtimes/engines/ort/test_tensorrt.py",
)

#: Most of a test is work of the CPU: a graph is made, and cuDNN plans for each shape. Each takes 1 GB of the GPU.
_MOST_WORKERS = 6


def run_tests(work: Path, seconds: float, files: Sequence[str] = FILES, mark: str = "gpu") -> list[Outcome]:
    """What became of each test; none where pytest did not come to its end.

    Args:
        work: takes pytest's report.
        seconds: after which it is stopped.
        files: relative to the repository.
        mark: which of their tests.
    """
    report = work / "tests.xml"
    report.unlink(missing_ok=True)
    side_by_side = ["-n", str(min(_MOST_WORKERS, max(1, usable_threads() // 2))), "--dist", "loadgroup"]
    command = [sys.executable, "-m", "pytest", "-rs", *side_by_side, "-m", mark, f"--junitxml={report}", *files]
    try:
        subprocess.run(command, cwd=ROOT, timeout=max(1.0, seconds), check=False, stdout=sys.stderr)
    except subprocess.TimeoutExpired:
        print(f"the tests took more than {seconds:.0f} s, and were stopped", file=sys.stderr)
    return _read(report) if report.exists() else []


def _read(report: Path) -> list[Outcome]:
    return [_result(case) for case in ElementTree.parse(report).iter("testcase")]


def _result(case: ElementTree.Element) -> Outcome:
    name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
    for tag, outcome in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        found = case.find(tag)
        if found is not None:
            return Outcome(name, outcome, " ".join((found.get("message") or "").split())[:300])
    return Outcome(name, "passed")
