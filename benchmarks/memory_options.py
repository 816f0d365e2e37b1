"""What ONNX Runtime's options of memory cost and bring: resident size and time of each, in processes of their own.

    python -m benchmarks.memory_options FILE.onnx [--rounds 5] [--calls 60] [--only NAME]

Every process opens FILE, answers calls of many shapes, and tells its resident size and the median time of a call of
8 x 128. Processes take turns; a row is the median over the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import REPOSITORY, markdown_table

#: name -> properties of SessionOptions, and entries of its configuration.
CHOICES: dict[str, tuple[dict[str, bool], dict[str, str]]] = {
    "as it comes": ({}, {}),
    "no memory pattern": ({"enable_mem_pattern": False}, {}),
    "no arena": ({"enable_cpu_mem_arena": False}, {}),
    "no arena, no pattern": ({"enable_cpu_mem_arena": False, "enable_mem_pattern": False}, {}),
    "initialisers outside the arena": ({}, {"session.use_device_allocator_for_initializers": "1"}),
    "no prepacking": ({}, {"session.disable_prepacking": "1"}),
}

_PROGRAM = """
import json, sys, time
import numpy as np, onnxruntime as ort
from runtimes.machine.cpu import usable_threads
path, properties, entries, calls = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4])
def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) / 1024
options = ort.SessionOptions()
options.intra_op_num_threads = usable_threads()
options.log_severity_level = 3
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
for name, value in properties.items():
    setattr(options, name, value)
for name, value in entries.items():
    options.add_session_config_entry(name, value)
before, begun = resident(), time.perf_counter()
session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
opened, opening = resident() - before, time.perf_counter() - begun
random = np.random.default_rng(0)
def call(batch, length):
    ids = random.integers(1000, 20000, (batch, length))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    begun, used = time.perf_counter(), time.process_time()
    session.run(None, inputs)
    return time.process_time() - used
times = []
for number in range(calls):
    call(int(random.integers(1, 9)), int(random.integers(1, 129)))
    if number % 4 == 0:
        times.append(call(8, 128))
print(json.dumps([opened, opening * 1000, resident() - before, sorted(times)[len(times) // 2] * 1000]))
"""


def measure(path: Path, name: str, calls: int) -> list[float]:
    """MiB after opening, ms of opening, MiB after the calls, ms of processor time of a call of 8 x 128."""
    properties, entries = CHOICES[name]
    command = [sys.executable, "-c", _PROGRAM, str(path), json.dumps(properties), json.dumps(entries), str(calls)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    figures: list[float] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--only", action="append", choices=tuple(CHOICES), help="repeatable (default: all)")
    arguments = parser.parse_args()
    found: dict[str, list[list[float]]] = {name: [] for name in arguments.only or CHOICES}
    for _ in range(arguments.rounds):
        for name in found:
            found[name].append(measure(arguments.file, name, arguments.calls))
    rows = []
    for name, rounds in found.items():
        opened, opening, after, call = (statistics.median(column) for column in zip(*rounds, strict=True))
        rows.append((name, f"{opened:.0f}", f"{opening:.0f}", f"{after:.0f}", f"{call:.0f}"))
    header = ("options", "MiB when open", "ms to open", "MiB after the calls", "ms of a call, 8 x 128")
    print(markdown_table(header, rows))


if __name__ == "__main__":
    main()
