"""Limits under load, health, metrics, logs, and a graceful end."""

from __future__ import annotations

import concurrent.futures as futures
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from served import LIMITS, Served, request, serving, status
from toy_artifacts import publish_toy, table

from bert_onnx.errors import InferenceError

V1 = "/v1/embeddings"


@pytest.fixture
def pool() -> Iterator[futures.ThreadPoolExecutor]:
    with futures.ThreadPoolExecutor(16) as made:
        yield made


def _wait(condition: object, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_a_full_queue_sheds_with_429(artifact: Path, pool: futures.ThreadPoolExecutor) -> None:
    with serving(artifact, limits=replace(LIMITS, queue_tokens=40)) as served:
        gate = served.gate()
        gate.open.clear()
        waiting = [pool.submit(served.post, V1, {"input": ["hello world"] * 2}) for _ in range(3)]
        (model,) = served.service.models.values()
        _wait(lambda: model.lane.ledger.tokens >= 24)
        code, answer, headers = served.post(V1, {"input": ["hello world"] * 4})
        assert code == 429
        assert answer["error"]["type"] == "rate_limit_error"
        assert 1 <= int(headers["retry-after"]) <= 60
        gate.open.set()
        assert [one.result()[0] for one in waiting] == [200] * 3  # nothing that was admitted is lost
        assert served.post(V1, {"input": ["hello world"] * 4})[0] == 200


def test_what_never_fits_is_too_large(artifact: Path) -> None:
    with serving(artifact, limits=replace(LIMITS, queue_tokens=40)) as served:
        code, answer, _ = served.post(V1, {"input": ["hello world"] * 20})
        assert code == 413
        assert "one may have 35" in answer["error"]["message"]


def test_the_deadline_is_kept_and_what_expired_is_never_run(artifact: Path, pool: futures.ThreadPoolExecutor) -> None:
    with serving(artifact, limits=replace(LIMITS, timeout=0.4)) as served:
        gate = served.gate()
        gate.open.clear()
        first = pool.submit(served.post, V1, {"input": "hello"})
        assert gate.entered.wait(10)
        late = [pool.submit(served.post, V1, {"input": ["hello"] * 5}) for _ in range(4)]
        assert [one.result()[0] for one in (first, *late)] == [504] * 5
        gate.open.set()
        (model,) = served.service.models.values()
        _wait(lambda: not model.lane.rows and not model.lane.ledger.tokens)
        assert gate.rows == 1
        _, text, _ = served.get("/metrics")
        assert 'bert_onnx_dropped_texts_total{model="toy",reason="expired"} 20.0' in text
        assert served.post(V1, {"input": "hello"})[0] == 200


def test_what_was_abandoned_is_never_run(artifact: Path, pool: futures.ThreadPoolExecutor) -> None:
    with serving(artifact) as served:
        gate = served.gate()
        gate.open.clear()
        first = pool.submit(served.post, V1, {"input": "hello"})
        assert gate.entered.wait(10)
        (model,) = served.service.models.values()
        with served.connect() as sock:
            sock.sendall(request(V1, json.dumps({"input": ["hello"] * 7}).encode()))
            _wait(lambda: model.lane.rows == 7)
        _wait(lambda: model.lane.rows == 0)
        gate.open.set()
        assert first.result()[0] == 200
        assert gate.rows == 1


def test_a_client_of_one_text_overtakes_one_of_a_thousand(artifact: Path, pool: futures.ThreadPoolExecutor) -> None:
    with serving(artifact, keys=("bulk", "single"), limits=replace(LIMITS, batch_tokens=16)) as served:
        gate = served.gate()
        gate.open.clear()
        bulk = pool.submit(served.post, V1, {"input": ["hello world"] * 1000}, authorization="Bearer bulk")
        assert gate.entered.wait(10)
        single = pool.submit(served.post, V1, {"input": "hello"}, authorization="Bearer single")
        (model,) = served.service.models.values()
        _wait(lambda: model.lane.ledger.tokens > 4000)
        before = gate.rows
        run = gate._runtime.run

        def slowly(*given: object) -> object:
            time.sleep(0.002)
            return run(*given)

        gate._runtime.run = slowly
        gate.open.set()
        assert single.result()[0] == 200
        assert gate.rows - before < 100
        assert not bulk.done()
        assert bulk.result()[0] == 200


def test_readiness_after_a_fault_asks_for_a_forward(artifact: Path) -> None:
    with serving(artifact) as served:
        gate = served.gate()
        assert served.get("/health/ready")[0] == 200
        assert gate.rows == 0  # well: nothing is run to say so
        gate.fault = InferenceError("the device is gone: /secret/path")
        code, answer, _ = served.post(V1, {"input": "hello"})
        assert code == 500
        assert "secret" not in str(answer)
        assert served.get("/health/ready")[0] == 503
        assert served.get("/health/live")[0] == 200
        gate.fault = None
        ran = gate.rows
        assert served.get("/health/ready")[0] == 200
        assert gate.rows == ran + 1


def test_readiness_compares_with_the_vectors_of_the_artifact(tmp_path: Path) -> None:
    """A runtime that begins to answer something else is not ready."""
    import numpy as np

    folder = publish_toy(tmp_path / "toy")
    ids = np.array([[2, 5, 3]])
    vector = table()[ids[0]].mean(axis=0)
    tensors = {
        name: {"shape": [1, 3], "values": values}
        for name, values in (("input_ids", [2, 5, 3]), ("attention_mask", [1, 1, 1]), ("token_type_ids", [0, 0, 0]))
    }
    case = {
        "inputs": tensors,
        "outputs": {"sentence_embedding": {"shape": [1, 4], "values": vector.tolist()}},
        "variants": {},
    }
    from runtimes.server.health import Probe

    with serving(folder) as served:
        (model,) = served.service.models.values()
        (tmp_path / "vectors.json").write_text(json.dumps({"cases": [case]}))
        Probe(tmp_path, "model", model._runtime).check()
        case["outputs"]["sentence_embedding"]["values"] = (-vector).tolist()
        (tmp_path / "vectors.json").write_text(json.dumps({"cases": [case]}))
        model._probe = Probe(tmp_path, "model", model._runtime)
        model.is_suspect = True
        assert served.get("/health/ready")[0] == 503


def test_metrics(artifact: Path) -> None:
    with serving(artifact, metrics_port=0, keys=("key",)) as served:
        assert served.post(V1, {"input": ["hello", "hello world"]}, authorization="Bearer key")[0] == 200
        assert served.post(V1, {}, authorization="Bearer key")[0] == 422
        assert served.get("/metrics", authorization="Bearer key")[0] == 404
        served.url = f"http://127.0.0.1:{served.metrics_port}"
        code, text, headers = served.get("/metrics")
    assert code == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines['bert_onnx_requests_total{model="toy",route="/v1/embeddings",status="200"}'] == "1.0"
    assert lines['bert_onnx_requests_total{model="",route="/v1/embeddings",status="422"}'] == "1.0"
    assert lines['bert_onnx_tokens_total{model="toy"}'] == "7.0"
    assert lines['bert_onnx_padding_tokens_total{model="toy"}'] == "1.0"
    assert lines['bert_onnx_batch_texts_count{model="toy"}'] == "1.0"
    assert lines['bert_onnx_queue_tokens{model="toy"}'] == "0.0"


def test_logs_have_the_request_and_none_of_its_text(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "bert_onnx.server"):
        _, _, headers = served.post(V1, {"input": ["hello secret world", "x"]}, **{"x-request-id": "mine-1"})
        _, _, odd = served.post(V1, {"input": "a secret", "truncate": "secret"}, **{"x-request-id": "a b"})
        served.get("/secret?secret=secret")
    assert headers["x-request-id"] == "mine-1"
    assert (headers["x-compute-tokens"], headers["x-truncated"]) == ("8", "0")
    assert odd["x-request-id"] != "a b"
    first, second, third = [record.fields for record in caplog.records]
    assert first["request_id"] == "mine-1"
    assert (first["route"], first["model"], first["status"], first["items"], first["tokens"]) == (V1, "toy", 200, 2, 8)
    assert (second["status"], second["refused"]) == (422, "BadRequestError")
    assert (third["route"], third["status"]) == ("none", 404)
    assert "secret" not in str([first, second, third])


def test_the_end_is_graceful(artifact: Path, pool: futures.ThreadPoolExecutor) -> None:
    """Readiness goes first, new work is refused, what was taken is finished."""
    with serving(artifact) as served:
        gate = served.gate()
        gate.open.clear()
        taken = [pool.submit(served.post, V1, {"input": "hello"}) for _ in range(5)]
        _wait(lambda: served.service.busy == 5)
        served.server.stop()
        assert served.get("/health/ready")[0] == 503
        assert served.get("/health/live")[0] == 200
        code, answer, headers = served.post(V1, {"input": "hello"})
        assert code == 503
        assert answer["error"]["type"] == "service_unavailable_error"
        assert headers["connection"] == "close"
        threading.Timer(0.2, gate.open.set).start()
        assert [one.result()[0] for one in taken] == [200] * 5
        _wait(lambda: status(_refused(served)) == 0)


def _refused(served: Served) -> bytes:
    try:
        return served.raw(b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n")
    except ConnectionError:
        return b""
