"""Skips where the stand-ins are not there, and writes docs/cuda-check.md when every row of it was made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

#: The folder that prepare.py made; `make cuda-check` sets it.
VARIABLE = "BERT_ONNX_CUDA_CHECK"
#: The property of a test that holds a row of the page, and how many there are.
ROW, ROWS = "cuda-check row", "cuda-check rows"

_rows: list[str] = []
_expected: set[int] = set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = _missing()
    if reason:
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason=reason))


def _missing() -> str:
    """Why the tests cannot run; empty where they can."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return "run by `make cuda-check`"
    missing = Path(folder) / "missing.txt"
    return missing.read_text().strip() if missing.is_file() else ""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        found = dict(report.user_properties)
        if ROW in found:
            _rows.append(str(found[ROW]))
            _expected.add(int(str(found[ROWS])))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The page, from passed rows alone: where one failed, the page stays as it was."""
    if _expected == {len(_rows)}:
        from cuda_page import page, page_path

        page_path().write_text(page(_rows), encoding="utf-8")
        terminalreporter.write_line(f"{page_path().name} is written: {len(_rows)} graphs")
