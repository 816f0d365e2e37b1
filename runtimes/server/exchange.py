"""One request on its way through the server: its body, its ticket, and what is said about it in log and headers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from runtimes.server.batching.work import Ticket
from runtimes.server.model import ServedModel
from runtimes.server.refusals import (
    AbandonedError,
    BadRequestError,
    ExpiredError,
    MediaTypeError,
    SlowBodyError,
    TooLargeError,
)
from runtimes.server.service import Service
from runtimes.server.texts import refuse_cut

Value = TypeVar("Value")
Body = TypeVar("Body", bound=msgspec.Struct)

#: About so many characters make a token; what is counted for a request until its tokens are known.
_CHARACTERS_A_TOKEN = 4
_SPECIAL = 3
#: Bodies of up to so many times the limit are read to their end, though not kept.
_FORGOTTEN = 4
_DIGITS = 18


@dataclass
class Record:
    """What log, metrics and headers say of a request."""

    route: str = ""
    model: str = ""
    items: int = 0
    tokens: int = 0
    truncated: int = 0
    body_read: bool = False
    error: BaseException | None = None
    used: list[ServedModel] = field(default_factory=list)
    tickets: list[Ticket] = field(default_factory=list)

    def leave(self) -> None:
        """The request is over: the models that it chose are not held any more."""
        for model in self.used:
            model.users -= 1


class Exchange:
    """A request, the service, and the record of it."""

    def __init__(self, request: Request, service: Service, record: Record, began: float) -> None:
        self.request = request
        self.service = service
        self.record = record
        self._deadline = began + service.settings.limits.timeout

    async def body(self, kind: type[Value]) -> Value:
        """The body, as `kind`.

        Raises:
            MediaTypeError, TooLargeError, SlowBodyError, BadRequestError: it is not one.
            AbandonedError: the client has gone.
        """
        given = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given != "application/json":
            raise MediaTypeError("the body must be JSON; send the header content-type: application/json.")
        return read_json(await self.raw_body(), kind)

    async def options(self, kind: type[Body]) -> Body:
        """The body as `kind`; what stands in an object `parameters`, as huggingface_hub sends it, counts as well.

        Raises:
            RefusalError: as `body`.
        """
        given = await self.body(dict[str, Any])
        parameters = given.pop("parameters", None)
        given |= parameters if isinstance(parameters, dict) else {}
        try:
            return msgspec.convert(given, kind)
        except msgspec.ValidationError as error:
            raise BadRequestError(f"the body does not fit: {error}.") from None

    async def raw_body(self) -> bytes:
        """The body, whatever it is.

        Raises:
            MediaTypeError, TooLargeError, SlowBodyError: it is not taken.
            AbandonedError: the client has gone.
        """
        headers, limits = self.request.headers, self.service.settings.limits
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise MediaTypeError("compressed bodies are not taken; send plain JSON.")
        try:
            raw = await asyncio.wait_for(self._collect(limits.body_bytes), limits.body_seconds)
        except asyncio.TimeoutError:
            raise SlowBodyError(f"the body did not arrive within {limits.body_seconds:g} seconds.") from None
        except ClientDisconnect:
            raise AbandonedError("the client has gone.") from None
        if raw is None:
            raise TooLargeError(f"the body has more than {limits.body_bytes} bytes; send fewer inputs at once.")
        self.record.body_read = True
        return raw

    async def _collect(self, most: int) -> bytes | None:
        """The body; None where it is larger than `most` bytes. What is just too large is read and forgotten: a client
        that is cut off while it writes does not read why."""
        length = self.request.headers.get("content-length", "0")
        if len(length) > _DIGITS or int(length) > most * _FORGOTTEN:
            return None
        raw, size = bytearray(), 0
        async for part in self.request.stream():
            size += len(part)
            if size > most * _FORGOTTEN:
                return None
            if size <= most:
                raw += part
        return bytes(raw) if size <= most else None

    async def choose(self, name: str | None, tasks: Sequence[str], what: str) -> ServedModel:
        """As `Service.find` and `Service.model`; the record says which, and it stays open until the request is over."""
        model = await self.service.model(self.service.find(name, tasks, what))
        self.record.model = model.name
        self.record.used.append(model)
        model.users += 1
        return model

    def check_inputs(self, texts: Sequence[str | list[int]], query: int = 0) -> None:
        """Raises BadRequestError for none, TooLargeError for too many inputs or characters; those of a `query` count
        once for each text."""
        self.check_size(len(texts), sum(len(text) + query for text in texts if isinstance(text, str)))

    def check_size(self, items: int, characters: int) -> None:
        """As `check_inputs`, for that many inputs with that many characters together."""
        limits = self.service.settings.limits
        self.record.items = items
        if not items:
            raise BadRequestError("there is no input; send at least one.")
        if items > limits.items:
            raise TooLargeError(f"there are {items} inputs, and a request may have {limits.items}; send fewer.")
        if characters > limits.characters:
            raise TooLargeError(f"the texts have {characters} characters, and a request may have {limits.characters}.")

    def note_cuts(self, model: ServedModel, truncated: Sequence[bool], truncate: bool = True) -> None:
        """Record how many inputs were cut. Raises InputError: one was, and the caller wants all or nothing."""
        if not truncate:
            refuse_cut(truncated, model.max_length)
        self.record.truncated += sum(truncated)

    def ticket(self, model: ServedModel, texts: Sequence[str | list[int]], whole: bool = False) -> Ticket:
        """A ticket, admitted for about as many tokens as `texts` have.

        Args:
            whole: long texts are read whole; else they are cut.

        Raises:
            TooLargeError, QueueFullError: as the ledger.
        """
        client = self.request.client
        ticket = Ticket(self.request.scope.get("bert_onnx.key") or (client.host if client else ""), self._deadline)
        tokens = 0
        for text in texts:
            about = len(text) // (_CHARACTERS_A_TOKEN if isinstance(text, str) else 1) + _SPECIAL
            tokens += about if whole else min(about, model.max_length)
        self.service.scheduler.admit(model.lane, ticket, tokens)
        self.record.tickets.append(ticket)
        return ticket

    async def run(
        self, model: ServedModel, texts: Sequence[str], function: Callable[[], Value], whole: bool = False
    ) -> Value:
        """What `function` returns, which calls the pipeline of `model` for `texts`, on a thread.

        Args:
            whole: long texts are read whole; else they are cut.

        Raises:
            BadRequestError, TooLargeError, QueueFullError: as `check_inputs` and `ticket`.
            Exception: as `attend`.
        """
        self.check_inputs(texts)
        ticket = self.ticket(model, texts, whole)
        return await self.attend(model, ticket, self.service.call(ticket, function))

    async def attend(self, model: ServedModel, ticket: Ticket, coming: Awaitable[Value]) -> Value:
        """What `coming` gives; the ticket is cancelled when its deadline passes or its client leaves.

        Raises:
            ExpiredError, AbandonedError: one of the two.
            Exception: what `coming` raises.
        """
        scheduler = self.service.scheduler
        work: asyncio.Future[Value] = asyncio.ensure_future(coming)
        gone = asyncio.ensure_future(self._disconnect())
        try:
            left = ticket.deadline - scheduler.clock()
            both: set[asyncio.Future[Any]] = {work, gone}
            await asyncio.wait(both, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if gone.done():
                raise AbandonedError("the client has gone.")
            seconds = self.service.settings.limits.timeout
            raise ExpiredError(f"no answer within {seconds:g} seconds; come again later, or send fewer texts.", 1)
        except (AbandonedError, ExpiredError) as reason:
            scheduler.cancel(model.lane, ticket, reason)
            raise
        finally:
            self.record.tokens += ticket.tokens
            gone.cancel()
            if not work.done():
                work.add_done_callback(_forget)
            scheduler.release(model.lane, ticket)

    async def _disconnect(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass


def read_json(raw: bytes | memoryview, kind: type[Value]) -> Value:
    """`raw` as `kind`. Raises BadRequestError: it is not one."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except RecursionError:
        raise BadRequestError("the JSON is nested too deeply.") from None
    except UnicodeDecodeError:
        raise BadRequestError("the body is not UTF-8.") from None
    except msgspec.DecodeError as error:
        raise BadRequestError(f"the body does not fit: {error}.") from None


def _forget(future: asyncio.Future[Any]) -> None:
    """Take note of an outcome that nobody waits for, so that asyncio does not complain."""
    if not future.cancelled():
        future.exception()
