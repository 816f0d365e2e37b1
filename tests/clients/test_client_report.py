"""The report in a real Chromium: wide and narrow, light and dark, offline, nothing wider than its window."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from client_tools import EXAMPLES, SCREENSHOTS
from toy_artifacts import publish_toy

from bert_onnx.cli.main import main

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def seen(node: str, chromium: str, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the browser saw."""
    folder = tmp_path_factory.mktemp("report")
    page = folder / "page.html"
    assert main(["report", str(publish_toy(folder / "toy")), "--output", str(page), "--seconds", "0.2", "--quiet"]) == 0
    command = [node, "pages.mjs", chromium, page.as_uri()]
    if shots := os.environ.get(SCREENSHOTS):
        command.append(str(Path(shots).resolve() / "report"))
    done = subprocess.run(command, cwd=EXAMPLES / "test", capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_it_reads_well_everywhere(seen: list[dict[str, Any]]) -> None:
    assert len(seen) == 4
    for view in seen:
        assert view["overflow"] == 0, view
        assert view["complaints"] == []
        assert len(view["requests"]) == 1
        assert view["drawings"] == 3
        assert view["headings"][1:4] == ["Which file to ship", "Variants", "Speed"]


def test_it_follows_the_system(seen: list[dict[str, Any]]) -> None:
    grounds = {view["colorScheme"]: view["background"] for view in seen}
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}
