"""Newly published artifacts are taken over while requests come; broken ones are not."""

from __future__ import annotations

import concurrent.futures as futures
import json
import logging
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from served import Served, serving
from toy_artifacts import publish_toy, table

V1 = "/v1/embeddings"
OTHER = table() * np.float32(-2.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return publish_toy(tmp_path / "toy")


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    with serving(folder) as server:
        yield server


def _wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def _vector(served: Served) -> list[float]:
    code, answer, _ = served.post(V1, {"input": "hello"})
    assert code == 200
    return answer["data"][0]["embedding"]


def _embedding(vectors: np.ndarray) -> np.ndarray:
    return vectors[[2, 5, 3]].mean(axis=0)


def _reloads(served: Served, result: str) -> bool:
    return f'bert_onnx_reloads_total{{model="toy",result="{result}"}} 1.0' in served.get("/metrics")[1]


def test_no_request_is_lost_while_an_artifact_is_replaced(served: Served, folder: Path) -> None:
    old = next(iter(served.service.models.values()))
    over = False

    def ask() -> list[list[float]]:
        found = []
        while not over:
            found.append(_vector(served))
        return found

    with futures.ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        publish_toy(folder, OTHER, force=True)
        served.server.reload()
        _wait(lambda: served.service.models["toy"] is not old and len(served.service.scheduler._lanes) == 1)
        time.sleep(0.05)
        over = True
        answers = [answer for one in asking for answer in one.result()]
    before, after = _embedding(table()), _embedding(OTHER)
    kinds = [int(np.allclose(answer, after)) for answer in answers]
    assert all(np.allclose(answer, (before, after)[kind]) for answer, kind in zip(answers, kinds, strict=True))
    assert set(kinds) == {0, 1}
    assert np.allclose(_vector(served), after)
    assert old.users == 0
    assert _reloads(served, "opened")


def test_a_request_that_has_begun_is_finished_by_the_old_model(served: Served, folder: Path) -> None:
    gate, old = served.gate(), served.service.models["toy"]
    gate.open.clear()
    with futures.ThreadPoolExecutor(1) as pool:
        begun = pool.submit(_vector, served)
        assert gate.entered.wait(10)
        publish_toy(folder, OTHER, force=True)
        served.server.reload()
        _wait(lambda: served.service.models["toy"] is not old)
        assert old.users == 1  # and it is not closed
        gate.open.set()
        assert np.allclose(begun.result(), _embedding(table()))
    _wait(lambda: old.lane not in served.service.scheduler._lanes)
    assert np.allclose(_vector(served), _embedding(OTHER))


def test_a_broken_artifact_leaves_the_old_one(served: Served, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "manifest.json").write_text("{")
    with caplog.at_level(logging.INFO, "bert_onnx.server"):
        served.server.reload()
        _wait(lambda: _reloads(served, "failed"))
    assert any("the old one is kept" in record.getMessage() for record in caplog.records)
    assert np.allclose(_vector(served), _embedding(table()))
    assert served.get("/health/ready")[0] == 200


def test_an_artifact_that_gives_other_vectors_than_it_says_leaves_the_old_one(served: Served, folder: Path) -> None:
    publish_toy(folder, table("hello") * np.float32("nan"), force=True)
    served.server.reload()
    _wait(lambda: _reloads(served, "failed"))
    assert np.allclose(_vector(served), _embedding(table()))


def test_what_is_served_already_is_not_opened_again(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    old = served.service.models["toy"]
    with caplog.at_level(logging.INFO, "bert_onnx.server"):
        served.server.reload()
        _wait(lambda: any("is the one that is served" in record.getMessage() for record in caplog.records))
    assert served.service.models["toy"] is old


def test_a_reload_while_the_server_starts_does_not_end_it(folder: Path) -> None:
    command = [sys.executable, "-m", "bert_onnx", "serve", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:  # SIGHUP is ignored from before the first line on, and heeded soon after the last
            process.send_signal(signal.SIGHUP)
            if '"message":"listening"' in line:
                address = json.loads(line)["address"]
                break
        assert urllib.request.urlopen(f"{address}/health/live", timeout=20).status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
