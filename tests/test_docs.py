"""Pages for people: every link and every path that they name is there, and the README fits a few screens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from repository import ROOT

PAGES = [
    *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md"), *ROOT.glob("examples/*/README.md"),
    ROOT / "artifacts" / "README.md",
]  # fmt: skip
_LINK = re.compile(r"\]\(([^)#]*)(#[^)]*)?\)")
_PATH = re.compile(r"`((?:bert_onnx|export|runtimes|benchmarks|tests|docs)/[\w/.-]+)`")


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target, anchor in _LINK.findall(text):
        if target.startswith(("http:", "https:")):
            continue
        place = (page.parent / target) if target else page
        assert place.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor[1:] in _anchors(place), f"{page.name} links to {target}{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_paths_exist(page: Path) -> None:
    if "docs/adr" in page.as_posix() or page.name == "CHANGELOG.md":
        return  # they speak of their time
    for path in _PATH.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), f"{page.name} names {path}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_docs_index_has_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in ROOT.glob("docs/*.md"):
        assert page.name == "README.md" or page.stem.removeprefix("benchmarks-precision") in index
