"""Programs run in processes of their own, taking turns: seconds, peak memory, and ratios round by round.

The machine may be busy and its speed may drift; two programs that run one after the other meet the same weather, so
that the ratio of a round says more than two averages.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

Report = Callable[[str], None]


@dataclass(frozen=True)
class Cost:
    """What one process cost: wall seconds, seconds of processor time, and the most memory it held (10^6 bytes)."""

    seconds: float
    processor_seconds: float
    megabytes: float


@dataclass(frozen=True)
class Spread:
    """Median, least and most of several figures."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """The spread of at least one figure."""
        return cls(statistics.median(figures), min(figures), max(figures))

    def show(self, digits: int) -> str:
        """`1.23 [1.20, 1.31]`."""
        return f"{self.median:.{digits}f} [{self.least:.{digits}f}, {self.most:.{digits}f}]"


@dataclass(frozen=True)
class Summary:
    """One program beside the one that it is compared with."""

    seconds: Spread
    processor_seconds: Spread
    megabytes: Spread
    time_ratio: Spread
    memory_ratio: Spread


def run_process(command: Sequence[str], environment: Mapping[str, str] | None = None, log: Path | None = None) -> Cost:
    """Run `command` to its end.

    Args:
        environment: added to this process's.
        log: where its output goes; None throws it away.

    Raises:
        SystemExit: it failed; the message ends with what it said last.
    """
    log = log or Path(os.devnull)
    with open(log, "wb") as output:
        begun = time.monotonic()
        process = subprocess.Popen(
            command, env={**clean_environment(), **(environment or {})}, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        said = log.read_text(encoding="utf-8", errors="replace")[-3000:] if log.is_file() else ""
        raise SystemExit(f"{' '.join(command)} failed with status {process.returncode}:\n{said}")
    # Linux counts the most memory of one process; what this one holds when it forks is far less than any program's.
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def clean_environment() -> dict[str, str]:
    """This process's environment, in which Python may store bytecode, as installed packages are compiled, too."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(REPOSITORY)
    return environment


def take_turns(
    programs: Mapping[str, Callable[[], Cost]], rounds: int, report: Report | None = None
) -> dict[str, list[Cost]]:
    """`rounds` runs of every program, in turns whose order is reversed from round to round.

    Run each once beforehand, so that disk caches and bytecode are the same for all.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in programs}
    order = list(programs)
    for number in range(rounds):
        for name in order if number % 2 == 0 else reversed(order):
            cost = programs[name]()
            costs[name].append(cost)
            if report is not None:
                report(f"round {number + 1} of {rounds}: {name}: {cost.seconds:.2f} s, {cost.megabytes:.0f} MB")
    return costs


def summarise(costs: Mapping[str, Sequence[Cost]], base: str) -> dict[str, Summary]:
    """Each program's figures, and its ratios to the program `base`, round by round."""
    return {
        name: Summary(
            seconds=Spread.of([cost.seconds for cost in own]),
            processor_seconds=Spread.of([cost.processor_seconds for cost in own]),
            megabytes=Spread.of([cost.megabytes for cost in own]),
            time_ratio=Spread.of([a.seconds / b.seconds for a, b in zip(own, costs[base], strict=True)]),
            memory_ratio=Spread.of([a.megabytes / b.megabytes for a, b in zip(own, costs[base], strict=True)]),
        )
        for name, own in costs.items()
    }


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are set to the right."""
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))
