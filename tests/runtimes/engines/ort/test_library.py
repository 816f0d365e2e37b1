"""How ONNX Runtime is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT


@pytest.mark.parametrize("given", [None, "0"])
def test_no_telemetry_unless_the_environment_asks_for_it(tmp_path: Path, given: str | None) -> None:
    """What it would send is kept in a database below the home; nothing can be sent where there is none."""
    program = """
import os
from runtimes.engines.ort.library import import_onnxruntime
import_onnxruntime()
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""
    environment = {key: value for key, value in os.environ.items() if key not in ("ORT_DISABLE_TELEMETRY", "CI")}
    environment |= {"HOME": str(tmp_path)} | ({} if given is None else {"ORT_DISABLE_TELEMETRY": given})
    environment.pop("XDG_CACHE_HOME", None)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == (given or "1")
    if given is None:
        assert not list(tmp_path.rglob("*"))
