"""The process of `export.reference.prefetch`: eager answers, one after the other, into a folder."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from export.reference.load import Eager, load_eager
from export.reference.prefetch import Job, VectorJob, inputs_key
from export.reference.runtime import eager_runtime
from export.verification.cases import verification_cases

#: The process yields to the one that traces.
_NICENESS = 5


def main() -> None:
    """A pickled Job on standard input, a line on standard output for each answer that is written."""
    questions, out = sys.stdin.buffer, sys.stdout.buffer
    try:
        job: Job = pickle.load(questions)  # from the process that started this one, over a pipe of its own
    except EOFError:  # there was nothing to do
        os._exit(0)
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    try:
        _answer(job, questions, out)
    except BrokenPipeError:  # nobody waits any more, nor will anybody else remove the folder
        shutil.rmtree(job.folder, ignore_errors=True)
    os._exit(0)  # without the seconds that interpreter and torch take to clean up


def _answer(job: Job, questions: BinaryIO, out: BinaryIO) -> None:
    torch.set_num_threads(job.threads)
    eager = load_eager(job.checkpoint, job.task, job.options, allow_new_heads=job.allow_new_heads)
    reference = eager_runtime(eager)
    for inputs in _inputs(eager, questions):
        key = inputs_key(inputs)
        folder = Path(job.folder) / key
        folder.mkdir(exist_ok=True)
        for name, array in reference.run(inputs).items():
            np.save(folder / f"{name}.npy", array)
        out.write(f"{key}\n".encode())
        out.flush()


def _inputs(eager: Eager, questions: BinaryIO) -> Iterator[Mapping[str, np.ndarray]]:
    """Those of the verification cases, then those of the test vectors where there will be some."""
    ports = eager.module.inputs
    for case in verification_cases(eager.task, eager.config, ports):
        yield case.inputs
    try:
        vectors: VectorJob = pickle.load(questions)
    except EOFError:
        return
    from export.verification.vectors import vector_inputs

    yield from vector_inputs(Path(vectors.folder), ports, eager.config, vectors.longest)
