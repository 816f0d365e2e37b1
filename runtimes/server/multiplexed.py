"""A service on Ray Serve whose models are opened when a request asks for them.

Of many models a replica has those that it was asked for; Ray sends a request that names its model in a header to a
replica that has it open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from runtimes.scale.engine import import_engine
from runtimes.server.batching.scheduler import Scheduler
from runtimes.server.metrics import Metrics
from runtimes.server.model import ServedModel, open_model
from runtimes.server.model_card import ModelCard, read_card
from runtimes.server.reload import retire
from runtimes.server.service import Service
from runtimes.server.settings import ServerSettings
from runtimes.server.tracing import open_tracing

_ALL = -1


class MultiplexedService(Service):
    """Made in a replica, on its event loop.

    Args:
        most: models that are open at once; the one that was asked for longest ago makes room, when its requests are
            over. None for all.

    Raises:
        ArtifactError, UsageError: as `read_card`.
    """

    def __init__(self, settings: ServerSettings, most: int | None) -> None:
        scheduler = Scheduler()
        super().__init__(settings, Metrics(), scheduler, (), open_tracing(scheduler.clock))
        self._folders = {folder.name: folder for folder in settings.folders}
        self._cards = {name: read_card(folder) for name, folder in self._folders.items()}
        self._serve = import_engine("ray.serve")

        async def opened(name: str) -> Any:
            return await self._open(name)

        self._opened = self._serve.multiplexed(max_num_models_per_replica=most or _ALL)(opened)

    @property
    def cards(self) -> Mapping[str, ModelCard]:
        """Of all artifacts, open or not."""
        return self._cards

    def find(self, name: str | None, tasks: Sequence[str], what: str) -> str:
        """As `Service.find`; Ray's header `serve_multiplexed_model_id` counts where the body names none."""
        return super().find(name or self._serve.get_multiplexed_model_id() or None, tasks, what)

    async def model(self, name: str) -> ServedModel:
        """The model, opened where it is not. Raises as `open_model`."""
        model: ServedModel = (await self._opened(name)).model
        return model

    async def _open(self, name: str) -> SimpleNamespace:
        """What Ray keeps; it awaits `__del__` of what makes room."""
        arguments = (self._folders[name], self.settings, self.scheduler, self.metrics)
        model = await asyncio.get_running_loop().run_in_executor(None, open_model, *arguments)
        self.models[name] = model

        async def close() -> None:
            del self.models[name]
            await retire(self, model)

        return SimpleNamespace(model=model, __del__=close)
