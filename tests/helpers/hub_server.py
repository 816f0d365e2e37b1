"""A stand-in model hub on loopback: what huggingface_hub 0.30 to 1.33 uses of the protocol, with faults on demand."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote

import pytest
from hub_uploads import COMMIT, Repository, Uploads

OLD_COMMIT = "fedcba9876543210fedcba9876543210fedcba98"
BERT = "google-bert/bert-base-uncased"
TINY = "somebody/tiny-bert"
WEIGHTS = "model.safetensors"
_MODEL = re.compile(r"/api/models/(?P<id>[^/]+(?:/[^/]+)?)(?:/revision/(?P<revision>[^/]+))?")
_TREE = re.compile(r"/api/models/(?P<id>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)")
_FILE = re.compile(r"/(?P<id>[^/]+(?:/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")

#: What a person's environment may say of hubs.
_VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "HUGGING_FACE_HUB_TOKEN")
__all__ = ["BERT", "COMMIT", "OLD_COMMIT", "TINY", "WEIGHTS", "Fault", "HubServer", "Repository"]


@dataclass
class Fault:
    """What goes wrong for requests whose `METHOD path` matches `pattern`."""

    pattern: str
    status: int = 0  # answer with this status
    body: bytes | None = None  # answer 200 with this instead
    cut: int = -1  # send only that many bytes of the body, then hang up
    delay: float = 0.0  # seconds before the answer
    times: int = 1_000_000  # how often it happens


class HubServer:
    """`with HubServer({"owner/name": Repository.of(files)}) as hub`: hub.url, hub.requests, hub.faults."""

    def __init__(self, repositories: dict[str, Repository]) -> None:
        self.repositories = repositories
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.faults: list[Fault] = []
        self.uploads = Uploads(repositories)
        hub = self

        class Handler(_Handler):
            server_state = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def use(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        """Make this the hub that programs find, with a cache in `home` and no token. Without Xet."""
        import huggingface_hub.constants

        for name in _VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_HOME", str(home))
        monkeypatch.setenv("HF_ENDPOINT", self.url)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True, raising=False)

    def downloads(self) -> list[str]:
        """Names of the files whose content was asked for, sorted."""
        matches = (_FILE.fullmatch(line.removeprefix("GET ")) for line in self.requests if line.startswith("GET "))
        return sorted({match["name"] for match in matches if match})

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_state: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""

    def do_HEAD(self) -> None:  # the name that http.server calls
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.path.split("?")[0]
        body = self._body()
        line = f"{self.command} {unquote(path)}"
        self.server_state.requests.append(line)
        self.server_state.headers.append(dict(self.headers))
        faults = (f for f in self.server_state.faults if f.times > 0 and re.search(f.pattern, line))
        fault = next(faults, None)
        if fault:
            fault.times -= 1
            time.sleep(fault.delay)
            if fault.status:
                return self._send(fault.status, b"broken")
            if fault.body is not None:
                return self._send(200, fault.body)
        if self.command in ("POST", "PUT"):
            return self._write(path, body)
        self._route(path, fault.cut if fault else -1)

    def _body(self) -> bytes:
        """What was sent; httpx sends generated bodies in chunks, of which the last is empty."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _write(self, path: str, body: bytes) -> None:
        token = "authorization" in {name.lower() for name in self.headers}
        if not token and not path.startswith("/lfs/"):  # as a hub's store, which is asked with a signed address
            return self._send(401, b'{"error": "Invalid username or password."}')
        status, answer = self.server_state.uploads.answer(self.command, path, body, self.server_state.url)
        return self._send(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _route(self, path: str, cut: int) -> None:
        match = _MODEL.fullmatch(path) or _TREE.fullmatch(path) or _FILE.fullmatch(path)
        if not match:
            return self._send(404, b"")
        repository = self.server_state.repositories.get(match["id"])
        known = "authorization" in {name.lower() for name in self.headers}
        if repository is None or (repository.private and not known):  # a hub does not say which
            return self._refuse(404 if known else 401, "RepoNotFound")
        if repository.gated and not known:
            return self._refuse(401, "GatedRepo")
        revision = unquote(match["revision"] or "main")
        commit = repository.commit(revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        files = repository.commits[commit]
        if match.re is _MODEL:
            siblings = [{"rfilename": name} for name in files]
            body = json.dumps({"id": match["id"], "sha": commit, "private": False, "siblings": siblings}).encode()
            return self._send(200, body, {"Content-Type": "application/json"})
        if match.re is _TREE:
            tree = [{"type": "file", "path": name, **self._stored(name, data)} for name, data in files.items()]
            return self._send(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
        return self._file(files, unquote(match["name"]), commit, cut)

    def _file(self, files: dict[str, bytes], name: str, commit: str, cut: int) -> None:
        if name not in files:
            return self._refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
        data = files[name]
        stored = self._stored(name, data)
        large = "lfs" in stored
        digest = stored["lfs"]["oid"] if large else stored["oid"]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
        if large:
            headers |= {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(data))}
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start:
            first = int(start[1])
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
            return self._send(206, data[first:], headers, cut)
        return self._send(200, data, headers, cut)

    @staticmethod
    def _stored(name: str, data: bytes) -> dict[str, Any]:
        """What a listing says of a file; large ones a hub keeps by their sha256."""
        stored: dict[str, Any] = {"size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        if name.endswith((".safetensors", ".bin", ".onnx", "_data")):
            stored["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return stored

    def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, b"", {"X-Error-Code": code, **(headers or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int = -1) -> None:
        try:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body if cut < 0 else body[:cut])
            if cut >= 0:
                self.close_connection = True
        except OSError:  # the client has hung up
            self.close_connection = True
