"""lowest.txt holds what pyproject.toml allows at least, package by package, and nothing else."""

from __future__ import annotations

import re
import sys

import pytest
from repository import ROOT

#: The extras whose packages `make versions` installs.
EXTRAS = ("cpu", "text", "parquet", "server", "hub", "export")
#: Of these versions there is no other that the rest of the lowest versions works with.
TESTED_ALONE = {"torch"}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")
def test_the_lower_bounds_are_what_is_tested() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needs = [*project["dependencies"], *(need for name in EXTRAS for need in project["optional-dependencies"][name])]
    bounds = dict(match.groups() for need in needs if (match := re.match(r"([A-Za-z_-]+)>=([0-9.]+)", need)))
    lines = (ROOT / "tests" / "versions" / "lowest.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    assert pins.keys() == bounds.keys()
    for name in pins.keys() - TESTED_ALONE:
        assert _numbers(pins[name])[: len(_numbers(bounds[name]))] == _numbers(bounds[name]), name
        assert not any(_numbers(pins[name])[len(_numbers(bounds[name])) :]), name


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
