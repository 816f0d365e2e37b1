"""A runtime in a process of its own, on an Intel processor that QEMU emulates: for OpenVINO's plugin on other machines.

The plugin offers its device on Intel's processors only, by what CPUID says. Answers are those of the real library;
times mean nothing.
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np

from bert_onnx.errors import RuntimeUnavailableError
from bert_onnx.tasks import Port
from runtimes.base import RuntimeDescription, RuntimeOptions
from runtimes.inputs import Limits

PROGRAMS = ("qemu-x86_64-static", "qemu-x86_64")
#: AVX2 and nothing newer: what QEMU's user mode can emulate.
PROCESSOR = "Haswell"
REPOSITORY = Path(__file__).resolve().parents[2]


class EmulatedRuntime:
    """Speaks for `module.class_name` in the other process."""

    module = "runtimes.onnxruntime_openvino"
    class_name = "OnnxRuntimeOpenVino"

    def __init__(self, process: subprocess.Popen[bytes], description: RuntimeDescription) -> None:
        self._process = process
        self._description = description
        self.name = description.name
        self.inputs: tuple[Port, ...] = ()
        self.outputs: tuple[Port, ...] = ()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        options: RuntimeOptions | None = None,
        limits: Limits | None = None,
    ) -> EmulatedRuntime:
        """As the runtime's own; raises what that raises there.

        Raises:
            RuntimeUnavailableError: QEMU is not installed.
        """
        program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
        if program is None:
            raise RuntimeUnavailableError(
                "there is no QEMU to emulate an Intel processor with; install qemu-user-static."
            )
        process = subprocess.Popen(
            [program, "-cpu", PROCESSOR, sys.executable, "-m", __name__, cls.module, cls.class_name],
            cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            description = _ask(process, (str(path), tuple(inputs), tuple(outputs), options, limits))
        except BaseException:
            _end(process)
            raise
        runtime = cls(process, description)
        runtime.inputs, runtime.outputs = tuple(inputs), tuple(outputs)
        return runtime

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """As the runtime's own."""
        answer: dict[str, np.ndarray] = _ask(self._process, (dict(inputs), outputs))
        return answer

    def describe(self) -> RuntimeDescription:
        """What runs there."""
        return self._description

    def close(self) -> None:
        """End the process."""
        _end(self._process)


def _ask(process: subprocess.Popen[bytes], question: Any) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        _send(process.stdin, question)
        answer = pickle.load(process.stdout)
    except (OSError, EOFError):
        raise RuntimeUnavailableError(f"the emulated process ended with status {process.wait()}.") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def _send(stream: IO[bytes], message: Any) -> None:
    pickle.dump(message, stream)
    stream.flush()


def _serve(module: str, class_name: str) -> None:
    """Answer questions until there are no more. What libraries print must not get among the answers."""
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    runtime: Any = None
    while True:
        try:
            question = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            if runtime is None:
                runtime = getattr(import_module(module), class_name).open(*question)
                answer = runtime.describe()
            else:
                answer = runtime.run(*question)
        except Exception as error:
            answer = error
        _send(stream, answer)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
