"""Consoles that are not UTF-8, and users without a home: commands print and predict all the same."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT
from toy_artifacts import publish_toy

from bert_onnx.cli.parsing import text
from bert_onnx.cli.printing import escape_what_the_console_lacks, print_json
from bert_onnx.errors import StorageError
from runtimes.machine.user_cache import VARIABLE, cache_folder
from runtimes.selection.tuned import Tuned, load_tuned, save_tuned

WORDS = "京都 é 😀 \udce4 plain"


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "cp1252", "ascii", "latin-1", "cp932", "utf-16"])
def test_every_word_is_printed_and_json_stays_json(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    escape_what_the_console_lacks()
    print(WORDS)
    print_json({"words": WORDS})
    sys.stdout.flush()
    first, second = raw.getvalue().decode(encoding).splitlines()
    assert first.endswith(" plain")
    assert json.loads(second) == {"words": WORDS}


def test_utf8_shows_letters_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="utf-8"))
    print_json(["京都"])
    sys.stdout.flush()
    assert raw.getvalue().decode() == '["京都"]\n'


@pytest.mark.parametrize("given", ["plain", "京都 é", "Ã©"])
def test_texts_are_utf8_where_the_locale_does_not_say_so(given: str) -> None:
    assert text(given) == given
    assert text(given.encode().decode("ascii", "surrogateescape")) == given
    assert text("\udcff京") == "\udcff京"


ENVIRONMENTS = (
    {"PYTHONIOENCODING": "cp1252"},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
)


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
def test_a_folder_with_a_name_of_another_script(environment: dict[str, str], tmp_path: Path) -> None:
    folder = publish_toy(tmp_path / "京都 модель")
    command = [sys.executable, "-m", "bert_onnx", "inspect", str(folder), "--json"]
    for extra in ([], ["--json"]):
        done = subprocess.run(
            [*command[:-1], *extra], capture_output=True, cwd=ROOT, env={**os.environ, **environment}, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert not extra or json.loads(done.stdout)


def test_no_home_means_an_empty_cache_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (VARIABLE, "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    path = cache_folder("tune") / "x.json"
    assert load_tuned(path) is None
    with pytest.raises(StorageError, match="cannot be kept"):
        save_tuned(path, Tuned("latency", (), {}))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("with_home", [True, False])
def test_a_user_whose_home_is_unreadable_or_missing(with_home: bool, tmp_path: Path) -> None:
    """The artifact is opened by a user id that nobody knows, in a process that gave up root."""
    hidden = tmp_path / "home"
    hidden.mkdir(mode=0o700)
    program = (
        "import os\n"
        "from runtimes.selection.open import _tuned\n"
        "from runtimes.machine.processor import this_processor\n"
        "import runtimes.selection.tuned\n"
        "os.setgid(12345); os.setuid(12345)\n"
        "class Nothing: manifest_sha256 = 'x'\n"
        "print(_tuned(Nothing(), this_processor()))"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", VARIABLE, "XDG_CACHE_HOME")}
    environment |= {"HOME": str(hidden)} if with_home else {}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "None"
