"""The server's page in a real Chromium: for every task it shows what the pipelines give, and says what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from client_tools import EXAMPLES, SCREENSHOTS
from served import serving
from served_models import export_late, open_models, save_models
from toy_artifacts import publish_toy

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("offline")
    return open_models(folder, save_models(folder))


@pytest.fixture(scope="module")
def seen(node: str, chromium: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the browser saw."""
    folder = tmp_path_factory.mktemp("served")
    models = open_models(folder, save_models(folder))
    with serving(publish_toy(folder / "toy"), export_late(folder), pipelines=models) as server:
        command = [node, "server.mjs", chromium, server.url]
        if pictures := os.environ.get(SCREENSHOTS):
            command.append(str(Path(pictures).resolve() / "server"))
        done = subprocess.run(command, cwd=EXAMPLES / "test", capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _rows(shown: dict[str, Any]) -> list[str]:
    return [line for line in shown["result"].splitlines() if line]


def test_every_model_is_shown_on_a_desk_and_on_a_phone(seen: dict[str, Any]) -> None:
    assert len(seen["models"]) == 11
    for name, shown in seen["models"].items():
        assert "error" not in shown["html"], (name, shown["result"])
        assert " ms · " in shown["figures"]
        assert "NaN" not in shown["result"] + shown["figures"]
        assert (shown["unlabelled"], shown["overflow"]) == (0, 0), name


def test_results_are_those_of_the_pipelines(seen: dict[str, Any], offline: dict[str, Any]) -> None:
    shown = seen["models"]
    (filled,) = offline["fill-mask"](["Paris is the [MASK] of France."], top_k=8)
    assert _rows(shown["fill-mask"])[::2] == [guess.token_str for guess in filled.masks[0]]
    assert float(_rows(shown["fill-mask"])[1]) == pytest.approx(filled.masks[0][0].score, abs=1e-3)
    (followed,) = offline["next-sentence-prediction"](["The cat sat on the mat."], ["Then it fell asleep."])
    assert float(_rows(shown["next-sentence-prediction"])[1]) == pytest.approx(followed.score, abs=1e-3)
    text = "Angela Merkel was born in Hamburg and studied in Leipzig."
    (found,) = offline["token-classification"]([text])
    assert shown["token-classification"]["html"].count("<mark") == len(found.entities)
    assert f"{len(found.entities)} found." in shown["token-classification"]["result"]
    assert shown["toy"]["result"].count("1.00") >= 4  # the diagonal of the heat map
    assert shown["toy"]["html"].count("<td") == 1 + 4 * 4
    for ranks in ("late", "text-ranking"):
        scores = [float(line) for line in _rows(shown[ranks])[1::2]]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == 4
    assert _rows(shown["sparse-embedding"])[0] == "a"


def test_what_goes_wrong_is_said_in_sentences(seen: dict[str, Any]) -> None:
    said = seen["said"]
    assert said["empty"]["result"] == "Write a text."
    assert said["away"]["result"] == "The server does not answer; is it still running?"
    assert said["long"]["figures"].endswith("1 text was cut: this model reads 96 tokens.")
    assert said["long"]["cut"] == 1
    assert "praise" in said["markup"]["result"]
    assert seen["complaints"] == []
    assert len(seen["called"]) == 1


def test_marks_stand_where_python_says(seen: dict[str, Any], offline: dict[str, Any]) -> None:
    """Python counts code points, the browser half of those beyond the first 65,536."""
    (found,) = offline["token-classification"]([seen["emoji"]["text"]])
    assert seen["emoji"]["marks"] == [seen["emoji"]["text"][one.start : one.end] for one in found.entities]
    assert found.entities


def test_the_keyboard_is_enough(seen: dict[str, Any]) -> None:
    keyboard = seen["keyboard"]
    assert keyboard["visited"] == ["model", "texts", "run"]
    assert keyboard["outline"] == "solid"
    assert "hello world" in keyboard["result"]
