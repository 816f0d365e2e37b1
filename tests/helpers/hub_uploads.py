"""What a stand-in hub does with uploads: repositories and branches made, large files by their sha256, commits."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FIRST_COMMIT = "a" * 40
#: huggingface_hub understands the address of a commit only below the endpoint that was set when it was imported.
_PUBLIC = "https://huggingface.co"
_ID = r"(?P<id>[^/]+/[^/]+)"
_PREUPLOAD = re.compile(rf"/api/models/{_ID}/preupload/(?P<revision>.+)")
_COMMIT = re.compile(rf"/api/models/{_ID}/commit/(?P<revision>.+)")
_BRANCH = re.compile(rf"/api/models/{_ID}/branch/(?P<revision>.+)")
_BATCH = re.compile(rf"/{_ID}\.git/info/lfs/objects/batch")
_OBJECT = re.compile(r"/lfs/(?P<oid>[0-9a-f]{64})")


@dataclass
class Repository:
    """One model: files by branch, tag or commit, and who may see it."""

    commits: dict[str, dict[str, bytes]]
    names: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    gated: bool = False
    private: bool = False

    @classmethod
    def of(cls, files: dict[str, bytes], *, gated: bool = False, private: bool = False) -> Repository:
        return cls({COMMIT: files}, gated=gated, private=private)

    def commit(self, revision: str) -> str | None:
        return self.names.get(revision, revision if revision in self.commits else None)


class Uploads:
    """Answers (status, JSON) to requests that write. Files of `large` bytes and more go by their sha256 first."""

    def __init__(self, repositories: dict[str, Repository], large: int = 1000) -> None:
        self.repositories = repositories
        self.objects: dict[str, bytes] = {}
        self._large = large

    def answer(self, method: str, path: str, body: bytes, base: str) -> tuple[int, Any]:
        if method == "PUT" and (match := _OBJECT.fullmatch(path)):
            if hashlib.sha256(body).hexdigest() != match["oid"]:
                return 400, {"error": "another sha256"}
            self.objects[match["oid"]] = body
            return 200, {}
        if path == "/api/repos/create":
            return self._create(json.loads(body), base)
        if path == "/api/validate-yaml":
            return 200, {"warnings": [], "errors": []}
        if match := _BATCH.fullmatch(path):
            return 200, {"transfer": "basic", "objects": [self._object(o, base) for o in json.loads(body)["objects"]]}
        for pattern, answer in ((_PREUPLOAD, self._preupload), (_COMMIT, self._commit), (_BRANCH, self._branch)):
            if match := pattern.fullmatch(path):
                repository = self.repositories.get(match["id"])
                revision = unquote(match["revision"])
                return (
                    (404, {}) if repository is None else answer(repository, revision, body, f"{_PUBLIC}/{match['id']}")
                )
        return 404, {}

    def _create(self, asked: dict[str, Any], base: str) -> tuple[int, Any]:
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.repositories:
            return 409, {"error": "You already created this model repo", "url": f"{base}/{name}"}
        self.repositories[name] = Repository(
            {FIRST_COMMIT: {".gitattributes": b"*.onnx filter=lfs\n"}},
            {"main": FIRST_COMMIT},
            private=asked.get("private") is True or asked.get("visibility") == "private",
        )
        return 200, {"url": f"{base}/{name}"}

    def _branch(self, repository: Repository, revision: str, body: bytes, url: str) -> tuple[int, Any]:
        if revision in repository.names:
            return 409, {"error": "exists"}
        repository.names[revision] = repository.names["main"]
        return 200, {}

    def _preupload(self, repository: Repository, revision: str, body: bytes, url: str) -> tuple[int, Any]:
        files = json.loads(body)["files"]
        modes = [
            {
                "path": f["path"],
                "uploadMode": "lfs" if f["size"] >= self._large else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for f in files
        ]
        return 200, {"files": modes}

    def _object(self, asked: dict[str, Any], base: str) -> dict[str, Any]:
        known = asked["oid"] in self.objects
        upload = {} if known else {"actions": {"upload": {"href": f"{base}/lfs/{asked['oid']}"}}}
        return {"oid": asked["oid"], "size": asked["size"], **upload}

    def _commit(self, repository: Repository, revision: str, body: bytes, url: str) -> tuple[int, Any]:
        lines = [json.loads(line) for line in body.splitlines()]
        head = repository.names[revision]
        if lines[0]["value"].get("parentCommit", head) != head:
            return 412, {"error": "A commit has happened since. Please refresh and try again."}
        files = dict(repository.commits[head])
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        oid = hashlib.sha1(body).hexdigest()
        repository.commits[oid] = files
        repository.names[revision] = oid
        return 200, {"success": True, "commitOid": oid, "commitUrl": f"{url}/commit/{oid}"}
