"""Python on ARM64, under emulation, against vectors.json: fp32, without padding, int8."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from client_tools import assert_close, lack, read

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.emulated, pytest.mark.timeout(1200)]

HERE = Path(__file__).parent
#: What is run under emulation, where a token takes 0.1 to 0.2 s in fp32: fp32, the fused and the unpadded graph, the
#: int8 file for ARM and the one that is right everywhere; the text of 256 tokens by `make arm64` alone.
ON_ARM = ("model", "model_ort_cpu", "model_ort_cpu_unpadded", "model_ort_cpu_unpadded_qint8_arm64", "model_quantized")
LONGEST_ON_ARM = 128


def test_arm64_under_emulation(artifact: Path, measured: Callable[..., None]) -> None:
    for tool, package in (("qemu-aarch64-static", "qemu-user-static"), ("mmdebstrap", "mmdebstrap")):
        if shutil.which(tool) is None:
            lack(f"{tool} is not installed (Debian: {package})")
    variants = [entry["name"] for entry in read(artifact, "manifest.json")["variants"] if entry["name"] in ON_ARM]
    command = [str(HERE / "arm64.sh"), str(artifact), *variants, "--longest", str(LONGEST_ON_ARM)]
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1100, check=False)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    measured("Python, ARM64", results)
    assert [result["variant"] for result in results] == variants, done.stderr
    assert {result["machine"] for result in results} == {"aarch64"}
    assert_close(results, 7)
    assert done.returncode == 0
