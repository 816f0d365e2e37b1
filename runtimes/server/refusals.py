"""What a server refuses, and THE table of errors to HTTP statuses."""

from __future__ import annotations

from dataclasses import dataclass

from bert_onnx.errors import BertOnnxError, InputError, UsageError


class RefusalError(BertOnnxError):
    """Base of what only a server says. `retry_after` is in seconds, where coming again helps."""

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BadRequestError(RefusalError):
    """A body that is not what the route takes."""


class UnauthorizedError(RefusalError):
    """A key that is missing or wrong."""


class NotFoundError(RefusalError):
    """A route or a model that there is not."""


class MethodError(RefusalError):
    """A method that the route does not have."""


class SlowBodyError(RefusalError):
    """A body that did not arrive in time."""


class TooLargeError(RefusalError):
    """A body, or a number of inputs, characters or tokens, beyond a limit."""


class MediaTypeError(RefusalError):
    """A body that is not plain JSON."""


class QueueFullError(RefusalError):
    """More tokens wait than the queue takes."""


class DrainingError(RefusalError):
    """The server is about to stop, or not ready."""


class ExpiredError(RefusalError):
    """The deadline of a request passed."""


class AbandonedError(RefusalError):
    """The client has gone; nobody reads this."""


@dataclass(frozen=True)
class Status:
    """An HTTP status, the word for it in bodies of OpenAI's shape, and that of text-embeddings-inference."""

    code: int
    openai: str
    tei: str


#: In the order in which they are looked for; anything else is `FAULT`.
STATUSES: dict[type[BertOnnxError], Status] = {
    BadRequestError: Status(422, "invalid_request_error", "Validation"),
    InputError: Status(422, "invalid_request_error", "Validation"),
    UsageError: Status(422, "invalid_request_error", "Validation"),
    UnauthorizedError: Status(401, "authentication_error", "Unauthorized"),
    NotFoundError: Status(404, "not_found_error", "NotFound"),
    MethodError: Status(405, "invalid_request_error", "Validation"),
    SlowBodyError: Status(408, "timeout_error", "Timeout"),
    TooLargeError: Status(413, "invalid_request_error", "Validation"),
    MediaTypeError: Status(415, "invalid_request_error", "Validation"),
    QueueFullError: Status(429, "rate_limit_error", "Overloaded"),
    DrainingError: Status(503, "service_unavailable_error", "Unhealthy"),
    ExpiredError: Status(504, "timeout_error", "Timeout"),
    AbandonedError: Status(499, "client_closed_request", "Abandoned"),
}
FAULT = Status(500, "server_error", "Backend")


def status_of(error: BaseException) -> Status:
    """The row of `STATUSES` for `error`, `FAULT` for what is in none."""
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), FAULT)


def public_message(error: BaseException) -> str:
    """What a client is told: of a fault no more than that, since messages of runtimes may name files."""
    if status_of(error) is FAULT:
        return "the model failed on this input; the server's log has the reason under this request id."
    return str(error)
