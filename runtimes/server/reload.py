"""Newly published artifacts take the place of those that are served, and no request is lost.

The new model is opened and probed beside the old one. Then requests get the new one; those that have the old one are
finished by it, and it is closed.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
from contextlib import suppress
from pathlib import Path

from runtimes.server.logs import log
from runtimes.server.model import ServedModel, open_model
from runtimes.server.service import Service

#: How often is looked whether the old model is still needed, in seconds.
_TICK = 0.05


async def reload_models(service: Service) -> None:
    """Open again what was published since it was opened. An artifact that cannot be opened leaves the old model in its
    place, and the log says why."""
    for folder in service.settings.folders:
        await _replace(service, folder)
    _give_memory_back()


async def _replace(service: Service, folder: Path) -> None:
    old = service.models[folder.name]
    if old.artifact is not None and old.artifact.is_current():
        log(logging.INFO, "the artifact is the one that is served", model=old.name)
        return
    new = await _open(service, folder)
    if new is not None:
        service.models[folder.name] = new
        await retire(service, old)


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


async def retire(service: Service, old: ServedModel) -> None:
    """Close `old`, to which no new request comes, when those that it has are over."""
    while old.users or not service.scheduler.remove(old.lane):
        await asyncio.sleep(_TICK)
    old.close()


def _give_memory_back() -> None:
    """Free what was closed: a model and its lane refer to each other, and the C library keeps freed memory."""
    gc.collect()
    with suppress(OSError, AttributeError):  # not the GNU C library
        ctypes.CDLL(None).malloc_trim(0)
