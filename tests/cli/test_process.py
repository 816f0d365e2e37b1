"""Streams that are closed or full, a folder that is gone: the command works, or says so in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bert_onnx.cli.process import unwritable_output
from bert_onnx.errors import EXIT_STATUS, StorageError, UsageError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")


def _run(redirection: str, folder: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    command = f'{before} "{sys.executable}" -m bert_onnx completion bash {redirection}'
    return subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str, tmp_path: Path) -> None:
    done = _run(closed, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("complete" in done.stdout) == (">&-" not in closed.split())


@pytest.mark.parametrize("closed", ["", "<&- >&- 2>&-"])
def test_files_do_not_get_the_numbers_of_closed_streams(closed: str, tmp_path: Path) -> None:
    code = (
        "import os; from bert_onnx.cli.process import open_closed_streams;"
        "open_closed_streams(); open('number', 'w').write(str(open(os.devnull).fileno()))"
    )
    subprocess.run(["sh", "-c", f'"{sys.executable}" -c "{code}" {closed}'], cwd=tmp_path, check=True)
    assert int((tmp_path / "number").read_text()) > 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_output(tmp_path: Path) -> None:
    done = _run("> /dev/full", tmp_path)
    assert done.returncode == EXIT_STATUS[StorageError]
    assert "cannot be written: No space left on device." in done.stderr


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    done = _run("", folder, before=f'rmdir "{folder}";')
    assert done.returncode == EXIT_STATUS[UsageError]
    assert done.stderr == "bert-onnx: error: the current folder was removed; go to another one with cd.\n"


def test_errors_of_files_are_no_errors_of_the_output() -> None:
    assert unwritable_output(OSError(28, "full", "file")) is None
    assert unwritable_output(FileNotFoundError(2, "gone")) is None
