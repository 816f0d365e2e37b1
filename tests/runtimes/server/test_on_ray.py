"""The server on Ray Serve, where Ray is installed: what it answers is what a server by itself answers."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scale_tools import need
from served import LIMITS, Served

from bert_onnx.cli import main as cli
from bert_onnx.errors import UsageError
from runtimes.server.on_ray import Replicas, serve_on_ray, start
from runtimes.server.settings import Limits, ServerSettings

pytestmark = pytest.mark.slow

#: Method, path, body: what is answered, and what is refused.
REQUESTS = (
    ("GET", "/health/ready", None),
    ("GET", "/info", None),
    ("POST", "/v1/embeddings", b'{"input": ["hello world", "good night"], "model": "toy"}'),
    ("POST", "/embed", b'{"inputs": "hello"}'),
    ("POST", "/embed", b'{"inputs": 5}'),
    ("POST", "/embed", b"{"),
    ("POST", "/v1/embeddings", b'{"input": "hello", "model": "nobody"}'),
    ("POST", "/embed", json.dumps({"inputs": ["hello"] * 2000}).encode()),
    ("POST", "/embed", b'{"inputs": "' + b"x" * (2 << 20) + b'"}'),
    ("GET", "/nowhere", None),
    ("GET", "/embed", None),
)


@pytest.fixture(scope="module")
def port(artifact: Path) -> Iterator[int]:
    """Where Ray Serve listens."""
    serve = need("ray.serve")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = int(free.getsockname()[1])
    start(ServerSettings((artifact,), port=number, limits=LIMITS), Replicas(most=1))
    yield number
    serve.shutdown()


def ask(port: int, method: str, path: str, body: bytes | None) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", body, {"content-type": "application/json"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_answers_and_errors_are_a_servers(
    port: int, served: Served, method: str, path: str, body: bytes | None
) -> None:
    status, found = ask(port, method, path, body)
    expected_status, expected = ask(served.port, method, path, body)
    assert status == expected_status
    assert found == expected


def test_what_ray_has_no_place_for(artifact: Path) -> None:
    with pytest.raises(UsageError, match="--metrics-port is for one server"):
        serve_on_ray(ServerSettings((artifact,), metrics_port=9090), Replicas())


def test_replicas_keep_the_limits() -> None:
    settings = ServerSettings((Path("toy"),), limits=Limits(timeout=7.0, connections=9))
    options = Replicas(threads=4).options(settings, processors=16)
    assert options["autoscaling_config"]["max_replicas"] == 4
    assert options["ray_actor_options"] == {"num_cpus": 4}
    assert (options["max_ongoing_requests"], options["graceful_shutdown_timeout_s"]) == (9, 7.0)
    assert Replicas(most=3).options(settings, processors=16)["autoscaling_config"]["max_replicas"] == 3


def test_options_of_a_cluster_need_one(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", str(artifact), "--workers", "2"]) == 2
    assert "add --engine ray" in capsys.readouterr().err
