"""A stand-in hub, and a toy artifact as the files of a repository."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import HubServer, Repository
from toy_artifacts import publish_toy

TOY = "somebody/toy"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_toy(tmp_path_factory.mktemp("toy") / "artifact")


@pytest.fixture(scope="module")
def files(artifact: Path) -> dict[str, bytes]:
    return {p.relative_to(artifact).as_posix(): p.read_bytes() for p in artifact.rglob("*") if p.is_file()}


@pytest.fixture
def hub(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer({TOY: Repository.of({**files, ".gitattributes": b"*.onnx filter=lfs"})}) as running:
        running.use(monkeypatch, tmp_path / "home")
        yield running
