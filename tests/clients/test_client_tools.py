"""tools.sh on machines that lack things: what it would install, and what it says when it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("tools.sh")
#: What is missing on a machine with nothing; the header of nlohmann-json may be there.
PACKAGES = "nodejs npm chromium cmake g++"


def _program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def _tools(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tools.sh where there are only the programs in `folder`, and what the shell itself needs."""
    for name in ("dirname", "env"):
        if not (folder / name).exists():
            (folder / name).symlink_to(shutil.which(name) or name)
    command = [shutil.which("bash") or "bash", str(SCRIPT), *arguments]
    environment = os.environ | {"PATH": str(folder)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("arguments", "more"), [(("--fast",), ""), ((), "qemu-user-static mmdebstrap")])
def test_without_apt_the_packages_are_named(tmp_path: Path, arguments: tuple[str, ...], more: str) -> None:
    done = _tools(tmp_path, *arguments)
    assert done.returncode == 2
    first, packages, last = done.stderr.splitlines()
    assert first == "clients: this system has no apt-get; install what these packages of Debian have:"
    assert packages.replace(" nlohmann-json3-dev", "").split() == ["clients:", *PACKAGES.split(), *more.split()]
    assert last == "clients: then call make again."


def test_who_may_not_install_is_told_the_command(tmp_path: Path) -> None:
    _program(tmp_path, "apt-get", "exit 0")
    _program(tmp_path, "id", "echo 1000")
    done = _tools(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"clients: as root, run: apt-get install {PACKAGES}")


def test_a_mirror_that_does_not_answer_is_told(tmp_path: Path) -> None:
    _program(tmp_path, "id", "echo 0")
    _program(tmp_path, "apt-get", "echo 'E: Unable to fetch some archives' >&2; exit 100")
    done = _tools(tmp_path, "--fast")
    assert done.returncode == 2
    assert "clients: the lists of packages are old, since the mirror did not answer\n" in done.stderr
    assert "E: Unable to fetch some archives\nclients: apt-get could not install nodejs npm" in done.stderr
    assert "every other target of make works without these" in done.stderr


def test_an_old_node_is_refused(tmp_path: Path) -> None:
    for name in ("npm", "chromium", "cmake", "g++"):
        _program(tmp_path, name, "exit 1")
    _program(tmp_path, "node", "echo v16.20.2")
    _program(tmp_path, "apt-get", "exit 0")  # where the header of nlohmann-json is missing
    _program(tmp_path, "id", "echo 0")
    done = _tools(tmp_path, "--fast")
    assert done.returncode == 2
    assert done.stderr == "clients: node is v16.20.2; the examples need 18 or newer.\n"


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    """No package is asked for, and npm is not called where its packages are newer than their list."""
    root = tmp_path / "copy"
    (root / "tests" / "clients").mkdir(parents=True)
    (root / "examples" / "node_modules").mkdir(parents=True)
    shutil.copyfile(SCRIPT, root / "tests" / "clients" / "tools.sh")
    for name, at in (("package-lock.json", 1), ("node_modules/.package-lock.json", 2)):
        (root / "examples" / name).write_text("{}", encoding="utf-8")
        os.utime(root / "examples" / name, (at, at))
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("npm", "chromium", "cmake", "g++"):
        _program(programs, name, "echo called >&2; exit 1")
    _program(programs, "node", "echo v20.1.0")
    _program(programs, "apt-get", "exit 0")
    _program(programs, "id", "echo 0")
    for name in ("dirname", "env"):
        (programs / name).symlink_to(shutil.which(name) or name)
    command = [shutil.which("bash") or "bash", str(root / "tests" / "clients" / "tools.sh"), "--fast"]
    environment = os.environ | {"PATH": str(programs)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (root / "examples" / "package-lock.json").write_text('{"name": "changed"}', encoding="utf-8")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "clients: npm could not install the examples' packages" in done.stderr
