"""A Ray cluster, joined or started."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from bert_onnx.errors import UsageError
from runtimes.scale.engine import import_engine

_SECONDS = 10.0


def join_ray(address: str | None) -> Any:
    """Ray, connected.

    Args:
        address: `auto`, HOST:PORT or ray://HOST:PORT; None takes what the environment names, or starts one here.

    Raises:
        RuntimeUnavailableError: Ray is not installed.
        UsageError: no cluster is there.
    """
    ray = import_engine("ray")
    try:
        _knock(address)
        ray.init(
            address=address, ignore_reinit_error=True, log_to_driver=False, logging_level="ERROR",
            include_dashboard=False,  # whose processes hold a gigabyte; a cluster that is there keeps its own
        )  # fmt: skip
    except (ConnectionError, OSError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UsageError(f"no Ray cluster at {address}: {reason}; leave --address out to start one.") from None
    return ray


def _knock(address: str | None) -> None:
    """Raises OSError where nothing listens: Ray itself would try for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        with contextlib.closing(socket.create_connection((host.strip("[]"), int(port)), _SECONDS)):
            pass
