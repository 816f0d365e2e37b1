"""The HTTP library under huggingface_hub: requests before its version 1, httpx since."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Seconds to wait for a connection, and then for each response. Without a network the error comes at once.
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 20.0


@dataclass(frozen=True)
class Http:
    """What differs between the two.

    Args:
        timeout: the seconds above, as a call takes them.
        slow: no response in time.
        unreachable: no connection, or one that broke before there was a response.
        cut: a response that ended before it was whole.
        others: all other errors of a request.
    """

    timeout: Any
    slow: tuple[type[Exception], ...]
    unreachable: tuple[type[Exception], ...]
    cut: tuple[type[Exception], ...]
    others: type[Exception]


def http() -> Http:
    """The library that the installed huggingface_hub calls."""
    import huggingface_hub

    if int(huggingface_hub.__version__.partition(".")[0]) == 0:
        import requests

        return Http(
            timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
            slow=(requests.ReadTimeout,),
            unreachable=(requests.ConnectionError,),
            cut=(requests.exceptions.ChunkedEncodingError,),
            others=requests.RequestException,
        )
    import httpx

    return Http(
        timeout=httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
        slow=(httpx.ReadTimeout,),
        unreachable=(httpx.NetworkError, httpx.ConnectTimeout, httpx.ProxyError),
        cut=(httpx.RemoteProtocolError,),
        others=httpx.HTTPError,
    )
