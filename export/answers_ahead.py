"""Eager answers that a process of its own computes, while this one traces and writes.

Tracing keeps one core busy, and so does the eager model's arithmetic for most of the time that verification takes. The
process loads the same checkpoint, answers the verification cases in order, writes each answer into a folder that both
know, and says so with a line: the key of its inputs. Whatever becomes of it, nothing depends on it: who asks for an
answer that does not come computes it himself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import torch

from bert_onnx.tasks import Task, TaskOptions
from bert_onnx.weights import Checkpoint

#: The process yields to the one that traces.
_NICENESS = 5

#: Threads that wait sleep: two processes share the cores. How many there are must stay as it is: sums depend on it.
_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}

_PROGRAM = "import sys; sys.path[:] = {path!r}; from export.answers_ahead import main; main()"


@dataclass(frozen=True)
class Job:
    """What the process is told.

    Args:
        checkpoint, task, options, allow_new_heads: arguments of `load_eager`.
        threads: of torch.
        folder: where answers go.
        vectors: a folder with a tokenizer and the length to which texts are cut: what the test vectors of that folder
            will ask is answered, too. None where there will be none.
    """

    checkpoint: Checkpoint
    task: Task
    options: TaskOptions
    allow_new_heads: bool
    threads: int
    folder: str
    vectors: tuple[str, int] | None


class AnswersAhead:
    """The process, seen from outside; a context manager that ends it.

    Args:
        checkpoint, task, options, allow_new_heads: arguments of `load_eager`.
        vectors: see `Job`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        task: Task,
        options: TaskOptions,
        allow_new_heads: bool,
        vectors: tuple[str, int] | None = None,
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="bert-onnx-answers-"))
        self._ready: set[str] = set()
        self._process: subprocess.Popen[bytes] | None = None
        threads = torch.get_num_threads()
        job = Job(checkpoint, task, options, allow_new_heads, threads, str(self._folder), vectors)
        with contextlib.suppress(OSError):  # no such program, no memory: then nothing is computed ahead
            self._process = _start(job)

    def find(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
        """The answers to `inputs`, by output; None if none will come. Waits while they may."""
        key = inputs_key(inputs)
        while key not in self._ready:
            if not self._wait_for_next():
                return None
        files = {path.stem: path for path in (self._folder / key).iterdir()}
        return {name: np.load(path) for name, path in files.items()}

    def close(self) -> None:
        """End the process and remove its answers."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait_for_next(self) -> bool:
        """Whether another answer has come."""
        if self._process is None or self._process.stdout is None:
            return False
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            return False
        self._ready.add(line.decode().strip())
        return True

    def __enter__(self) -> AnswersAhead:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def inputs_key(inputs: Mapping[str, np.ndarray]) -> str:
    """A name for `inputs`: the same for the same arrays by the same names."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(inputs):
        array = np.ascontiguousarray(inputs[name])
        digest.update(f"{name} {array.dtype} {array.shape};".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def main() -> None:
    """The process: a pickled Job on standard input, a line on standard output for each answer that is written."""
    job: Job = pickle.load(sys.stdin.buffer)  # from the process that started this one, over a pipe of its own
    out = sys.stdout.buffer
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    try:
        _answer(job, out)
    except BrokenPipeError:  # nobody waits any more, nor will anybody else remove the folder
        shutil.rmtree(job.folder, ignore_errors=True)
    os._exit(0)  # without the seconds that interpreter and torch take to clean up


def _start(job: Job) -> subprocess.Popen[bytes]:
    """The process, with its job.

    Raises:
        OSError: it does not start.
    """
    program = _PROGRAM.format(path=[entry or os.getcwd() for entry in sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | _ENVIRONMENT,
    )
    assert process.stdin is not None
    process.stdin.write(pickle.dumps(job))
    process.stdin.close()
    return process


def _answer(job: Job, out: BinaryIO) -> None:
    from export.cases import verification_cases
    from export.load_model import load_eager
    from export.reference import eager_runtime, input_limits
    from export.vectors import vector_inputs

    torch.set_num_threads(job.threads)
    eager = load_eager(job.checkpoint, job.task, job.options, allow_new_heads=job.allow_new_heads)
    reference = eager_runtime(eager)
    ports = eager.module.inputs
    questions: Iterator[Mapping[str, np.ndarray]] = (
        case.inputs for case in verification_cases(eager.task, eager.config, ports)
    )
    if job.vectors is not None:
        stage, longest = job.vectors
        questions = chain(questions, vector_inputs(Path(stage), ports, input_limits(eager), longest))
    for inputs in questions:
        key = inputs_key(inputs)
        folder = Path(job.folder) / key
        folder.mkdir(exist_ok=True)
        for name, array in reference.run(inputs).items():
            np.save(folder / f"{name}.npy", array)
        out.write(f"{key}\n".encode())
        out.flush()
