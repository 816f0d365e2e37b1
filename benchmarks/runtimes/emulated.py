"""OpenVINO's plugin for ONNX Runtime on an Intel processor that QEMU emulates, for machines that have another.

The plugin offers its device on Intel's processors only, by what CPUID says. Answers are those of the real library;
times mean nothing.
"""

from __future__ import annotations

import atexit
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from typing import IO, Any

import numpy as np

from bert_onnx.errors import RuntimeUnavailableError
from bert_onnx.tasks import Port
from runtimes.engines.base import RuntimeDescription, RuntimeOptions
from runtimes.engines.inputs import Limits

PROGRAMS = ("qemu-x86_64-static", "qemu-x86_64")
#: AVX2 and nothing newer: what QEMU's user mode can emulate.
PROCESSOR = "Haswell"
REPOSITORY = Path(__file__).resolve().parents[2]


class EmulatedRuntime:
    """Speaks for one graph on OpenVINO's plugin in the other process, which serves all graphs: it starts slowly."""

    name = "onnxruntime-openvino"

    def __init__(self, number: int, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._number = number

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
        number = _ask("open", (str(path), tuple(inputs), tuple(outputs), options, limits))
        return cls(number, inputs, outputs)

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """As the runtime's own."""
        answer: dict[str, np.ndarray] = _ask("run", (self._number, dict(inputs), outputs))
        return answer

    def describe(self) -> RuntimeDescription:
        """What runs there."""
        description: RuntimeDescription = _ask("describe", (self._number,))
        return description

    def close(self) -> None:
        """Let go of the graph there."""
        _ask("close", (self._number,))

    def __enter__(self) -> EmulatedRuntime:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@cache
def _process() -> subprocess.Popen[bytes]:
    """The other process."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        raise RuntimeUnavailableError("there is no QEMU to emulate an Intel processor with; install qemu-user-static.")
    command = [program, "-cpu", PROCESSOR, sys.executable, "-m", "benchmarks.runtimes.emulated"]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    atexit.register(process.communicate)  # its input ends, and it does
    return process


def _ask(what: str, arguments: tuple[Any, ...]) -> Any:
    process = _process()
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        _send(process.stdin, (what, arguments))
        answer = pickle.load(process.stdout)
    except (OSError, EOFError):
        raise RuntimeUnavailableError(f"the emulated process ended with status {process.wait()}.") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _send(stream: IO[bytes], message: Any) -> None:
    pickle.dump(message, stream)
    stream.flush()


def _serve() -> None:
    """Answer questions until there are no more. What libraries print must not get among the answers."""
    from runtimes.engines.ort.openvino import OnnxRuntimeOpenVino

    stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    opened: dict[int, OnnxRuntimeOpenVino] = {}
    for number in count():
        try:
            what, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer: Any = None
        try:
            if what == "open":
                opened[number], answer = OnnxRuntimeOpenVino.open(*arguments), number
            elif what == "close":
                opened.pop(arguments[0]).close()
            else:
                answer = getattr(opened[arguments[0]], what)(*arguments[1:])
        except Exception as error:
            answer = error
        _send(stream, answer)


if __name__ == "__main__":
    _serve()
