"""The site of docs/: it builds without a warning, and asks for nothing from outside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with --strict: a warning is an error."""
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    pytest.importorskip("material", reason="the extra docs is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_every_page_is_there_and_in_the_navigation(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in ROOT.glob("docs/**/*.md")}
    pages = {"index.html" if page == "README.html" else page for page in pages}
    assert pages <= {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    navigation = (site / "quick-start.html").read_text(encoding="utf-8")
    for page in pages | {"artifact.html", "embedding.html", "contributing.html"}:
        assert f'href="{page}"' in navigation or page == "quick-start.html", page


def test_nothing_comes_from_outside(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="?(https?:[^">]*)', page.read_text("utf-8"))
        assert loaded == [], page.name


def test_the_api_comes_from_docstrings(site: Path) -> None:
    page = (site / "api.html").read_text(encoding="utf-8")
    for words in ("Make an artifact from a checkpoint, verify it and publish it", "retrieval_quality", "StorageError"):
        assert words in page


def test_links_out_of_docs_lead_to_pages_or_are_words(site: Path) -> None:
    text = (site / "embedding.html").read_text(encoding="utf-8")
    assert 'href="node"' not in text
    home = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="artifact.html"' in home
    assert "../artifacts/README.md</a>" in home
