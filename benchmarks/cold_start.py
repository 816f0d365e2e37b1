"""From process start to the first embedding: our runtime beside a bare script, interleaved, with ratios and spread.

The bare script does the least that can be done: onnxruntime, tokenizers and numpy on the same files, no checks.

    python benchmarks/cold_start.py [ARTIFACT] [--pairs N] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TEXT = "A cold process should answer its first question soon."

_BARE = """
import numpy, onnxruntime, tokenizers
tokenizer = tokenizers.Tokenizer.from_file(folder + "/tokenizer.json")
tokenizer.no_padding()
tokenizer.enable_truncation(longest)
session = onnxruntime.InferenceSession(folder + "/onnx/model.onnx", providers=["CPUExecutionProvider"])
row = tokenizer.encode(text)
inputs = {"input_ids": row.ids, "attention_mask": row.attention_mask, "token_type_ids": row.type_ids}
inputs = {name: numpy.array([values]) for name, values in inputs.items()}
vector = session.run(["sentence_embedding"], inputs)[0][0]
"""
_OURS = """
from runtimes import load
vector = load(folder).embed(text)[0]
"""
_OURS_UNCHECKED = """
from runtimes import load
vector = load(folder, check_hashes=False).embed(text)[0]
"""
#: VmHWM belongs to this program alone; ru_maxrss would count the process that started it.
_REPORT = """
import json, re, time
now = time.monotonic()
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
print(json.dumps({"now": now, "peak": peak, "vector": [float(x) for x in vector]}))
"""
PROGRAMS = {"bare": _BARE, "bert-onnx": _OURS, "bert-onnx, hashes unchecked": _OURS_UNCHECKED}


@dataclass(frozen=True)
class Start:
    """One process: seconds to its first embedding, and the most memory it held, in MB."""

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Spread:
    """Median, least and most of several figures."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        return cls(statistics.median(figures), min(figures), max(figures))

    def show(self, digits: int) -> str:
        return f"{self.median:.{digits}f} [{self.least:.{digits}f}, {self.most:.{digits}f}]"


def start(program: str, folder: Path, longest: int) -> tuple[Start, list[float]]:
    """Run `program` in a process of its own; its figures and its vector."""
    given = f"folder, longest, text = {str(folder)!r}, {longest}, {TEXT!r}\n"
    # Installed packages are compiled; a checkout is, too, once a first process was allowed to store bytecode.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(REPOSITORY)
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", given + program + _REPORT], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"the measured program failed:\n{done.stderr}")
    report = json.loads(done.stdout)
    return Start(report["now"] - begun, report["peak"] / 1024), report["vector"]


def measure(folder: Path, rounds: int) -> dict[str, list[Start]]:
    """`rounds` starts of every program, taking turns, after one of each that warms the disk cache and compiles."""
    longest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["model_max_length"]
    vectors = [start(program, folder, longest)[1] for program in PROGRAMS.values()]
    for vector in vectors[1:]:
        if max(abs(a - b) for a, b in zip(vector, vectors[0], strict=True)) > 1e-5:
            raise SystemExit("the programs do not answer the same; their times cannot be compared.")
    starts: dict[str, list[Start]] = {name: [] for name in PROGRAMS}
    order = list(PROGRAMS)
    for number in range(rounds):
        for name in order if number % 2 == 0 else reversed(order):
            starts[name].append(start(PROGRAMS[name], folder, longest)[0])
    return starts


def summarise(starts: dict[str, list[Start]]) -> dict[str, dict[str, Spread]]:
    """Seconds and MB of each program, and the ratios to the bare one, round by round."""
    bare = starts["bare"]
    return {
        name: {
            "seconds": Spread.of([one.seconds for one in own]),
            "megabytes": Spread.of([one.megabytes for one in own]),
            "time ratio": Spread.of([one.seconds / base.seconds for one, base in zip(own, bare, strict=True)]),
            "memory ratio": Spread.of([one.megabytes / base.megabytes for one, base in zip(own, bare, strict=True)]),
        }
        for name, own in starts.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", nargs="?", default=REPOSITORY / "artifacts" / "all-MiniLM-L6-v2", type=Path)
    parser.add_argument("--pairs", type=int, default=9, help="rounds (at least 7; default 9)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    summary = summarise(measure(arguments.artifact.resolve(), max(7, arguments.pairs)))
    if arguments.json:
        print(json.dumps({name: {key: asdict(s) for key, s in row.items()} for name, row in summary.items()}))
        return
    print("median [least, most] of", max(7, arguments.pairs), "rounds\n")
    print(f"{'':30}{'seconds':24}{'ratio':22}{'peak MB':24}{'ratio'}")
    for name, row in summary.items():
        ratio = row["time ratio"].show(2), row["memory ratio"].show(2)
        seconds, memory = row["seconds"].show(3), row["megabytes"].show(0)
        print(f"{name:30}{seconds:24}{ratio[0]:22}{memory:24}{ratio[1]}")


if __name__ == "__main__":
    main()
