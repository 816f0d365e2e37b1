"""The generator of load and the page of the server's benchmark, without a model."""

from __future__ import annotations

import asyncio
from collections import Counter

from benchmarks.server.client import Connection, post
from benchmarks.server.load import Load, closed_loop, open_loop
from benchmarks.server.report import page


async def _serve(status: bytes = b"200 OK", body: bytes = b"{}", split: bool = False) -> asyncio.Server:
    """Answers every request; where `split`, in two pieces."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
                return
            await reader.readexactly(int(head.rsplit(b"content-length: ", 1)[1].split(b"\r\n")[0]))
            data = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
            for piece in (data[:20], data[20:]) if split else (data,):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.001 if split else 0)

    return await asyncio.start_server(answer, "127.0.0.1", 0)


def _port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


def test_an_answer_is_read_to_its_end_and_the_connection_stays() -> None:
    async def run() -> None:
        async with await _serve(body=b'{"a": 1}', split=True) as server:
            connection = await Connection.open(_port(server))
            for _ in range(2):
                answer = await asyncio.wait_for(connection.ask(post("/", {})), 5)
                assert (answer.status, answer.json()) == (200, {"a": 1})
            connection.close()

    asyncio.run(run())


def test_a_connection_that_ends_has_no_answer() -> None:
    async def run() -> None:
        async with await _serve() as server:
            connection = await Connection.open(_port(server))
            waiting = connection.ask(b"POST / HTTP/1.1\r\n")
            connection.close()
            assert (await asyncio.wait_for(waiting, 5)).status == 0
            assert not connection.is_open

    asyncio.run(run())


def test_loads_count_every_request() -> None:
    async def run() -> tuple[Load, Load]:
        async with await _serve() as server:
            closed = await closed_loop(_port(server), [post("/", {})], 3, 0.1)
        async with await _serve(b"429 Too Many Requests") as server:
            return closed, await open_loop(_port(server), [post("/", {})], 200.0, 0.2)

    closed, opened = asyncio.run(run())
    assert set(closed.statuses) == {200}
    assert len(closed.latencies) == closed.statuses[200]
    assert closed.rate > 0
    assert set(opened.statuses) == {429}
    assert 10 <= opened.statuses[429] <= 90
    assert opened.rate == 0
    assert opened.percentile(0.99) == float("inf")


def test_percentiles() -> None:
    load = Load(2.0, Counter({200: 4}), [0.4, 0.1, 0.3, 0.2])
    assert (load.percentile(0.5), load.percentile(0.99), load.rate) == (0.3, 0.4, 2.0)


def _figures(rate: float) -> dict[str, object]:
    return {"rate": rate, "p50": 0.1, "p99": 0.2, "statuses": {"200": 90, "429": 10}}


def test_the_page_compares_with_the_best_peer() -> None:
    servers = {"bert-onnx, fp32": [_figures(60.0)], "slow": [_figures(10.0)], "quick": [_figures(20.0)]}
    closed = {"short": {"servers": servers, "offline": {"bert-onnx, fp32": [80.0]}}}
    loads = {str(times): _figures(50.0) | {"offered": 100.0} for times in (0.5, 1.0, 2.0)}
    opened = {"server": "bert-onnx, fp32", "capacity": 50.0, "loads": loads}
    text = page({part: {"figures": figures, "machine": "this one"} for part, figures in
                 (("closed", closed), ("open", opened))})  # fmt: skip
    assert "| bert-onnx, fp32 | 60.0 [60.0, 60.0] | 3.00 | 100 | 200 | 0.75 [0.75, 0.75] |" in text
    assert "| 2 x capacity | 100.0 | 50.0 | 10% | 100 | 200 |  |" in text
    assert "The same load for all" not in text
