"""`bert-onnx serve` as a process: it answers, ends when told to, and says what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT
from toy_artifacts import publish_toy

from bert_onnx.cli.main import main


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_toy(tmp_path_factory.mktemp("toy") / "toy")


@contextmanager
def _process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server on a free port, and its address."""
    command = [sys.executable, "-m", "bert_onnx", "serve", *arguments, "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                said = json.loads(line)
                if said["message"] == "listening":
                    yield process, said["address"]
                    break
            else:
                raise AssertionError("the server does not listen")
        finally:
            process.kill()


def _ask(address: str, body: dict[str, Any]) -> Any:
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{address}/v1/embeddings", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def test_two_models_on_one_pool_and_the_end(artifact: Path, tmp_path: Path) -> None:
    other = publish_toy(tmp_path / "other")
    with _process(str(artifact), str(other)) as (process, address):
        for name in ("toy", "other"):
            assert len(_ask(address, {"model": name, "input": ["hello", "world"]})["data"]) == 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize(("first", "second"), [("SIGTERM", "SIGTERM"), ("SIGINT", "SIGINT")])
def test_a_second_signal_ends_it_at_once(artifact: Path, first: str, second: str) -> None:
    import socket

    with _process(str(artifact)) as (process, address):
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as sock:  # a request that keeps it busy
            sock.sendall(
                b"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
                b"content-length: 99\r\n\r\n"
            )
            _ask(address, {"input": "hello"})
            process.send_signal(signal.Signals[first])
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            process.send_signal(signal.Signals[second])
            assert process.wait(10) == 130


REFUSED = {
    "no artifact": (8, "{empty}"),
    "a port that there is not": (2, "{artifact} --port 70000"),
    "an unknown runtime": (2, "{artifact} --runtime abacus"),
    "a precision that it lacks": (2, "{artifact} --precision int8"),
    "the same name twice": (2, "{artifact} {artifact}"),
    "no budget": (2, "{artifact} --max-batch-tokens 0"),
    "no time": (2, "{artifact} --timeout 0"),
    "keys that are not there": (7, "{artifact} --api-key-file {empty}/none"),
    "no key": (7, "{artifact} --api-key-file {nokey}"),
    "an address that is not here": (2, "{artifact} --host 192.0.2.1"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_wrong_inputs_are_refused(
    what: str, artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected, line = REFUSED[what]
    paths = {"artifact": artifact, "empty": tmp_path / "empty", "nokey": tmp_path / "nokey"}
    paths["empty"].mkdir()
    paths["nokey"].write_text("# none\n\n")
    assert main(["serve", *(word.format(**paths) for word in line.split())]) == expected
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("bert-onnx: error: ")


def test_a_missing_extra_is_named(artifact: Path) -> None:
    program = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "starlette":
            raise ModuleNotFoundError("No module named 'starlette'", name="starlette")
sys.meta_path.insert(0, Missing())
from bert_onnx.cli.main import main
sys.exit(main(["serve", {str(artifact)!r}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 11
    assert 'starlette is not installed; install it with pip install "bert-onnx[server]"' in done.stderr
