"""From a checkpoint to verified ONNX: our command beside optimum's on the same folder, each in a cold process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.machine import describe_machine
from benchmarks.measure import Cost, Summary, clean_environment, markdown_table, run_process, summarise, take_turns
from benchmarks.options import Options
from bert_onnx.checkpoint.finding import sample_folder

TITLE = "Export, verification included"
ROUNDS = 5
PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "transformers", "optimum", "optimum-onnx")

OURS, THEIRS = "bert-onnx export", "optimum-cli export onnx"
#: Neither may wait for a hub that is not there.
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

_WRITE = """
import sys, torch, transformers
torch.manual_seed(0)
transformers.BertModel(transformers.BertConfig(**eval(sys.argv[2]))).save_pretrained(sys.argv[1])
"""
_LARGE_CONFIG = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "initializer_range": 0.05,
}
_QUICK_CONFIG = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}

_TEXT = """Each run is a process of its own, from its start to its end; both commands read the same folder and take
turns. Ratios are ours to theirs, round by round: median [least, most] of {rounds} rounds. Peak memory is that of a
command with its children.

{table}

* `{ours}` checks the file with the onnx checker and shape inference, opens it in ONNX Runtime, compares it
  with the eager model on 8 inputs (1 x 1, 3 x 17, 2 x 128, 1 x 512; padding on the right, on the left, holes, pairs;
  {tokens} tokens in all), hashes every file and publishes all of them in one step. A difference beyond the tolerance
  fails.
* `{theirs}` compares with the PyTorch model on one dummy input (2 x 16, 32 tokens); a difference is a
  warning.
* `{ours}` lets a second process compute the outputs of a large eager model while the first one traces
  (`export/reference/prefetch.py`).
* Where an encoder's layers are alike, one is traced and repeated (`export/trace/repeat_layers.py`); the file is
  that of a full trace, byte by byte.

{machine}"""


@dataclass(frozen=True)
class Subject:
    """A checkpoint that is exported, the task, and what our command makes beside the portable graph."""

    name: str
    folder: Path
    task: str
    targets: tuple[str, ...] = ()


def section(options: Options) -> str:
    """Measure, and return the section's text."""
    rounds = options.rounds_of(ROUNDS)
    lines: list[Sequence[str]] = []
    with TemporaryDirectory() as scratch:
        for subject in _subjects(Path(scratch), options.quick):
            summaries = _measure(subject, Path(scratch), rounds, options)
            lines += [_line(subject.name, name, summaries[name]) for name in (OURS, THEIRS)]
            if subject.folder.is_relative_to(scratch):
                shutil.rmtree(subject.folder)
    header = ("checkpoint", "command", "seconds", "ratio", "processor seconds", "peak MB", "ratio")
    return _TEXT.format(
        rounds=rounds,
        table=markdown_table(header, lines, texts=2),
        ours=OURS,
        theirs=THEIRS,
        tokens=f"{_verified_tokens():,}",
        machine=describe_machine(PACKAGES),
    )


def _subjects(scratch: Path, quick: bool) -> list[Subject]:
    """The sample, copied out of its package, and models of random weights; a small one where it must be quick."""
    if quick:
        return [Subject("tiny, random", _write_random(scratch / "tiny", _QUICK_CONFIG), "feature-extraction")]
    sample, base, large = scratch / "all-MiniLM-L6-v2", scratch / "base", scratch / "large"
    shutil.copytree(sample_folder(), sample)
    return [
        Subject("all-MiniLM-L6-v2 (6 layers, 91 MB)", sample, "sentence-similarity"),
        Subject("BERT-base, random (12 layers, 438 MB)", _write_random(base, {}), "feature-extraction"),
        Subject(
            "BERT-large, random at trained size (24 layers, 1.3 GB); ours with `ort-cpu` beside it",
            _write_random(large, _LARGE_CONFIG),
            "feature-extraction",
            ("ort-cpu",),
        ),
    ]


def _write_random(folder: Path, config: Mapping[str, object]) -> Path:
    """A BertModel of random weights, written by transformers."""
    command = [sys.executable, "-c", _WRITE, str(folder), repr(config)]
    subprocess.run(command, env=clean_environment() | _ENVIRONMENT, check=True, capture_output=True)
    return folder


def _measure(subject: Subject, scratch: Path, rounds: int, options: Options) -> dict[str, Summary]:
    programs = Path(sys.executable).parent
    output = scratch / "output"

    def run(command: Sequence[str]) -> Cost:
        cost = run_process(command, _ENVIRONMENT)
        if not any(output.rglob("model.onnx")):
            raise SystemExit(f"{' '.join(command)} wrote no model.onnx")
        shutil.rmtree(output)
        os.sync()  # what one program left to be written must not slow down the next
        return cost

    folder, target = str(subject.folder), str(output)
    ours = [str(programs / "bert-onnx"), "export", folder, "--task", subject.task, "--output", target]
    ours += [word for name in subject.targets for word in ("--target", name)]
    # For optimum, an embedding model is one of feature extraction; it sees what sentence-transformers wrote.
    theirs = [
        str(programs / "optimum-cli"),
        "export",
        "onnx",
        "--model",
        folder,
        "--task",
        "feature-extraction",
        target,
    ]
    commands = {OURS: ours, THEIRS: theirs}
    for command in commands.values():
        run(command)
    runs = {name: lambda command=command: run(command) for name, command in commands.items()}
    costs = take_turns(runs, rounds, lambda line: options.report(f"{subject.name}: {line}"))
    return summarise(costs, THEIRS)


def _line(checkpoint: str, command: str, summary: Summary) -> list[str]:
    return [
        checkpoint,
        f"`{command}`",
        summary.seconds.show(1),
        summary.time_ratio.show(2) if command == OURS else "1",
        summary.processor_seconds.show(1),
        summary.megabytes.show(0),
        summary.memory_ratio.show(2) if command == OURS else "1",
    ]


def _verified_tokens() -> int:
    """Tokens, padding included, of the cases that an encoder is verified on."""
    from bert_onnx.config import BertConfig
    from bert_onnx.tasks import find_task, input_ports
    from export.verification.cases import verification_cases

    task, config = find_task("feature-extraction"), BertConfig()
    cases = verification_cases(task, config, input_ports(task, config))
    return sum(case.inputs["input_ids"].size for case in cases)
