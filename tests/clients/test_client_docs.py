"""The site of docs/ in a real Chromium, from a disk: wide and narrow, light and dark, diagrams drawn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from client_tools import EXAMPLES, ROOT, SCREENSHOTS, lack

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, with the scripts that `make docs` has fetched."""
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    if not (ROOT / "build" / "site-scripts" / "mermaid.min.js").exists():
        lack("mermaid is not in build/site-scripts; `make docs` fetches it")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return folder


@pytest.mark.parametrize("page", ["architecture.html", "extend/pass.html"])
def test_pages_fit_every_window(node: str, chromium: str, site: Path, page: str) -> None:
    command = [node, "pages.mjs", chromium, (site / page).as_uri()]
    if shots := os.environ.get(SCREENSHOTS):
        command.append(str(Path(shots).resolve() / Path(page).stem))
    done = subprocess.run(command, cwd=EXAMPLES / "test", capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    for view in json.loads(done.stdout):
        assert view["overflow"] == 0, view
        assert view["complaints"] == [], view
        assert all(request.startswith("file:") for request in view["requests"]), view
        assert view["text"].count("flowchart TD") == 0  # the source of a diagram
