"""What parity tests of pipelines share: our pipelines and models of transformers on the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pipeline_models import open_artifact, open_eager, save_checkpoint, tiny_model

Opened = Callable[..., tuple[Any, Any]]


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A function of (task, class of transformers, changes of the config): (our pipeline, their model).

    The first config of a task goes through a published artifact; further ones run eagerly, which saves an export.
    """
    made: dict[str, dict[str, tuple[Any, Any]]] = {}

    def make(task: str, class_name: str, **changes: Any) -> tuple[Any, Any]:
        known, key = made.setdefault(task, {}), str(sorted(changes.items()))
        if key not in known:
            folder: Path = tmp_path_factory.mktemp("pipelines")
            model = tiny_model(class_name, **changes)
            checkpoint = save_checkpoint(model, folder / "checkpoint")
            pipeline = open_eager(task, checkpoint) if known else open_artifact(task, checkpoint, folder / "artifact")
            known[key] = pipeline, model
        return known[key]

    yield make
    for pipelines in made.values():
        for pipeline, _ in pipelines.values():
            pipeline.close()
