"""The servers that most tests talk to: one of the toy, one with a model for every task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Served, serving
from toy_artifacts import publish_toy


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy."""
    return publish_toy(tmp_path_factory.mktemp("toy") / "toy")


@pytest.fixture(scope="module")
def served(artifact: Path) -> Iterator[Served]:
    """A server of the toy."""
    with serving(artifact) as server:
        yield server


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint for each task that has a class in transformers."""
    from served_models import save_models  # torch, which `make scale` has not

    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def late(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of late interaction."""
    from served_models import export_late

    return export_late(tmp_path_factory.mktemp("late"))


@pytest.fixture(scope="session")
def offline(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Pipelines by task, which no server has."""
    from served_models import open_models

    return open_models(tmp_path_factory.mktemp("offline"), checkpoints)


@pytest.fixture(scope="session")
def all_tasks(
    artifact: Path, late: Path, checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A server with a model for every task; each is called like its task, but for the artifacts `toy` and `late`."""
    from served_models import open_models

    with serving(artifact, late, pipelines=open_models(tmp_path_factory.mktemp("served"), checkpoints)) as server:
        yield server
