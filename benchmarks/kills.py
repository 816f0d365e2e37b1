"""Who was killed when, and what became of the rows: `bert-onnx embed` on every engine, killed and resumed.

    python -m benchmarks.kills ARTIFACT [--engine E ...] [--rows N]

A victim gets SIGKILL when so many of the 24 parts are there, or at a random moment; then the job is resumed until it is
done, and the rows of the output are counted as one who knows nothing of manifests reads them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.machine import describe_machine
from benchmarks.measure import clean_environment, markdown_table
from benchmarks.scale import write_texts

_PARTS = 24
#: Engine -> victims and moments: parts that are there, or None for a random moment within the seconds that follow.
CASES: dict[str, tuple[tuple[str, int | None], ...]] = {
    "local": (("worker", 3), ("driver", 1), ("driver", 12), ("all", 23), *(("driver", None),) * 4, ("all", None)),
    "ray": (("worker", 3), ("driver", 12), ("all", 6), ("all", None)),
    "spark": (("worker", 3), ("driver", 12), ("all", 6), ("all", None)),
}
#: Seconds within which a random moment is.
_SPAN = 6.0


def run_case(
    command: list[str], output: Path, victim: str, parts: int | None, chance: random.Random
) -> tuple[str, int]:
    """When the victim was killed, and how many runs it took."""
    process = subprocess.Popen(command, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begun, moment = time.monotonic(), chance.uniform(1.0, _SPAN)
    while process.poll() is None:
        there = len(list(output.glob("part-*")))
        if there >= parts if parts is not None else time.monotonic() - begun >= moment:
            break
        time.sleep(0.002)
    told = f"{there} parts" if parts is not None else f"{moment:.1f} s, {there} parts"
    if process.poll() is not None:
        return f"after the end ({told})", 1
    family = _family(process.pid)
    for pid in {"worker": _computing(family)[:1], "driver": [process.pid], "all": [*family, process.pid]}[victim]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    runs = 1
    while process.wait() != 0:
        if runs == 5:
            raise SystemExit(f"{' '.join(command)} does not get through")
        process, runs = subprocess.Popen(command, env=clean_environment(), stdout=subprocess.DEVNULL), runs + 1
    return told, runs


def count(output: Path) -> Counter[int]:
    """How often each number is in the output."""
    from pyarrow import parquet

    found: Counter[int] = Counter()
    for path in output.glob("part-*"):
        found.update(parquet.read_table(path, columns=["id"])["id"].to_pylist())
    return found


def _family(pid: int) -> list[int]:
    """All processes below `pid`."""
    children = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children += [int(child) for child in (thread / "children").read_text().split()]
    return [member for child in children for member in (child, *_family(child))]


def _computing(pids: list[int]) -> list[int]:
    """Those that have ONNX Runtime in them."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if "onnxruntime" in Path(f"/proc/{pid}/maps").read_text():
                found.append(pid)
    return found


def main() -> None:
    """Kill, resume, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--engine", action="append", choices=tuple(CASES), help="repeatable (default: all)")
    parser.add_argument("--rows", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    chosen = parser.parse_args()
    chance, table = random.Random(chosen.seed), []
    with TemporaryDirectory() as scratch:
        source = Path(scratch) / "texts"
        write_texts(source, chosen.rows)
        for engine in chosen.engine or CASES:
            for number, (victim, parts) in enumerate(CASES[engine]):
                output = Path(scratch) / f"{engine}-{number}"
                command = [sys.executable, "-m", "bert_onnx", "embed", str(chosen.artifact), str(source), str(output)]
                command += ["--engine", engine, "--workers", "2", "--partitions", str(_PARTS), "--resume"]
                moment, runs = run_case(command, output, victim, parts, chance)
                found = count(output)
                lost, doubled = chosen.rows - len(found), sum(found.values()) - len(found)
                row = (engine, victim, moment, str(runs), str(chosen.rows), str(sum(found.values())))
                table.append((*row, str(lost), str(doubled)))
                print(table[-1], file=sys.stderr, flush=True)
    header = ("engine", "killed", "at", "runs", "rows expected", "rows found", "lost", "doubled")
    print(f"{markdown_table(header, table, texts=3)}\n\n{describe_machine(('ray', 'pyspark'))}")


if __name__ == "__main__":
    main()
