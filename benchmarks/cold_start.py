"""From process start to the first embedding: our runtime beside a bare script, interleaved, with ratios and spread.

The bare script does the least that can be done: onnxruntime, tokenizers and numpy on the same files, no checks.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.machine import describe_machine
from benchmarks.measure import Cost, Summary, clean_environment, markdown_table, run_process, summarise, take_turns
from benchmarks.options import Options

TITLE = "Cold process to the first embedding"
ROUNDS = 15
PACKAGES = ("onnxruntime", "tokenizers", "numpy")
SENTENCE = "A cold process should answer its first question soon."

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
vector = load(folder, {options}).embed(text)[0]
"""
#: VmHWM belongs to this program alone; ru_maxrss would count the process that started it.
_REPORT = """
import json, os, re, sys, time
now, used = time.monotonic(), os.times()
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
heavy = sorted({"torch", "transformers", "onnx", "onnx_ir", "onnxscript"} & set(sys.modules))
report = {"now": now, "processor": used.user + used.system, "peak": peak, "heavy": heavy}
print(json.dumps(report | {"vector": [float(x) for x in vector]}))
"""
BARE = "bare onnxruntime + tokenizers"
PROGRAMS = {
    BARE: _BARE,
    "`runtimes.load(...).embed(...)`, the same graph": _OURS.format(options="variant='model'"),
    "the same, hashes unchecked": _OURS.format(options="variant='model', check_hashes=False"),
    "`runtimes.load(...).embed(...)`, the graph for `ort-cpu`": _OURS.format(options="variant='model_ort_cpu'"),
}

_TEXT = """From the start of a Python process to the first vector of one sentence, all-MiniLM-L6-v2, fp32. All programs
read the same artifact and give the same vector; the bare script opens `model.onnx` and checks nothing, ours compares
every file with its sha256 first. The graph for `ort-cpu` has its weights beside it, where ONNX Runtime maps them.
Ratios are to the bare script, round by round: median [least, most] of {rounds} rounds.

{table}

No process had torch, onnx or transformers loaded.

{machine}"""


def section(options: Options) -> str:
    """Measure, and return the section's text."""
    rounds = options.rounds_of(ROUNDS)
    with TemporaryDirectory() as scratch:
        artifact = Path(scratch) / "artifact"
        options.report("exporting the sample")
        command = [str(Path(sys.executable).parent / "bert-onnx"), "export", "sample", "--output", str(artifact)]
        run_process([*command, "--target", "portable", "--target", "ort-cpu"])
        summaries = measure(artifact, rounds, options)
    header = ("program", "seconds", "ratio", "processor seconds", "peak MB", "ratio")
    lines = [
        [
            name,
            summary.seconds.show(3),
            "1" if name == BARE else summary.time_ratio.show(2),
            summary.processor_seconds.show(2),
            summary.megabytes.show(0),
            "1" if name == BARE else summary.memory_ratio.show(2),
        ]
        for name, summary in summaries.items()
    ]
    return _TEXT.format(rounds=rounds, table=markdown_table(header, lines), machine=describe_machine(PACKAGES))


def measure(artifact: Path, rounds: int, options: Options) -> dict[str, Summary]:
    """`rounds` starts of every program, after one of each that warms the disk cache and compiles."""
    longest = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))["model_max_length"]
    given = f"folder, longest, text = {str(artifact)!r}, {longest}, {SENTENCE!r}\n"
    vectors = [start(given + program)[1] for program in PROGRAMS.values()]
    for vector in vectors[1:]:
        if max(abs(a - b) for a, b in zip(vector, vectors[0], strict=True)) > 1e-5:
            raise SystemExit("the programs do not give the same vector; their times cannot be compared.")
    runs = {name: lambda program=program: start(given + program)[0] for name, program in PROGRAMS.items()}
    return summarise(take_turns(runs, rounds, options.report), BARE)


def start(program: str) -> tuple[Cost, list[float]]:
    """Run `program` in a process of its own; its cost up to its vector, and the vector."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program + _REPORT], env=clean_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"the measured program failed:\n{done.stderr}")
    report = json.loads(done.stdout)
    if report["heavy"]:
        raise SystemExit(f"a runtime must not load {', '.join(report['heavy'])}.")
    return Cost(report["now"] - begun, report["processor"], report["peak"] * 1024 / 1e6), report["vector"]
