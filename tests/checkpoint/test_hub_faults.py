"""Every fault of a hub or a network is one sentence, soon. Against a stand-in server."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from hub_server import COMMIT, TINY, WEIGHTS, Fault, HubServer

from bert_onnx.checkpoint import find_checkpoint
from bert_onnx.errors import CheckpointError, HubError, StorageError
from bert_onnx.hub import http

pytestmark = pytest.mark.slow


def refused_port() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_no_network_is_said_at_once(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", refused_port())
    start = time.perf_counter()
    with pytest.raises(
        HubError, match=r"cannot be reached.* name a local folder, use 'sample', or pass --offline"
    ) as caught:
        find_checkpoint(TINY)
    assert time.perf_counter() - start < 3
    assert "\n" not in str(caught.value)


def test_no_network_is_said_even_where_the_cache_has_it(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    find_checkpoint(TINY)
    monkeypatch.setenv("HF_ENDPOINT", refused_port())
    with pytest.raises(HubError, match="--offline"):
        find_checkpoint(TINY)
    assert find_checkpoint(TINY, offline=True).source.revision == COMMIT


def test_a_name_that_does_not_resolve(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")  # reserved by RFC 2606, never resolves
    with pytest.raises(HubError, match="cannot be reached"):
        find_checkpoint(TINY)


def test_a_slow_hub(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_TIMEOUT", 0.3)
    server.faults.append(Fault("GET /api/models", delay=1.5))
    start = time.perf_counter()
    with pytest.raises(HubError, match="did not respond in time"):
        find_checkpoint(TINY)
    assert time.perf_counter() - start < 1.4


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("pattern", ["GET /api/models", "HEAD .*/config.json", "GET .*/model.safetensors"])
def test_a_hub_that_is_broken(pattern: str, server: HubServer) -> None:
    server.faults.append(Fault(pattern, status=500))
    with pytest.raises(HubError, match=r"responded with HTTP 500 .*try again later") as caught:
        find_checkpoint(TINY)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("impatient")
def test_a_body_that_is_cut_is_an_error_and_the_next_try_resumes(server: HubServer, files: dict[str, bytes]) -> None:
    server.faults.append(Fault("GET .*/model.safetensors", cut=0))
    with pytest.raises(HubError, match=r"--offline|try again"):
        find_checkpoint(TINY)
    with pytest.raises(HubError):
        find_checkpoint(TINY, offline=True)
    server.faults.clear()
    assert (find_checkpoint(TINY).folder / WEIGHTS).read_bytes() == files[WEIGHTS]


@pytest.mark.usefixtures("impatient")
def test_a_body_that_is_cut_now_and_then_is_resumed(server: HubServer, files: dict[str, bytes]) -> None:
    server.faults.append(Fault("GET .*/model.safetensors", cut=4000, times=2))
    assert (find_checkpoint(TINY).folder / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert server.requests.count(f"GET /{TINY}/resolve/{COMMIT}/{WEIGHTS}") == 3


def test_other_bytes_than_the_hub_announced(server: HubServer, files: dict[str, bytes]) -> None:
    swapped = bytearray(files[WEIGHTS])
    swapped[-1] ^= 1
    server.faults.append(Fault("GET .*/model.safetensors", body=bytes(swapped)))
    with pytest.raises(CheckpointError, match=r"differs from what the hub published; delete .*blobs"):
        find_checkpoint(TINY)


def test_a_cache_that_was_tampered_with(server: HubServer) -> None:
    path = find_checkpoint(TINY).folder / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.resolve().write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="differs from what the hub published"):
        find_checkpoint(TINY, offline=True)


@pytest.mark.parametrize(
    "body", [b"", b"<html>log in to the hotel</html>", b"[]", b"{}", b'{"id": "x", "sha": "../.."}']
)
def test_something_else_than_a_hub(body: bytes, server: HubServer) -> None:
    server.faults.append(Fault("GET /api/models", body=body))
    with pytest.raises(HubError, match="HF_ENDPOINT") as caught:
        find_checkpoint(TINY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["nonsense", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999"])
def test_an_endpoint_that_cannot_be_one(endpoint: str, server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(HubError):
        find_checkpoint(TINY)


def test_a_cache_that_cannot_be_written(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError, match=f"the download of {TINY} could not be stored"):
        find_checkpoint(TINY)
