"""A few calls of tract in a process of its own, before this one makes any: a panic of tract ends its process.

`python -m runtimes.engines.tract_rehearsal FILE` reads calls from standard input, as JSON: for each call, by name of
the input, the shape, the value of every element, and the data type.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from bert_onnx.errors import RuntimeUnavailableError
from bert_onnx.tasks import BATCH, CHOICES, ENCODER_SEQUENCE, PAST, SEQUENCE, Port, arrays_for
from runtimes.engines.inputs import MASKS

#: Lengths of axes that mislead an engine: 1, numbers that differ from each other, with and without a cache.
_CALLS = (
    {BATCH: 1, SEQUENCE: 1, CHOICES: 2, PAST: 0, ENCODER_SEQUENCE: 1},
    {BATCH: 2, SEQUENCE: 3, CHOICES: 2, PAST: 4, ENCODER_SEQUENCE: 5},
    {BATCH: 3, SEQUENCE: 1, CHOICES: 1, PAST: 2, ENCODER_SEQUENCE: 4},
    {BATCH: 4, SEQUENCE: 7, CHOICES: 3, PAST: 0, ENCODER_SEQUENCE: 2},
)
_SECONDS = 600
_LONGEST_REASON = 300
#: What follows it in tract's messages are addresses of its own code.
_BACKTRACE = "Stack backtrace"
_PANIC = "panicked at "
_FAILED = 3
_REPOSITORY = Path(__file__).resolve().parents[2]


def rehearse(path: Path, inputs: Sequence[Port]) -> None:
    """Let tract open and run the graph in `path` in another process: on masks of 1, and on 0, which every table has.

    Raises:
        RuntimeUnavailableError: it panicked, or failed.
    """
    calls = [
        arrays_for(inputs, sizes, lambda port, shape: (shape, int(port.name in MASKS), port.dtype)) for sizes in _CALLS
    ]
    search = os.pathsep.join(filter(None, (str(_REPOSITORY), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(path.resolve())],
        input=json.dumps(calls), capture_output=True, text=True, timeout=_SECONDS, check=False,
        env={**os.environ, "RUST_BACKTRACE": "0", "PYTHONPATH": search},
    )  # fmt: skip
    if done.returncode == 0:
        return
    reason = done.stderr.strip() if done.returncode == _FAILED else _panic(done.stderr, done.returncode)
    raise RuntimeUnavailableError(f"tract cannot run {path.name}: {reason}; use another runtime.")


def reason_of(error: Exception) -> str:
    """What tract says, without addresses of its own code."""
    text = str(error).partition(_BACKTRACE)[0].replace("Caused by:", ":")
    return " ".join(text.split()).replace(" :", ":").rstrip(":.")[:_LONGEST_REASON] or type(error).__name__


def _panic(said: str, status: int) -> str:
    """Where it panicked and why, the first time; what it said last where it did not."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for line, following in pairwise(lines):
        if _PANIC in line:
            place = line.partition(_PANIC)[2].rstrip(":")
            return f"it panics at {place} ({following})"[:_LONGEST_REASON]
    return f"its process ended with status {status} ({' '.join(lines[-1:])})"[:_LONGEST_REASON]


def _run(path: str) -> None:
    import numpy as np
    import tract

    try:
        graph = tract.onnx().load(path)
        names = [graph.input_name(position) for position in range(graph.input_count())]
        runnable = graph.into_model().into_runnable()
        for call in json.load(sys.stdin):
            runnable.run([np.full(*call[name]) for name in names])
    except tract.TractError as error:
        print(reason_of(error), file=sys.stderr)
        sys.exit(_FAILED)


if __name__ == "__main__":
    _run(sys.argv[1])
