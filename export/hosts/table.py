"""THE table of hosts that a package can be made for."""

from __future__ import annotations

from bert_onnx.errors import UsageError
from export.hosts.host import Host
from export.hosts.langchain4j import LANGCHAIN4J
from export.hosts.opensearch import OPENSEARCH
from export.hosts.openvino import OPENVINO
from export.hosts.oracle import ORACLE
from export.hosts.spring_ai import SPRING_AI
from export.hosts.sql_server import SQL_SERVER
from export.hosts.teradata import TERADATA
from export.hosts.triton import TRITON
from export.hosts.triton_text import TRITON_TEXT
from export.hosts.typesense import TYPESENSE
from export.hosts.vespa import VESPA

HOSTS: dict[str, Host] = {
    host.name: host
    for host in (
        SPRING_AI,
        LANGCHAIN4J,
        VESPA,
        OPENSEARCH,
        TYPESENSE,
        TRITON,
        TRITON_TEXT,
        OPENVINO,
        TERADATA,
        SQL_SERVER,
        ORACLE,
    )
}

#: Hosts that can take nothing of ours: why, and the way on.
REFUSED = {
    "elasticsearch": (
        "Elasticsearch runs TorchScript models only: upload the checkpoint with eland_import_hub_model, or let its "
        "inference endpoint of service openai call bert-onnx serve, by its url."
    ),
}


def find_host(name: str) -> Host:
    """The row called `name`.

    Raises:
        UsageError: there is none, or it can take nothing of ours; the message says which there are, or the way on.
    """
    if name in REFUSED:
        raise UsageError(REFUSED[name])
    if name not in HOSTS:
        raise UsageError(f"there is no host {name!r}; choose from {', '.join(HOSTS)}.")
    return HOSTS[name]
