"""What an operator chooses, checked before anything is loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from bert_onnx.errors import InputError, UsageError
from runtimes.pipelines.options import check_count
from runtimes.selection.request import RuntimeRequest

#: Names and addresses that only this machine reaches.
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Limits:
    """What one request, and all together, may cost.

    Args:
        batch_tokens: most tokens that run together; a longer text runs alone.
        queue_tokens: most tokens that wait for one model.
        items: most inputs of a request.
        timeout: seconds after which a request is given up.
        body_bytes, characters: of a request.
        header_bytes: of all header fields together.
        header_seconds, body_seconds: within which headers and body must have arrived.
        connections: open at once.
    """

    batch_tokens: int = 2048
    queue_tokens: int = 131_072
    items: int = 1024
    timeout: float = 30.0
    body_bytes: int = 4 << 20
    characters: int = 1_000_000
    header_bytes: int = 32 << 10
    header_seconds: float = 10.0
    body_seconds: float = 20.0
    connections: int = 1024

    def __post_init__(self) -> None:
        for name in ("batch_tokens", "queue_tokens", "items"):
            check_count(name, getattr(self, name))
        if not 0 < self.timeout <= 3600:
            raise UsageError(f"the timeout is {self.timeout}; it must be above 0 and at most 3600 seconds.")


@dataclass(frozen=True)
class ServerSettings:
    """One server.

    Args:
        folders: artifacts; each is served under the name of its folder.
        host, port: where it listens; port 0 takes a free one.
        keys: callers need one of them; none leaves the server open.
        metrics_port: serve /metrics there, without keys, instead of beside the other routes.
        runtime: variant, runtime and precision of every model.
        limits: what requests may cost.
    """

    folders: tuple[Path, ...]
    host: str = "127.0.0.1"
    port: int = 8080
    keys: tuple[str, ...] = ()
    metrics_port: int | None = None
    runtime: RuntimeRequest = field(default_factory=RuntimeRequest)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name in ("port", "metrics_port"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 65535:
                raise UsageError(f"{name} is {value}; it must be from 0 to 65535.")
        names = [folder.name for folder in self.folders]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"two artifacts are called {name!r}; rename the folder of one of them.")


def read_keys(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The keys in a file, one a line; empty lines and those that begin with # are left out.

    Raises:
        InputError: the file cannot be read, or it has no key.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"the keys in {path} cannot be read: {reason}.") from None
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not keys:
        raise InputError(f"{path} has no key; write one a line.")
    return keys
