"""Programs run in processes of their own, taking turns: seconds, peak memory, and ratios round by round.

The machine may be busy and its speed may drift; two programs that run one after the other meet the same weather, so
that the ratio of a round says more than two averages.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

REPOSITORY = Path(__file__).resolve().parent.parent

Report = Callable[[str], None]


@dataclass(frozen=True)
class Cost:
    """What a program cost: wall seconds, seconds of processor time, and the most memory it held (10^6 bytes)."""

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


#: Starts a program and tells what it cost. It is a small process of its own since the kernel counts what the process
#: that forks holds as memory of the program. What several processes hold together is sampled, each page counted once.
_LAUNCHER = """
import json, os, sys, time
report, log, *command = sys.argv[1:]
output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

def family(process):
    children = []
    for thread in os.listdir(f"/proc/{process}/task"):
        try:
            with open(f"/proc/{process}/task/{thread}/children") as file:
                children += file.read().split()
        except OSError:  # it has just ended
            pass
    return [str(process), *(member for child in children for member in family(child))]

def held(process):
    try:
        members = family(process)
        if len(members) == 1:
            return 0
        total = 0
        for member in members:
            with open(f"/proc/{member}/smaps_rollup") as file:
                total += next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
        return total
    except (OSError, StopIteration):  # one of them has just ended
        return 0

begun = time.monotonic()
process = os.posix_spawnp(command[0], command, os.environ,
                          file_actions=[(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)])
together, asked = 0, begun
while True:
    ended, status, usage = os.wait4(process, os.WNOHANG)
    if ended:
        break
    if time.monotonic() - asked > 0.3:  # the kernel stops a process while it counts its pages
        together, asked = max(together, held(process)), time.monotonic()
    time.sleep(0.005)
memory = max(together, usage.ru_maxrss * 1024)
figures = [time.monotonic() - begun, usage.ru_utime + usage.ru_stime, memory / 1e6]
with open(report, "w") as file:
    json.dump([os.waitstatus_to_exitcode(status), figures], file)
"""


def run_process(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run `command` to its end. The memory is what it and its children held together.

    Args:
        environment: added to this process's.

    Raises:
        SystemExit: it failed; the message ends with what it said last.
    """
    with TemporaryDirectory() as folder:
        report, log = Path(folder, "report"), Path(folder, "log")
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(report), str(log), *command]
        subprocess.run(launcher, env={**clean_environment(), **(environment or {})}, check=True)
        status, figures = json.loads(report.read_text(encoding="utf-8"))
        said = log.read_text(encoding="utf-8", errors="replace")
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed with status {status}:\n{said[-3000:]}")
    return Cost(*figures)


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


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A table whose first `texts` columns are set to the left and whose others to the right."""
    rule = ["---"] * texts + ["---:"] * (len(header) - texts)
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))
