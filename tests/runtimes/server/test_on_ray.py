"""The server on Ray Serve, where Ray is installed: what it answers is what a server by itself answers."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from scale_tools import need
from served import LIMITS, Served, serving
from toy_artifacts import publish_toy

from bert_onnx.cli import main as cli
from bert_onnx.errors import ArtifactError, UsageError
from runtimes.server.on_ray import Replicas, serve_on_ray, start
from runtimes.server.settings import Limits, ServerSettings

pytestmark = pytest.mark.slow

#: When a server began.
_CREATED = re.compile(rb'"created":[0-9]+')
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
    ("POST", "/v1/embeddings", b'{"input": "hello", "model": "second"}'),
    ("GET", "/v1/models/second", None),
    ("GET", "/v2/models/second/ready", None),
    ("POST", "/predict", b'{"inputs": "hello"}'),
    ("GET", "/openapi.json", None),
    ("GET", "/nowhere", None),
    ("GET", "/embed", None),
)


@pytest.fixture(scope="module", params=[1, 2])
def folders(request: pytest.FixtureRequest, artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One model, which is open from the beginning; two, of which a replica keeps one open."""
    need("ray.serve")
    if request.param == 1:
        return [artifact]
    return [artifact, publish_toy(tmp_path_factory.mktemp("second") / "second")]


@pytest.fixture(scope="module")
def served(folders: list[Path]) -> Iterator[Served]:
    """A server of the same."""
    with serving(*folders) as server:
        yield server


@pytest.fixture(scope="module")
def port(folders: list[Path]) -> Iterator[int]:
    """Where Ray Serve listens."""
    serve = need("ray.serve")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = int(free.getsockname()[1])
    start(ServerSettings(tuple(folders), port=number, limits=LIMITS), Replicas(most=1, models=1))
    yield number
    serve.shutdown()


def ask(port: int, method: str, path: str, body: bytes | None, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", body, {"content-type": "application/json", **headers}, method=method
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
    assert _CREATED.sub(b"", found) == _CREATED.sub(b"", expected)


def test_models_take_turns_where_one_is_open(port: int, served: Served, folders: list[Path]) -> None:
    """Requests for both at once, again and again: each gets its own model, and one is open in the end."""
    names = [folder.name for folder in folders] * 4

    def call(name: str) -> tuple[int, Any]:
        return ask(port, "POST", "/v1/embeddings", json.dumps({"input": "hello", "model": name}).encode())

    with ThreadPoolExecutor(4) as threads:
        for name, (status, body) in zip(names, threads.map(call, names), strict=True):
            assert (status, json.loads(body)["model"]) == (200, name)
    assert b"\nbert_onnx_open_models 1.0\n" in ask(port, "GET", "/metrics", None)[1]
    header = {"serve_multiplexed_model_id": folders[-1].name}
    status, body = ask(port, "POST", "/v1/embeddings", b'{"input": "hello"}', **header)
    assert (status, json.loads(body)["model"]) == (200, folders[-1].name)
    assert [row["id"] for row in json.loads(ask(port, "GET", "/v1/models", None)[1])["data"]] == names[: len(folders)]


def test_what_ray_has_no_place_for(artifact: Path) -> None:
    with pytest.raises(UsageError, match="--metrics-port is for one server"):
        serve_on_ray(ServerSettings((artifact,), metrics_port=9090), Replicas())
    with pytest.raises(UsageError, match="models"):
        Replicas(models=0)
    with pytest.raises(ArtifactError):
        serve_on_ray(ServerSettings((artifact.parent / "nothing",)), Replicas())


def test_a_cluster_that_is_not_there(artifact: Path) -> None:
    need("ray.serve")
    with pytest.raises(UsageError, match=r"no Ray cluster at localhost:1: .+refused; leave --address out"):
        serve_on_ray(ServerSettings((artifact,)), Replicas("localhost:1"))


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
