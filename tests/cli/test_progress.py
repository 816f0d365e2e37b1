"""Long work shows itself on a terminal, and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

from bert_onnx.cli.progress import progress_bar
from runtimes import progress as plain
from runtimes.progress import duration


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _terminal(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    """Standard error as a terminal. No fixture: pytest puts its own in place between set-up and test."""
    stream = _Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return stream


def test_a_bar_has_step_share_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    with progress_bar() as update:
        update("loading the weights", 0.1)
        update("tracing the model", 0.25)
    shown = terminal.getvalue()
    assert "25%" in shown
    assert "tracing the model" in shown
    assert ":" in shown  # the time that is left


def test_without_rich_there_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    monkeypatch.setattr(plain, "_PATIENCE", -1.0)
    for name in ("rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    with progress_bar() as update:
        update("measuring", 0.5)
    assert "50 of 100 percent" in terminal.getvalue()
    assert "left" in terminal.getvalue()


def test_quiet_and_pipes_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    with progress_bar(quiet=True) as update:
        update("measuring", 0.5)
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    with progress_bar() as update:
        update("measuring", 0.5)
    assert terminal.getvalue() == pipe.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (-3, "0:00"), (7.4, "0:07"), (750, "12:30"), (3723, "1:02:03")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
