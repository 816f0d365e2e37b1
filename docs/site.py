"""What the site of mkdocs needs beside docs/: pages that lie elsewhere in the tree, links among them, and mermaid.

A page of the tree links to files of the tree, as a reader of the repository wants. On the site, links to pages lead to
the pages, and what is no page (a folder, a program) loses its link and keeps its words.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
#: Pages of the tree that are not in docs/, by what they are called on the site.
ELSEWHERE = {
    "artifact.md": "artifacts/README.md",
    "embedding.md": "examples/README.md",
    "contributing.md": "CONTRIBUTING.md",
}
_PLACES = {path: name for name, path in ELSEWHERE.items()}
#: What `make docs` fetches: the drawing of diagrams, and what lets the search run on pages that lie on a disk. Without
#: them diagrams stay text, such a search fails, and nothing is asked of anybody all the same.
FETCHED = ROOT / "build" / "site-scripts"
_MERMAID, _SHIM = "mermaid.min.js", "iframe-worker.js"
_OUTSIDE = re.compile(r'<script src="?https://unpkg\.com/iframe-worker/shim"?></script>')
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]*)(#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """Put mermaid on the pages where it is there; else leave diagrams as the text that they are."""
    if (FETCHED / _MERMAID).exists():
        config.extra_javascript.append(f"assets/{_MERMAID}")
    else:
        config.mdx_configs["pymdownx.superfences"]["custom_fences"] = []
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie elsewhere, and what was fetched."""
    for name, path in ELSEWHERE.items():
        files.append(File.generated(config, name, content=(ROOT / path).read_text(encoding="utf-8")))
    for name in (_MERMAID, _SHIM):
        if (FETCHED / name).exists():
            files.append(File.generated(config, f"assets/{name}", abs_src_path=str(FETCHED / name)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links of the tree as links of the site."""
    name = page.file.src_uri
    folder = posixpath.dirname(ELSEWHERE.get(name) or f"docs/{name}")

    def rewritten(match: re.Match[str]) -> str:
        image, words, target, anchor = match[1], match[2], match[3], match[4] or ""
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        place = _PLACES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if place is None or files.get_file_from_path(place) is None:
            return words
        return f"{image}[{words}]({os.path.relpath(place, posixpath.dirname(name) or '.')}{anchor})"

    return _LINK.sub(rewritten, markdown)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """The script that the theme would take from elsewhere is taken from beside the page."""
    place = os.path.relpath(f"assets/{_SHIM}", posixpath.dirname(page.file.dest_uri) or ".")
    return _OUTSIDE.sub(f'<script src="{place}"></script>' if (FETCHED / _SHIM).exists() else "", output)


def on_post_template(output_content: str, template_name: str, config: Any) -> str:
    """The same for the page that says that there is none."""
    return _OUTSIDE.sub("", output_content)
