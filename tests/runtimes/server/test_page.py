"""The page's files: what is sent, with which headers, and that nothing in them comes from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from served import Served, request, serving, status

from runtimes.server.routes.page import FILES


@pytest.mark.parametrize("name", ["", *FILES])
def test_files_and_their_headers(served: Served, name: str) -> None:
    code, text, headers = served.get(f"/page/{name}" if name else "/")
    content, kind = FILES[name or "index.html"]
    assert (code, text) == (200, content.decode())
    assert headers["content-type"].startswith(kind)
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_nothing_comes_from_elsewhere() -> None:
    for name, (content, _) in FILES.items():
        addresses = re.findall(r"(?:https?:)?//[\w.-]+", content.decode().replace("http://www.w3.org/2000/svg", ""))
        assert [one for one in addresses if not one.startswith("// ")] == [], name
    html = FILES["index.html"][0].decode()
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?![^>]*\ssrc=)", html)
    assert len(re.findall(r"<script|<link", html)) == 3


@pytest.mark.parametrize("name", ["nothing.js", "..%2fapp.py", "%2e%2e%2fserve.py", "__init__.py", "%00", "a" * 1000])
def test_no_other_file_is_sent(served: Served, name: str) -> None:
    assert served.get(f"/page/{name}")[0] == 404
    assert status(served.raw(request(f"/page/../{name}", b"", method=b"GET"))) == 404


def test_the_page_needs_no_key_and_its_calls_do(artifact: Path) -> None:
    with serving(artifact, keys=("right",)) as server:
        assert server.get("/")[0] == server.get("/page/app.js")[0] == 200
        assert server.get("/v1/models")[0] == 401
        assert server.get("/v1/models", authorization="Bearer right")[0] == 200


def test_models_say_what_the_page_shows(all_tasks: Served) -> None:
    rows = {row["id"]: row for row in all_tasks.get("/v1/models")[1]["data"]}
    assert rows["fill-mask"]["mask_token"] == "[MASK]"
    assert rows["text-classification"]["labels"] == ["contradiction", "neutral", "entailment"]
    assert "labels" not in rows["toy"]
    _, _, headers = all_tasks.post("/v1/embeddings", {"input": "hello", "model": "toy"})
    assert 0 < float(re.fullmatch(r"total;dur=([\d.]+)", headers["server-timing"])[1]) < 5000
