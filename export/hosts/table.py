"""THE table of hosts that a package can be made for."""

from __future__ import annotations

from bert_onnx.errors import UsageError
from export.hosts.host import Host
from export.hosts.langchain4j import LANGCHAIN4J
from export.hosts.spring_ai import SPRING_AI
from export.hosts.vespa import VESPA

HOSTS: dict[str, Host] = {host.name: host for host in (SPRING_AI, LANGCHAIN4J, VESPA)}


def find_host(name: str) -> Host:
    """The row called `name`.

    Raises:
        UsageError: there is none; the message lists those that there are.
    """
    if name not in HOSTS:
        raise UsageError(f"there is no host {name!r}; choose from {', '.join(HOSTS)}.")
    return HOSTS[name]
