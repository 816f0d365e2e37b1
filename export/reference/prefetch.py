"""Eager answers that a process of its own computes, while this one traces and writes.

Tracing keeps one core busy, and so does the eager model's arithmetic for most of the time that verification takes. The
process (`export.reference.worker`) loads the same checkpoint, answers the verification cases in order, writes each
answer into a folder that both know, and says so with a line: the key of its inputs. Whatever becomes of it, nothing
depends on it: who asks for an answer that does not come computes it himself.

Importing torch takes either process seconds. So a command starts the other one first of all (`start_early`), and gives
it its job once it is known; this module therefore loads no torch.
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
from pathlib import Path
from types import TracebackType

import numpy as np

from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.finding import SAMPLE, sample_folder
from bert_onnx.checkpoint.reading import tensor_names, weight_files
from bert_onnx.config import BertConfig
from bert_onnx.tasks import Task, TaskOptions
from runtimes.machine.cpu import usable_threads

#: Parameters of a model whose answers take as long as starting a process that imports torch.
WORTH_A_PROCESS = 8_000_000

#: Bytes of weights that so many parameters have at least.
_WORTH_BYTES = 2 * WORTH_A_PROCESS

#: Threads that wait sleep: two processes share the cores. How many there are must stay as it is: sums depend on it.
_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}

_PROGRAM = "import sys; sys.path[:] = {path!r}; from export.reference.worker import main; main()"


@dataclass(frozen=True)
class Job:
    """What the process is told first.

    Args:
        checkpoint, task, options, allow_new_heads: arguments of `load_eager`.
        threads: of torch.
        folder: where answers go.
    """

    checkpoint: Checkpoint
    task: Task
    options: TaskOptions
    allow_new_heads: bool
    threads: int
    folder: str


@dataclass(frozen=True)
class VectorJob:
    """What it is told second, if at all: to answer what test vectors will ask, too.

    Args:
        folder: a folder with a tokenizer.
        longest: length to which texts are cut, in tokens.
    """

    folder: str
    longest: int


class AnswersAhead:
    """The process, seen from outside; a context manager that ends it. It waits for its job."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="bert-onnx-answers-"))
        self._ready: set[str] = set()
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):  # no such program, no memory: then nothing is computed ahead
            self._process = _start()

    def ask(
        self, checkpoint: Checkpoint, task: Task, options: TaskOptions, allow_new_heads: bool, threads: int
    ) -> None:
        """Have the verification cases answered; for the arguments see `Job`."""
        self._tell(Job(checkpoint, task, options, allow_new_heads, threads, str(self._folder)))

    def ask_vectors(self, folder: Path, longest: int) -> None:
        """Have the inputs of the test vectors of `folder` answered after the cases; see `VectorJob`."""
        self._tell(VectorJob(str(folder), longest))

    def find(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
        """The answers to `inputs`, by output; None if none will come. Waits while they may."""
        self._end_of_questions()
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
            self._end_of_questions()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _tell(self, job: Job | VectorJob) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it died
                self._process.stdin.write(pickle.dumps(job))
                self._process.stdin.flush()

    def _end_of_questions(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.stdin = None

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


@contextlib.contextmanager
def start_early(model: str) -> Iterator[AnswersAhead | None]:
    """The process for an export of `model`, without a job; None where it is not known yet that it will be worth it.

    Args:
        model: what the user named: only a folder and the sample are looked at.
    """
    if usable_threads() == 1 or _bytes_of(model) < _WORTH_BYTES:
        yield None
        return
    with AnswersAhead() as ahead:
        yield ahead


@contextlib.contextmanager
def answers_ahead(
    checkpoint: Checkpoint,
    task: Task,
    options: TaskOptions,
    allow_new_heads: bool,
    started: AnswersAhead | None = None,
) -> Iterator[AnswersAhead | None]:
    """The process at work on the verification cases; None where it would cost more than it saves.

    Args:
        checkpoint, task, options, allow_new_heads: arguments of `load_eager`.
        started: one of `start_early`; whoever started it ends it.
    """
    import torch

    if usable_threads() == 1 or _parameters(checkpoint) < WORTH_A_PROCESS:
        yield None
        return
    with contextlib.nullcontext(started) if started is not None else AnswersAhead() as ahead:
        ahead.ask(checkpoint, task, options, allow_new_heads, torch.get_num_threads())
        yield ahead


def inputs_key(inputs: Mapping[str, np.ndarray]) -> str:
    """A name for `inputs`: the same for the same arrays by the same names."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(inputs):
        array = np.ascontiguousarray(inputs[name])
        digest.update(f"{name} {array.dtype} {array.shape};".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def _start() -> subprocess.Popen[bytes]:
    """The process, without a job.

    Raises:
        OSError: it does not start.
    """
    program = _PROGRAM.format(path=[entry or os.getcwd() for entry in sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | _ENVIRONMENT,
    )


def _bytes_of(model: str) -> int:
    """Bytes of the weight files of a folder or of the sample; 0 for everything else, and where there are none."""
    try:
        folder = sample_folder() if model == SAMPLE else Path(model).expanduser()
        return sum(path.stat().st_size for path in weight_files(folder)) if folder.is_dir() else 0
    except Exception:  # whatever is wrong with the weights is told when they are loaded
        return 0


def _parameters(checkpoint: Checkpoint) -> int:
    """Numbers in the weights; of random ones about how many the config implies."""
    if checkpoint.source.kind == "random":
        return _parameters_of(checkpoint.config)
    return sum(int(np.prod(tensor.shape)) for tensor in tensor_names(checkpoint).values())


def _parameters_of(config: BertConfig) -> int:
    D, F = config.hidden_size, config.intermediate_size
    tables = (config.vocab_size + config.max_position_embeddings) * D
    return tables + config.num_hidden_layers * (4 * D * D + 2 * D * F)
