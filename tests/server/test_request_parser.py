"""The parser alone: whatever pieces the bytes come in, the same exchanges come out; whatever the bytes, it ends."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asbru.config import Server
from asbru.server.http_exchange import HttpExchange, Wire
from asbru.server.request_parser import RequestParser

LIMITS = Server(max_header_bytes=2000)


class NoWire:
    """Exchanges that only receive need nothing of their connection, except that a defect would cut it."""

    loop: asyncio.AbstractEventLoop
    full = False
    draining = False

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the parser used {name}")


def parsed(pieces: list[bytes]) -> list[tuple[object, ...]]:
    """What became of the bytes: every exchange with its body, or why it was refused."""
    exchanges: list[HttpExchange] = []
    parser = RequestParser(cast(Wire, NoWire()), "", LIMITS, exchanges.append)
    for piece in pieces:
        if parser.deaf:
            break
        parser.feed(piece)
    return [described(exchange) for exchange in exchanges]


def described(exchange: HttpExchange) -> tuple[object, ...]:
    if exchange.refusal is not None:
        return (exchange.refusal.kind, exchange.refusal.message)
    return (
        exchange.method,
        exchange.path,
        exchange.query,
        exchange.head.headers,
        b"".join(exchange.parts),
        exchange.complete,
        exchange.keep_alive,
        exchange.failure and exchange.failure.kind,
    )


TOKEN = st.sampled_from([b"X-A", b"accept", b"User-Agent", b"x"])
VALUE = st.text(alphabet='abc ;,=/"\t\u00e9', max_size=12).map(lambda text: text.encode("latin-1").strip(b" \t"))
BODY = st.binary(max_size=40)


def lengthed(body: bytes) -> tuple[bytes, bytes]:
    return b"Content-Length: %d\r\n" % len(body), body


def chunked(parts: tuple[bytes, int, bool]) -> tuple[bytes, bytes]:
    body, size, trailer = parts
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(body[at : at + size]), body[at : at + size]) for at in range(0, len(body), size)
    )
    return b"Transfer-Encoding: chunked\r\n", chunks + b"0\r\n" + (b"T: 1\r\n" if trailer else b"") + b"\r\n"


FRAMED = st.one_of(
    BODY.map(lengthed), st.tuples(BODY, st.integers(1, 9), st.booleans()).map(chunked), st.just((b"", b""))
)
EXTRA = st.sampled_from(
    [b"", b"", b"", b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from([b"GET", b"POST", b"DELETE", b"HEAD", b"OPTIONS"]))
    target = draw(st.sampled_from([b"/", b"/v1/messages?beta=true", b"http://h/a?b", b"*", b"/a%20b"]))
    headers = draw(st.lists(st.tuples(TOKEN, VALUE), max_size=4))
    framing, body = draw(FRAMED)
    head = b"%b %b HTTP/1.1\r\nHost: x\r\n" % (method, target) + b"".join(b"%b: %b\r\n" % header for header in headers)
    return head + framing + draw(EXTRA) + b"\r\n" + body


BROKEN = st.sampled_from(
    [
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nExpect: x\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 3000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"x: 1\r\n" * 300 + b"\r\n",
        b"",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=4), BROKEN, st.data())
def test_any_split_gives_the_same_exchanges(parts: list[bytes], broken: bytes, data: st.DataObject) -> None:
    stream = b"".join(parts) + broken
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=12)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = parsed([stream])
    assert parsed(pieces) == whole
    assert parsed([stream[at : at + 1] for at in range(len(stream))]) == whole
    assert len(whole) >= 1


@settings(max_examples=300, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=3), st.data())
def test_any_change_gives_requests_or_a_refusal(parts: list[bytes], data: st.DataObject) -> None:
    stream = bytearray(b"".join(parts))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(stream) - 1))
        stream[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
        if not stream:
            return
    whole = parsed([bytes(stream)])
    assert parsed([bytes(stream[at : at + 1]) for at in range(len(stream))]) == whole
    assert all(outcome[0] != "internal" for outcome in whole)


@pytest.mark.parametrize("size", [1990, 2200])
@pytest.mark.parametrize("step", [1, 100, 10_000])
@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_the_bound_on_heads_does_not_depend_on_reads(size: int, step: int, before: bytes) -> None:
    head = b"GET /x HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n" % (b"x" * (size - 30))
    stream = before + head
    outcomes = parsed([stream[at : at + step] for at in range(0, len(stream), step)])
    assert len(outcomes) == (2 if before else 1)
    assert (outcomes[-1][0] == "headers_too_large") is (size > 2000)


def test_headers_are_given_up_with_their_request() -> None:
    """Trailers are read and dropped: nothing that follows a body may pass for what stood before it."""
    [exchange] = parsed(
        [
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\nX-Api-Key: late\r\nContent-Length: 5\r\n\r\n"
        ]
    )
    assert exchange[3] == [(b"host", b"x"), (b"transfer-encoding", b"chunked")]


def test_one_transfer_coding_is_one_header() -> None:
    """Whoever stands before us may have read the other one."""
    codings = b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"
    [refused] = parsed([b"POST / HTTP/1.1\r\nHost: x\r\n%b\r\n0\r\n\r\n" % codings])
    assert refused == ("invalid_request", "The only transfer-encoding of a request can be chunked")


@pytest.mark.parametrize(
    ("head", "is_refused"),
    [
        (b"GET / HTTP/1.1\r\nX: 1\r\n", True),
        (b"GET http://a/ HTTP/1.1\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nhost: a\r\n", True),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n", True),
        (b"GET / HTTP/1.0\r\n", False),
        (b"GET / HTTP/1.1\r\nHost:\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\n", False),
    ],
)
def test_a_request_has_one_host(head: bytes, is_refused: bool) -> None:
    """RFC 9112 §3.2; HTTP/1.0 may do without."""
    [outcome] = parsed([head + b"\r\n"])
    assert (outcome == ("invalid_request", "A request has one Host header")) is is_refused


def test_a_body_of_tiny_chunks_is_kept_in_few_pieces() -> None:
    """An object for every byte would take 40 times the body's size."""
    exchanges: list[HttpExchange] = []
    parser = RequestParser(cast(Wire, NoWire()), "", LIMITS, exchanges.append)
    body = bytes(range(256)) * 100
    framing, data = chunked((body, 1, False))
    parser.feed(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\n%b\r\n" % framing)
    for at in range(0, len(data), 1000):
        parser.feed(data[at : at + 1000])
    (exchange,) = exchanges
    assert exchange.complete and b"".join(exchange.parts) == body
    assert len(exchange.parts) < len(body) / 20
