"""What stands behind all routes: the models, the scheduler and its thread, and the threads that tokenize."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from bert_onnx.version import __version__
from runtimes.pipelines.encoding import Window
from runtimes.server.batching.scheduler import Scheduler
from runtimes.server.batching.work import Group, Ticket, Work
from runtimes.server.metrics import Metrics
from runtimes.server.model import ServedModel
from runtimes.server.model_card import ModelCard
from runtimes.server.outcomes import Outcomes
from runtimes.server.queued_runtime import on_behalf_of
from runtimes.server.refusals import NotFoundError, QueueFullError
from runtimes.server.settings import ServerSettings
from runtimes.server.tracing import Tracing

Value = TypeVar("Value")

#: Threads that make rows of texts; the tokenizers library works without the interpreter lock.
_TOKENIZING = 2
#: Threads for pipelines, which wait for their rows.
_PIPELINES = 32
#: Calls of pipelines that may wait for such a thread.
_WAITING = 256


class Service:
    """The models of a server.

    Args:
        settings: of the operator.
        metrics: where everything is counted.
        scheduler: whose lanes `models` have.
        models: those that are open, with names that differ.
        tracing: makes spans of requests; None makes none.
    """

    def __init__(
        self,
        settings: ServerSettings,
        metrics: Metrics,
        scheduler: Scheduler,
        models: Sequence[ServedModel],
        tracing: Tracing | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.scheduler = scheduler
        self.tracing = tracing
        #: Those that are open, by name.
        self.models = {model.name: model for model in models}
        metrics.open_models.set_function(lambda: len(self.models))
        #: No new work is taken; what was taken is finished.
        self.draining = False
        #: Requests that are being answered.
        self.busy = 0
        self.version = __version__
        #: Seconds since 1970, whole.
        self.started = int(time.time())
        self._calls = 0
        self._outcomes = Outcomes()
        self._probing = asyncio.Lock()
        self._tokenizing = ThreadPoolExecutor(_TOKENIZING, "tokenizing")
        self._pipelines = ThreadPoolExecutor(_PIPELINES, "pipeline")
        self._computing = threading.Thread(target=scheduler.work, name="computing", daemon=True)
        self._computing.start()

    @property
    def cards(self) -> Mapping[str, ModelCard]:
        """What is told of every model that is served, by name."""
        return {name: model.card for name, model in self.models.items()}

    async def model(self, name: str) -> ServedModel:
        """One of `cards`, open."""
        return self.models[name]

    def find(self, name: str | None, tasks: Sequence[str], what: str) -> str:
        """`name`, or the first model for one of `tasks`.

        Args:
            what: what the route does, for the message.

        Raises:
            NotFoundError: there is none.
        """
        cards = self.cards
        if name is not None and name not in cards:
            raise NotFoundError(f"there is no model {name[:100]!r} here; GET /v1/models lists those that there are.")
        fit = [own for own, card in cards.items() if card.task in tasks and name in (None, own)]
        if not fit:
            which = "no model here" if name is None else f"the model {name!r} does not"
            raise NotFoundError(f"{which} {what}; that takes one for {' or '.join(tasks)}.")
        return fit[0]

    async def rows(self, model: ServedModel, ticket: Ticket, prepare: Callable[[], tuple[Group, list[Window]]]) -> Work:
        """The rows that `prepare` makes, on a thread, and their results. No thread waits for them.

        Raises:
            Exception: what a row failed with, or why the ticket ended.
        """
        future: asyncio.Future[Work] = asyncio.get_running_loop().create_future()

        def settle(error: Exception | None, work: Work | None = None) -> None:
            self._outcomes.put(future, error, work)

        def begin() -> None:
            try:
                if ticket.ended is not None:
                    raise ticket.ended
                group, windows = prepare()
                work = Work(ticket, group, windows, lambda work: settle(work.error, work))
                self.scheduler.submit(model.lane, work)
            except Exception as error:
                settle(error)

        self._tokenizing.submit(begin)
        return await future

    async def call(self, ticket: Ticket, function: Callable[[], Value]) -> Value:
        """What `function` returns, which calls pipelines on behalf of `ticket`, on a thread of its own.

        Raises:
            QueueFullError: too many wait for such a thread.
            Exception: what it raises, or why the ticket ended.
        """

        def run() -> Value:
            if ticket.ended is not None:
                raise ticket.ended
            with on_behalf_of(ticket):
                return function()

        if self._calls >= _PIPELINES + _WAITING:
            raise QueueFullError("too many requests wait already; come again later.", 1)
        self._calls += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pipelines, run)
        finally:
            self._calls -= 1

    async def probe(self, model: ServedModel) -> None:
        """Check a model that failed, one probe at a time. Raises InferenceError: it is ill."""
        async with self._probing:
            if model.is_suspect:
                model.users += 1
                try:
                    await asyncio.get_running_loop().run_in_executor(None, model.check)
                finally:
                    model.users -= 1

    async def aside(self, function: Callable[[], Value]) -> Value:
        """What `function` returns, on a thread that tokenizes."""
        return await asyncio.get_running_loop().run_in_executor(self._tokenizing, function)

    def close(self) -> None:
        """Finish what waits, then give everything back."""
        self._tokenizing.shutdown()
        self._pipelines.shutdown()
        self.scheduler.stop()
        self._computing.join()
        for model in self.models.values():
            model.close()
        if self.tracing is not None:
            self.tracing.close()
