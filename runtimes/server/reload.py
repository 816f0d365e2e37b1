"""Newly published artifacts take the place of those that are served, and no request is lost.

The new model is opened and probed beside the old one. Then requests get the new one; those that have the old one are
finished by it, and it is closed.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from runtimes.server.logs import log
from runtimes.server.model import ServedModel, manifest_bytes, open_model
from runtimes.server.service import Service

#: How often is looked whether the old model is still needed, in seconds.
_TICK = 0.05


async def reload_models(service: Service) -> None:
    """Open again what was published since it was opened. An artifact that cannot be opened leaves the old model in its
    place, and the log says why."""
    left = []
    for folder in service.settings.folders:
        old = service.models[folder.name]
        if manifest_bytes(folder) == old.published:
            log(logging.INFO, "the artifact is the one that is served", model=old.name)
            continue
        new = await _open(service, folder)
        if new is not None:
            service.models[folder.name] = new
            left.append(old)
    await asyncio.gather(*(_retire(service, old) for old in left))


async def _open(service: Service, folder: Path) -> ServedModel | None:
    """The new model; None where it cannot be had."""
    result, model = "failed", None
    try:
        model = await asyncio.get_running_loop().run_in_executor(
            None, open_model, folder, service.settings, service.scheduler, service.metrics
        )
        result = "opened"
        about = model.description
        log(logging.INFO, "reloaded", model=model.name, variant=about.variant, precision=about.precision)
    except Exception as error:
        log(logging.ERROR, "the new artifact cannot be opened; the old one is kept", error, model=folder.name)
    service.metrics.reloads.labels(folder.name, result).inc()
    return model


async def _retire(service: Service, old: ServedModel) -> None:
    while old.users or not service.scheduler.remove(old.lane):
        await asyncio.sleep(_TICK)
    old.close()
