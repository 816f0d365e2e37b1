"""What strangers send: each row has its status, and afterwards the server answers as before. All of it is bounded."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from served import LIMITS, Served, request, serving, status
from toy_artifacts import publish_toy

V1 = "/v1/embeddings"
DEEP = b"[" * 10_000 + b"]" * 10_000


@pytest.fixture(autouse=True)
def _still_well(served: Served) -> Iterator[None]:
    yield
    code, answer, _ = served.post(V1, {"input": "hello world"})
    assert code == 200
    assert np.isfinite(answer["data"][0]["embedding"]).all()
    deadline = time.monotonic() + 10
    while served.service.busy and time.monotonic() < deadline:
        time.sleep(0.01)
    assert served.service.busy == 0
    (model,) = served.service.models.values()
    assert model.lane.ledger.tokens == 0
    assert model.lane.rows == 0


def _input(text: str) -> bytes:
    return json.dumps({"input": text}).encode()


#: What is sent -> the status.
BODIES: dict[str, tuple[int, bytes]] = {
    "nothing": (422, b""),
    "half of an object": (422, b'{"input": "hel'),
    "an array": (422, b"[]"),
    "something after it": (422, b'{"input": "hello"} x'),
    "not a number": (422, b'{"input": NaN}'),
    "not UTF-8": (422, b'{"input": "\xff\xfe"}'),
    "a lone surrogate": (422, b'{"input": "\\ud800"}'),
    "nested 10,000 deep": (422, b'{"input": ' + DEEP + b"}"),
    "nested 10,000 deep where nothing is read": (422, b'{"input": "hello", "x": ' + DEEP + b"}"),
    "no input": (422, b"{}"),
    "null": (422, b'{"input": null}'),
    "a number": (422, b'{"input": 1.5}'),
    "no items": (422, b'{"input": []}'),
    "an empty list of ids": (422, b'{"input": [[]]}'),
    "texts and numbers": (422, b'{"input": ["hello", 1]}'),
    "booleans": (422, b'{"input": [true, false]}'),
    "an id beyond the vocabulary": (422, b'{"input": [5, 999999]}'),
    "an id beyond 64 bits": (422, b'{"input": [99999999999999999999999]}'),
    "a negative id": (422, b'{"input": [-1]}'),
    "an object": (422, b'{"input": {"text": "hello"}}'),
    "a format that there is not": (422, b'{"input": "hello", "encoding_format": "pickle"}'),
    "dimensions as text": (422, b'{"input": "hello", "dimensions": "4"}'),
    "an endless number": (422, b'{"input": "hello", "dimensions": 1' + b"0" * 10_000 + b"}"),
    "an empty text": (200, b'{"input": ""}'),
    "only spaces": (200, _input(" " * 500_000)),
    "a zero character": (200, b'{"input": "a\\u0000b"}'),
    "a million dots": (200, _input("." * 1_000_000)),
    "one word of a million letters": (200, _input("a" * 1_000_000)),
    "500,000 accents on one letter": (200, _input("e" + "\u0301" * 80_000)),
    "a key twice": (200, b'{"input": "x", "input": "hello"}'),
    "too many characters": (413, _input("." * 1_000_001)),
    "too many items": (413, json.dumps({"input": ["a"] * 1025}).encode()),
    "a body beyond the limit": (413, _input("." * (2 << 20))),
    "a model that there is not": (404, b'{"input": "hello", "model": "nothing"}'),
    "a model like a path": (404, b'{"input": "hello", "model": "../../../../etc/passwd"}'),
    "a model with line breaks": (404, b'{"input": "hello", "model": "toy\\r\\nset-cookie: a=b"}'),
    "a model as a URL": (404, b'{"input": "hello", "model": "http://127.0.0.1/"}'),
    "a model of 100,000 letters": (404, json.dumps({"input": "hello", "model": "a" * 100_000}).encode()),
}


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With room for a body of 2 MB, so that other limits are reached."""
    from dataclasses import replace

    with serving(
        publish_toy(tmp_path_factory.mktemp("roomy") / "toy"), limits=replace(LIMITS, body_bytes=2 << 20)
    ) as s:
        yield s


@pytest.mark.parametrize("what", BODIES)
def test_bodies(roomy: Served, what: str) -> None:
    expected, body = BODIES[what]
    began = time.monotonic()
    code, answer, headers = roomy.post(V1, body)
    assert code == expected
    assert time.monotonic() - began < 5
    assert len(headers["x-request-id"]) == 32
    if code >= 400:
        assert set(answer) == {"error"}
        assert len(answer["error"]["message"]) < 400
        assert answer["error"]["code"] == code
        assert "Traceback" not in str(answer)


def _chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


HELLO = b'{"input": "hello"}'
#: Raw bytes -> the status; 0 where the connection is closed without an answer.
RAW: dict[str, tuple[int, Callable[[], list[bytes]]]] = {
    "content-length beside chunked": (
        400,
        lambda: [request(V1, _chunked(HELLO), b"content-length: 18", b"transfer-encoding: chunked")],
    ),
    "two lengths": (400, lambda: [request(V1, HELLO, b"content-length: 18", b"content-length: 19")]),
    "a negative length": (400, lambda: [request(V1, HELLO, b"content-length: -1")]),
    "a length that overflows": (400, lambda: [request(V1, HELLO, b"content-length: 99999999999999999999999999")]),
    "a length beyond the limit": (413, lambda: [request(V1, b"", b"content-length: 99999999999")]),
    "chunked": (200, lambda: [request(V1, _chunked(HELLO), b"transfer-encoding: chunked")]),
    "a chunk of a negative size": (400, lambda: [request(V1, b"-1\r\n", b"transfer-encoding: chunked")]),
    "chunks beyond the limit": (
        413,
        lambda: [request(V1, b"", b"transfer-encoding: chunked"), *[b"10000\r\n" + b"." * 65536 + b"\r\n"] * 80],
    ),
    "a million chunks of one byte": (
        422,
        lambda: [request(V1, _chunked(*[b"."] * 1_000_000), b"transfer-encoding: chunked")],
    ),
    "a gzip bomb": (415, lambda: [request(V1, gzip.compress(b"." * (8 << 20)), b"content-encoding: gzip")]),
    "not JSON": (415, lambda: [request(V1, HELLO).replace(b"application/json", b"text/plain")]),
    "large headers": (431, lambda: [b"GET /v1/models HTTP/1.1\r\n", *[b"x: " + b"a" * 4096 + b"\r\n"] * 8]),
    "one endless header": (431, lambda: [b"GET /v1/models HTTP/1.1\r\nx: ", *[b"a" * 8192] * 4]),
    "many small headers": (431, lambda: [b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10_000 + b"\r\n"]),
    "a long path": (431, lambda: [b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"]),
    "headers that never end": (408, lambda: [b"GET /v1/models HTTP/1.1\r\nhost: local"]),
    "nothing at all": (408, lambda: [b""]),
    "a body that never ends": (408, lambda: [request(V1, HELLO[:5], b"content-length: 18")]),
    "not HTTP": (400, lambda: [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10]),
    "HTTP/2": (400, lambda: [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]),
    "a line break in a header": (400, lambda: [b"GET /v1/models HTTP/1.1\r\nhost: a\r\nx: a\x00b\r\n\r\n"]),
    "another method": (405, lambda: [request(V1, HELLO, method=b"PUT")]),
    "a GET": (405, lambda: [b"GET /v1/embeddings HTTP/1.1\r\nhost: a\r\n\r\n"]),
    "no such route": (404, lambda: [request("/admin", HELLO)]),
    "a path upwards": (404, lambda: [request("/v1/models/../../etc/passwd", b"", method=b"GET")]),
    "a hidden path upwards": (404, lambda: [request("/v1/models/%2e%2e%2f%2e%2e%2fetc/passwd", b"", method=b"GET")]),
    "an upgrade, whose body is not read": (
        422,
        lambda: [request(V1, HELLO, b"connection: upgrade", b"upgrade: websocket")],
    ),
    "an id with a line break": (200, lambda: [request(V1, HELLO, b"x-request-id: a%0d%0ab: c")]),
    "more than is said": (400, lambda: [request(V1, HELLO) + b"GARBAGE GARBAGE"]),
}


@pytest.mark.parametrize("what", RAW)
def test_raw_bytes(served: Served, what: str) -> None:
    expected, make = RAW[what]
    began = time.monotonic()
    answer = served.raw(*make())
    assert status(answer) == expected, answer[:300]
    assert time.monotonic() - began < 6
    assert b"Traceback" not in answer


def test_slow_headers_are_given_up(served: Served) -> None:
    """A byte every now and then does not keep a connection open."""
    began = time.monotonic()
    answer = served.raw(*[bytes([letter]) for letter in b"GET /v1/models HTTP/1.1\r\n"], pause=0.2)
    assert status(answer) == 408
    assert time.monotonic() - began < 10


def test_a_slow_body_is_given_up(served: Served) -> None:
    answer = served.raw(request(V1, b"", b"content-length: 18"), *[b"{"] * 12, pause=0.2)
    assert status(answer) == 408


def test_connections_beyond_the_limit_are_refused_and_the_server_recovers(served: Served) -> None:
    held = [served.connect() for _ in range(LIMITS.connections + 5)]
    try:
        time.sleep(0.2)
        assert served.post(V1, {"input": "hello"})[0] == 503
    finally:
        for sock in held:
            sock.close()
    time.sleep(0.2)


def test_pipelined_requests_are_answered_in_turn(served: Served) -> None:
    with served.connect() as sock:
        sock.sendall(request(V1, HELLO) * 3)
        answer = b""
        while answer.count(b"HTTP/1.1 200") < 3:
            piece = sock.recv(65536)
            assert piece
            answer += piece


def test_a_client_that_hangs_up_costs_nothing_more(served: Served) -> None:
    for _ in range(20):
        with served.connect() as sock:
            sock.sendall(request(V1, json.dumps({"input": ["hello world"] * 500}).encode()))
