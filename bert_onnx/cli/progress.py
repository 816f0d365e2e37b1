"""A progress bar for commands that take more than two seconds."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

#: Over how many seconds the speed is averaged: steps are few, and of unlike lengths.
_SPEED_SECONDS = 600.0


@contextlib.contextmanager
def progress_bar(quiet: bool = False) -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error with the speed and the time that is left, where that is a terminal.

    Gives the function that moves it: the name of a step, and the share of the whole that is done, 0 to 1. Where rich is
    not installed, as beside a runtime alone, a plain line takes its place.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda step, share: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    except ModuleNotFoundError:
        from runtimes.progress import ProgressLine

        line = ProgressLine("percent", 100)
        try:
            yield lambda step, share: line.update(round(100 * share))
        finally:
            line.close()
        return

    class Speed(ProgressColumn):
        def render(self, task: Task) -> str:
            known = task.speed if (task.elapsed or 0) > 1 else None
            return "" if known is None else f"{100 * known:.1f} %/s"

    columns = (BarColumn(bar_width=30), TextColumn("{task.percentage:>3.0f}%"), Speed(), TimeRemainingColumn())
    steps = TextColumn("{task.description}")
    with Progress(
        *columns, steps, console=Console(stderr=True), transient=True, speed_estimate_period=_SPEED_SECONDS
    ) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda step, share: bar.update(task, completed=share, description=step)
