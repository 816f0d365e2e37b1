"""Shell completion: a real bash completes commands, options, names of tables and paths."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bert_onnx.cli.completion import SHELLS
from bert_onnx.cli.main import main

#: Sources the script, which asks for completion of the words given, the last one unfinished.
_ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
function_of() { complete -p "$1" | sed 's/.*-F \\([^ ]*\\).*/\\1/'; }
"$(function_of bert-onnx)" bert-onnx "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `bert-onnx completion bash` prints."""
    printed = subprocess.run(
        [sys.executable, "-m", "bert_onnx", "completion", "bash"], capture_output=True, text=True, check=True
    )
    path = tmp_path_factory.mktemp("completion") / "bert-onnx"
    path.write_text(printed.stdout, encoding="utf-8")
    return path


def _completed(script: Path, words: str, folder: Path) -> set[str]:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    command = [bash, "--norc", "-c", _ASK, "bash", str(script), "bert-onnx", *words.split(" ")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=True)
    return {line.rstrip("/ ") for line in done.stdout.splitlines()}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("qu", {"quantize"}),
        ("ver", {"verify"}),
        ("export sample --tas", {"--task"}),
        ("export sample --task fill", {"fill-mask"}),
        ("export sample --target ort-cpu", {"ort-cpu", "ort-cpu-unpadded"}),
        ("run x --runtime openv", {"openvino"}),
        ("run x --precision fast", {"fastest"}),
        ("export sample --pooling c", {"cls"}),
        ("inspect arti", {"artifact"}),
        ("embed arti", {"artifact"}),
        ("frobnicate --", {"--help", "--version"}),
    ],
)
def test_bash_completes(script: Path, tmp_path: Path, words: str, found: set[str]) -> None:
    (tmp_path / "artifact").mkdir()
    (tmp_path / "article.txt").write_text("")
    expected = found | {"article.txt"} if words.startswith("inspect") else found
    assert _completed(script, words, tmp_path) == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    printed = capsys.readouterr().out
    assert "quantize" in printed
    assert "fill-mask" in printed


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["completion", "csh"])
    assert caught.value.code == 2
    assert "invalid choice: 'csh'" in capsys.readouterr().err


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 11
    assert 'pip install "bert-onnx[completion]"' in capsys.readouterr().err
