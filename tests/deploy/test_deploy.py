"""deploy/: the unit and the Dockerfile are what systemd and hadolint take, and name what there is."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

from bert_onnx.cli.main import build_parser
from runtimes.server.app import ROUTES

UNIT = ROOT / "deploy" / "bert-onnx.service"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
#: How much of the machine a service is exposed to, of 10.
_EXPOSURE = 2.0


@pytest.fixture(scope="module")
def unit() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read(UNIT, encoding="utf-8")
    return parser


def test_the_unit_starts_reloads_and_ends_the_server(unit: configparser.RawConfigParser) -> None:
    service = unit["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert Path(program).name == "bert-onnx"
    chosen = build_parser().parse_args(arguments)
    assert chosen.host == "127.0.0.1"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["SuccessExitStatus"] == "130"
    assert float(service["TimeoutStopSec"]) > chosen.timeout  # nothing that was taken is killed


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    given = tmp_path / UNIT.name
    given.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/bert-onnx/bin/bert-onnx", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", given], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={_EXPOSURE * 10:.0f}", given]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def _instructions() -> list[tuple[str, str]]:
    lines = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text(encoding="utf-8")).splitlines()
    return [tuple(line.split(" ", 1)) for line in lines if line and not line.startswith("#")]  # type: ignore[misc]


def test_hadolint_takes_the_dockerfile() -> None:
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, "--failure-threshold", "style", DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_the_server_as_nobody() -> None:
    instructions = _instructions()
    final = instructions[max(index for index, (name, _) in enumerate(instructions) if name == "FROM") :]
    said = dict(final)
    assert int(said["USER"].split(":")[0]) > 0
    program, command, *arguments = re.findall(r'"([^"]*)"', said["ENTRYPOINT"] + said["CMD"])
    chosen = build_parser().parse_args([command, *arguments])
    assert (program, chosen.host, str(chosen.port)) == ("bert-onnx", "0.0.0.0", said["EXPOSE"])
    path = re.search(rf"http://127\.0\.0\.1:{chosen.port}(/[^']*)", said["HEALTHCHECK"])
    assert path is not None
    assert path[1] in {route.path for route in ROUTES if route.is_open}


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    copied = [
        word for name, rest in _instructions() if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]
    ]
    kept = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert len(copied) > 5
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in kept
