"""A stand-in model hub on loopback: the part of the protocol that huggingface_hub 0.36 uses, with faults on demand."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLD_COMMIT = "fedcba9876543210fedcba9876543210fedcba98"
BERT = "google-bert/bert-base-uncased"
TINY = "somebody/tiny-bert"
WEIGHTS = "model.safetensors"
_MODEL = re.compile(r"/api/models/(?P<id>[^/]+(?:/[^/]+)?)(?:/revision/(?P<revision>[^/]+))?")
_FILE = re.compile(r"/(?P<id>[^/]+(?:/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")


@dataclass
class Repository:
    """One model: files by branch, tag or commit, and whether it is gated."""

    commits: dict[str, dict[str, bytes]]
    names: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    gated: bool = False

    @classmethod
    def of(cls, files: dict[str, bytes], *, gated: bool = False) -> Repository:
        return cls({COMMIT: files}, gated=gated)

    def commit(self, revision: str) -> str | None:
        return self.names.get(revision, revision if revision in self.commits else None)


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
        hub = self

        class Handler(_Handler):
            server_state = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

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

    def _answer(self) -> None:
        path = self.path.split("?")[0]
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
        self._route(path, fault.cut if fault else -1)

    def _route(self, path: str, cut: int) -> None:
        match = _MODEL.fullmatch(path) or _FILE.fullmatch(path)
        if not match:
            return self._send(404, b"")
        repository = self.server_state.repositories.get(match["id"])
        if repository is None:
            return self._refuse(404, "RepoNotFound")
        if repository.gated and "authorization" not in {name.lower() for name in self.headers}:
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
        return self._file(files, unquote(match["name"]), commit, cut)

    def _file(self, files: dict[str, bytes], name: str, commit: str, cut: int) -> None:
        if name not in files:
            return self._refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
        data = files[name]
        large = name.endswith((".safetensors", ".bin"))  # these a hub keeps by their sha256
        digest = hashlib.sha256(data).hexdigest() if large else hashlib.sha1(data).hexdigest()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
        if large:
            headers |= {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(data))}
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start:
            first = int(start[1])
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
            return self._send(206, data[first:], headers, cut)
        return self._send(200, data, headers, cut)

    def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, b"", {"X-Error-Code": code, **(headers or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int = -1) -> None:
        try:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body if cut < 0 else body[:cut])
            if cut >= 0:
                self.close_connection = True
        except OSError:  # the client has hung up
            self.close_connection = True
