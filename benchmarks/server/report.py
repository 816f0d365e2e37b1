"""docs/benchmarks-server.md from the figures of the parts that were measured."""

from __future__ import annotations

from benchmarks.measure import Spread, markdown_table
from benchmarks.server.measure import CLIENTS, OFFERED, OVERLOADS, QUEUE_TOKENS, Results, best_peer, median
from benchmarks.server.subjects import OURS

_HEAD = """# Benchmarks of the server

Written by `make bench-server`; do not edit. Everything is on loopback: the generator of load (a client over raw
sockets, 0.05 to 0.3 ms of processor time a request) shares the cores with the server. Servers take turns; those that
are not measured are stopped (SIGSTOP). The model is all-MiniLM-L6-v2; texts are docstrings of Python and numpy, one a
request: short ones of 20 to 400 characters, mixed ones of 20 to 4,000. Peers: a plain FastAPI in front of
sentence-transformers, and Infinity 0.0.78 with its torch and its optimum engine, with their defaults; one that does not
start is left out.
"""

_CLOSED = """## Clients that ask in turn

Each client asks again once it has its answer: {clients}.
Median [least, most] of {rounds} rounds. *Ratio* is to the best peer's median; *share of offline* to `embed` of the same
texts in the same round.

{tables}

{machine}
"""

_OFFERED = """## The same load for all

Requests of a Poisson process at {share:.0%} of what the best peer reached above, whichever server. Milliseconds from
when a request was due.

{tables}

{machine}
"""

_OPEN = """## Beyond capacity

{server}, short texts, `--max-queue-tokens {tokens}`: a Poisson process at half, all and twice of its capacity,
{capacity:.0f} texts a second. What does not fit into the queue is refused at once with 429.

{table}

{machine}
"""


def page(results: Results) -> str:
    """The document; parts that were not measured are left out."""
    sections = [_HEAD]
    if "closed" in results:
        sections.append(_closed(**results["closed"]))
    if "offered" in results:
        sections.append(_offered(**results["offered"]))
    if "open" in results:
        sections.append(_open(**results["open"]))
    return "\n".join(sections)


def _closed(figures: Results, machine: str) -> str:
    tables, rounds = [], 0
    for workload, measured in figures.items():
        servers, offline = measured["servers"], measured["offline"]
        _, best = best_peer(servers)
        rows = []
        for name, found in servers.items():
            rounds = len(found)
            rates = [one["rate"] for one in found]
            share = [rate / alone for rate, alone in zip(rates, offline[name], strict=True)] if name in offline else []
            rows.append(
                [
                    name,
                    Spread.of(rates).show(1),
                    f"{median(found) / best:.2f}",
                    _milliseconds(median(found, "p50")),
                    _milliseconds(median(found, "p99")),
                    Spread.of(share).show(2) if share else "",
                ]
            )
        header = ("server", "texts/s", "ratio", "p50 ms", "p99 ms", "share of offline")
        tables.append(
            f"### {workload.capitalize()} texts, {CLIENTS[workload]} clients\n\n{markdown_table(header, rows)}"
        )
    clients = ", ".join(f"{count} with {workload} texts" for workload, count in CLIENTS.items())
    return _CLOSED.format(clients=clients, rounds=rounds, tables="\n\n".join(tables), machine=machine)


def _offered(figures: Results, machine: str) -> str:
    tables = []
    for workload, measured in figures.items():
        rows = [
            [name, f"{one['rate']:.1f}", _milliseconds(one["p50"]), _milliseconds(one["p99"]), _failed(one)]
            for name, one in measured["servers"].items()
        ]
        table = markdown_table(("server", "texts/s", "p50 ms", "p99 ms", "other than 200"), rows)
        tables.append(f"### {workload.capitalize()} texts, {measured['offered']:.1f} a second\n\n{table}")
    return _OFFERED.format(share=OFFERED, tables="\n\n".join(tables), machine=machine)


def _open(figures: Results, machine: str) -> str:
    rows = []
    for times in OVERLOADS:
        one = figures["loads"][str(times)]
        total = sum(one["statuses"].values())
        shed = one["statuses"].get("429", 0) / total
        rows.append(
            [
                f"{times:g} x capacity",
                f"{one['offered']:.1f}",
                f"{one['rate']:.1f}",
                f"{shed:.0%}",
                _milliseconds(one["p50"]),
                _milliseconds(one["p99"]),
                _failed(one, ("200", "429")),
            ]
        )
    header = ("load", "offered/s", "answered/s", "429", "p50 ms", "p99 ms", "other")
    return _OPEN.format(
        server=figures["server"], tokens=QUEUE_TOKENS, capacity=figures["capacity"],
        table=markdown_table(header, rows), machine=machine,
    )  # fmt: skip


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"


def _failed(figures: Results, known: tuple[str, ...] = ("200",)) -> str:
    return ", ".join(f"{count} x {status}" for status, count in figures["statuses"].items() if status not in known)


def ours_beside(results: Results) -> list[str]:
    """A line for each of ours and each workload: times the best peer."""
    lines = []
    for workload, measured in results["closed"]["figures"].items():
        name, best = best_peer(measured["servers"])
        for own in OURS:
            if measured["servers"].get(own):
                lines.append(f"{workload}: {own} is {median(measured['servers'][own]) / best:.2f} times {name}")
    return lines
