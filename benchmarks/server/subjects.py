"""The servers that are compared, each in a process of its own; those that are not measured just now are stopped."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import REPOSITORY, Report, clean_environment
from benchmarks.server.client import Connection, post

OURS_FP32 = "bert-onnx, fp32"
#: Name -> what is chosen of `runtimes.load`, and of `serve` as flags. A processor without bf16 leaves that one out.
OURS: dict[str, dict[str, str]] = {
    OURS_FP32: {"precision": "fp32"},
    "bert-onnx, int8": {"precision": "int8"},
    "bert-onnx, OpenVINO, bf16": {"runtime": "openvino", "precision": "bf16"},
    "bert-onnx, OpenVINO, int8": {"runtime": "openvino", "precision": "int8"},
}
PLAIN = "FastAPI + sentence-transformers"
INFINITY, INFINITY_ONNX = "Infinity, torch", "Infinity, optimum"
#: Seconds in which a server must answer: Infinity imports torch and measures its model first.
_START = 120.0
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True)
class Subject:
    """A server.

    Args:
        name: for people.
        command: starts it.
        port: where it listens on loopback.
        path: of its embeddings.
    """

    name: str
    command: tuple[str, ...]
    port: int
    path: str = "/v1/embeddings"

    def requests(self, texts: Sequence[str]) -> list[bytes]:
        """One for each text."""
        return [post(self.path, {"model": "model", "input": [text]}) for text in texts]


def subjects(artifact: Path, checkpoint: Path, work: Path, infinity: Path) -> list[Subject]:
    """Ours, and those peers that are installed.

    Args:
        artifact: an export of `checkpoint` in fp32 and int8.
        infinity: its environment.
    """
    ours = (sys.executable, "-m", "bert_onnx", "serve", _named_model(artifact, work))
    found = []
    for name, choices in OURS.items():
        port = free_port()
        flags = [part for key, value in choices.items() for part in (f"--{key}", value)]
        found.append(Subject(name, (*ours, *flags, "--port", str(port)), port))
    port = free_port()
    found.append(Subject(PLAIN, (sys.executable, "-m", "benchmarks.server.plain", str(checkpoint), str(port)), port))
    program = infinity / "bin" / "infinity_emb"
    if program.exists():
        for name, engine, model in (
            (INFINITY, "torch", str(checkpoint)),
            (INFINITY_ONNX, "optimum", _portable_model(artifact, work)),
        ):
            port = free_port()
            options = {"model-id": model, "served-model-name": "model", "engine": engine, "device": "cpu"}
            flags = [f"--{key}={value}" for key, value in (options | {"port": port, "host": "127.0.0.1"}).items()]
            found.append(Subject(name, (str(program), "v2", *flags), port, "/embeddings"))
    return found


def _named_model(artifact: Path, work: Path) -> str:
    """The artifact under the name that all requests have."""
    link = work / "model"
    link.unlink(missing_ok=True)
    link.symlink_to(artifact.absolute())
    return str(link)


def _portable_model(artifact: Path, work: Path) -> str:
    """What optimum's users have: one fp32 graph."""
    folder = work / "portable"
    if not folder.exists():
        shutil.copytree(artifact, folder, ignore=shutil.ignore_patterns("model_*"))
    return str(folder)


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Running:
    """A server's process."""

    def __init__(self, subject: Subject, log: Path) -> None:
        self.subject = subject
        self.log = log
        environment = {**clean_environment(), **_ENVIRONMENT}
        with open(log, "w") as file:
            self.process = subprocess.Popen(
                subject.command, stdout=file, stderr=file, env=environment, cwd=REPOSITORY, start_new_session=True
            )

    async def wait(self, seconds: float = _START) -> bool:
        """Until it answers; False where it ends, or does not answer in time."""
        (request,) = self.subject.requests(["hello"])
        for _ in range(int(seconds / 0.2)):
            if self.process.poll() is not None:
                return False
            with suppress(OSError):
                connection = await Connection.open(self.subject.port)
                answer = await asyncio.wait_for(connection.ask(request), 30)
                connection.close()
                if answer.status == 200:
                    return True
            await asyncio.sleep(0.2)
        return False

    def send(self, number: signal.Signals) -> None:
        """A signal to it and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """It runs within this block, and is stopped after it."""
        self.send(signal.SIGCONT)
        try:
            yield
        finally:
            self.send(signal.SIGSTOP)

    def end(self) -> None:
        """End it for good."""
        self.send(signal.SIGKILL)
        self.process.wait()


@contextmanager
def start(found: Sequence[Subject], work: Path, report: Report) -> Iterator[list[Running]]:
    """All of `found` that start, one after the other, each stopped once it has answered; they end with the block."""
    running: list[Running] = []
    try:
        for subject in found:
            made = Running(subject, work / f"{subject.name.replace(' ', '-')}.log")
            running.append(made)
            if asyncio.run(made.wait()):
                made.send(signal.SIGSTOP)
                report(f"{subject.name} answers")
            else:
                report(f"{subject.name} does not start: see {made.log}")
                running.remove(made)
                made.end()
        yield running
    finally:
        for made in running:
            made.end()
