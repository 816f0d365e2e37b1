"""A server under twice the load that it can take, with clients that misbehave, reloads and restarts in between.

    python -m benchmarks.server.soak [--seconds S] [--artifact DIR]

Every answer is compared with the offline result; every request that was sent while the server was up, and not
abandoned, must be answered; resident memory must not grow. The exit status is 1 where one of them fails.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import uvloop

from benchmarks.measure import Report
from benchmarks.server.client import Answer, Connection, post
from benchmarks.server.load import closed_loop
from benchmarks.server.measure import texts_of
from benchmarks.server.subjects import Running, Subject, free_port

_PATH = "/v1/embeddings"
_TOLERANCE = 1e-3
#: What of all requests is abandoned, larger than is taken, not JSON.
_ABANDONED, _OVERSIZED, _BROKEN = 0.05, 0.03, 0.05
_LARGE = post(_PATH, b"x" * (5 << 20))
_HUGE = post(_PATH, b"").replace(b"content-length: 0", b"content-length: 99999999")
_CUT = post(_PATH, b'{"input": ["hel')
#: Memory that counts as flat: a reload may leave a little.
_GROWTH = 1.1
#: Seconds after which a connection is not used again; the server closes it after 5.
_IDLE = 2.0
#: What a request may be answered: 503 while the server drains.
_ALLOWED = (200, 429, 503)


@dataclass
class Found:
    """What a soak found.

    Args:
        statuses: of requests that are right.
        refused: of those that are not, by their kind.
        wrong: answers that are not the offline result, or have a status that they must not have.
        lost: requests without an answer that were sent while the server was up.
        lives: resident megabytes of each process, once a second or more often.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lost: int = 0
    reloads: int = 0
    lives: list[list[float]] = field(default_factory=list)

    def growth(self) -> float:
        """Largest ratio of the memory in the last third of a life to that in the second; medians."""
        ratios = [1.0]
        for life in self.lives:
            third = len(life) // 3
            if third >= 2:
                ratios.append(float(np.median(life[-third:]) / np.median(life[third:-third])))
        return max(ratios)


class Soak:
    """One server, and what is done to it.

    Args:
        artifact: a copy that may be changed.
        texts: of requests; one to three each.
        vectors: of `texts`, offline.
        options: of the server.
        most: most requests a second.
    """

    def __init__(
        self, artifact: Path, texts: list[str], vectors: np.ndarray, options: tuple[str, ...], most: float
    ) -> None:
        self._artifact = artifact
        self._texts = texts
        self._vectors = vectors
        self._most = most
        self._port = free_port()
        command = (sys.executable, "-m", "bert_onnx", "serve", str(artifact), "--port", str(self._port), *options)
        self._subject = Subject("soaked", command, self._port)
        self._random = random.Random(0)
        self._idle: list[tuple[float, Connection]] = []
        self._down_since = 0.0
        self.found = Found()

    async def run(self, seconds: float, report: Report) -> None:
        """Two lives of `seconds` / 2, each ended by SIGTERM under load."""
        for _ in range(2):
            server = Running(self._subject, self._artifact.parent / "server.log")
            try:
                if not await server.wait():
                    raise SystemExit(f"the server does not start: {server.log.read_text()[-2000:]}")
                await self._live(server, seconds / 2, report)
            finally:
                server.end()

    async def _live(self, server: Running, seconds: float, report: Report) -> None:
        requests = [post(_PATH, {"input": [text]}) for text in self._texts]
        capacity = (await closed_loop(self._port, requests, 16, max(1.0, seconds / 30))).rate
        rate = min(2 * capacity, self._most)
        report(f"capacity {capacity:.0f} texts/s; {rate:.0f} requests a second of 2 texts on average")
        self._down_since = float("inf")
        self.found.lives.append([])
        asking: set[asyncio.Task[None]] = set()
        events = asyncio.ensure_future(self._events(server, seconds))
        end = time.perf_counter() + seconds
        while time.perf_counter() < end + 0.5:  # also while it drains
            await asyncio.sleep(self._random.expovariate(rate))
            task = asyncio.ensure_future(self._one())
            asking.add(task)
            task.add_done_callback(asking.discard)
        await events
        if asking:
            _, late = await asyncio.wait(asking, timeout=40)
            self.found.lost += len(late)
        self._idle.clear()

    async def _events(self, server: Running, seconds: float) -> None:
        """New artifacts at a third and two thirds, a broken one at a half, SIGTERM at the end."""
        manifest = self._artifact / "manifest.json"
        good = manifest.read_bytes()
        tick = min(1.0, seconds / 12)
        ticks = int(seconds / tick)
        plan = {ticks // 3: good + b"\n", ticks // 2: b"{", ticks * 2 // 3: good + b"\n\n"}
        for number in range(ticks):
            await asyncio.sleep(tick)
            self.found.lives[-1].append(_resident(server.process.pid))
            if number in plan:
                manifest.write_bytes(plan[number])
                server.process.send_signal(signal.SIGHUP)
                self.found.reloads += 1
        manifest.write_bytes(good)
        self._down_since = time.perf_counter()
        server.process.send_signal(signal.SIGTERM)
        status = await asyncio.get_running_loop().run_in_executor(None, server.process.wait, 40)
        if status != 0:
            self.found.wrong.append(f"the server ended with status {status}")

    async def _one(self) -> None:
        kind, sent = self._random.random(), time.perf_counter()
        try:
            connection = self._idle_one() or await Connection.open(self._port)
        except OSError:
            if sent < self._down_since:
                self.found.lost += 1
            return
        for share, ask in (
            (_ABANDONED, self._abandon), (_OVERSIZED, self._oversized), (_BROKEN, self._broken), (1.0, self._right),
        ):  # fmt: skip
            kind -= share
            if kind < 0:
                await ask(connection)
                break

    async def _right(self, connection: Connection) -> None:
        chosen = self._random.sample(range(len(self._texts)), self._random.randint(1, 3))
        sent = time.perf_counter()
        answer = await connection.ask(post(_PATH, {"input": [self._texts[index] for index in chosen]}))
        self.found.statuses[answer.status] += 1
        if answer.status == 0:
            self.found.lost += sent < self._down_since
        elif answer.status == 200:
            got = np.array([row["embedding"] for row in answer.json()["data"]])
            if got.shape != self._vectors[chosen].shape or np.abs(got - self._vectors[chosen]).max() > _TOLERANCE:
                self.found.wrong.append(f"vectors of texts {chosen}")
        elif answer.status not in _ALLOWED:
            self.found.wrong.append(f"status {answer.status}: {answer.body[:200]!r}")
        self._keep(connection)

    async def _abandon(self, connection: Connection) -> None:
        connection.ask(post(_PATH, {"input": self._texts[:3]}))
        await asyncio.sleep(self._random.random() * 0.3)
        connection.close()
        self.found.refused["abandoned"] += 1

    async def _oversized(self, connection: Connection) -> None:
        self._refused("oversized", await connection.ask(self._random.choice((_LARGE, _HUGE))), 413)
        connection.close()

    async def _broken(self, connection: Connection) -> None:
        self._refused("broken JSON", await connection.ask(_CUT), 422)
        self._keep(connection)

    def _refused(self, kind: str, answer: Answer, expected: int) -> None:
        self.found.refused[kind] += 1
        if answer.status not in (expected, 503) and time.perf_counter() < self._down_since:
            self.found.wrong.append(f"{kind}: status {answer.status}")

    def _keep(self, connection: Connection) -> None:
        if connection.is_open:
            self._idle.append((time.perf_counter(), connection))

    def _idle_one(self) -> Connection | None:
        """The latest, before the server closes it."""
        while self._idle:
            since, connection = self._idle.pop()
            if connection.is_open and time.perf_counter() - since < _IDLE:
                return connection
        return None


def _resident(pid: int) -> float:
    """Megabytes that a process holds."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * 4096 / 1e6


def soak(
    artifact: Path, texts: list[str], seconds: float, options: tuple[str, ...], most: float = 1e9,
    report: Report = lambda line: None,
) -> Found:  # fmt: skip
    """Soak a server of a copy of `artifact`."""
    import runtimes

    model: Callable[[list[str]], np.ndarray] = runtimes.load(artifact).embed  # type: ignore[attr-defined]
    with TemporaryDirectory() as work:
        copy = Path(work) / "model"
        shutil.copytree(artifact, copy)
        made = Soak(copy, texts, model(texts), options, most)
        uvloop.run(made.run(seconds, report))
    return made.found


def main() -> None:
    """Soak, print, and fail where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, metavar="S", help="all together (default: 600)")
    parser.add_argument("--artifact", type=Path, required=True, metavar="DIR", help="an export")
    chosen = parser.parse_args()
    found = soak(
        chosen.artifact, texts_of("short"), chosen.seconds, ("--max-queue-tokens", "8192"),
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )  # fmt: skip
    print(f"answers {dict(sorted(found.statuses.items()))}, refused {dict(found.refused)}, reloads {found.reloads}")
    print(f"wrong {len(found.wrong)} {found.wrong[:5]}, lost {found.lost}")
    for life in found.lives:
        print(f"resident MB: {life[0]:.0f} at first, {max(life):.0f} at most, {life[-1]:.0f} at last")
    print(f"growth {found.growth():.3f}")
    if found.wrong or found.lost or found.growth() > _GROWTH:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
