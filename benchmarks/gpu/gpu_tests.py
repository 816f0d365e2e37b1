"""Runs the tests that need a GPU, in a process of their own, and reads what became of each."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.results import Outcome

ROOT = Path(__file__).resolve().parents[2]
#: Where the tests are that have the mark `gpu`; docs/gpu.md says what each shows.
FILES = (
    "tests/export/test_gpu_artifact.py",
    "tests/export/test_gpu_heads.py",
    "tests/runtimes/engines/ort/test_cuda.py",
    "tests/runtimes/engines/ort/test_tensorrt.py",
)


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
    command = [sys.executable, "-m", "pytest", "-rs", "-m", mark, f"--junitxml={report}", *files]
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
