"""One connection on its own, without a socket: every split of a response gives the same, no part passes for the whole,
and no bytes at all make it crash or lose its place.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asbru.upstream.connection import BODY, CLOSED, HEAD, IDLE
from asbru.upstream.http1 import UpstreamError
from tests.upstream.rig import Rig

LIMIT = 2**20


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


# ---- valid responses, made piece by piece so that what must come out is known without a parser

TOKEN = "abcdefghijklmnopqrstuvwxyz-_!#0123456789"
names = st.text(TOKEN, min_size=1, max_size=12).map(lambda name: b"x-" + name.encode())
values = st.binary(max_size=20).map(lambda value: bytes(b for b in value if b >= 0x20 and b != 0x7F).strip(b" "))
fields = st.lists(st.tuples(names, values), max_size=4)


def lines(fields: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(name + b": " + value + b"\r\n" for name, value in fields)


class Case(NamedTuple):
    raw: bytes
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    framing: str


@st.composite
def responses(draw: st.DrawFn) -> Case:
    raw = b""
    for status in draw(st.lists(st.sampled_from([100, 102, 103, 199]), max_size=2)):
        raw += b"HTTP/1.1 %d Wait\r\n" % status + lines(draw(fields)) + b"\r\n"
    status = draw(st.sampled_from([200, 201, 400, 404, 429, 500, 529]))
    headers = draw(fields)
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
    framing = draw(st.sampled_from(["length", "chunked", "to the end"]))
    if framing == "length":
        headers = [*headers, (b"content-length", b"%d" % sum(map(len, pieces)))]
        encoded = b"".join(pieces)
    elif framing == "chunked":
        headers = [(b"transfer-encoding", b"chunked"), *headers]
        extension = draw(st.sampled_from([b"", b";a", b";a=1", b';a="b"']))
        encoded = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
        encoded += b"0\r\n" + lines(draw(fields)) + b"\r\n"
    else:
        encoded = b"".join(pieces)
    raw += b"HTTP/1.1 %d Reason\r\n" % status + lines(headers) + b"\r\n" + encoded
    return Case(raw, status, headers, b"".join(pieces), framing)


cuts = st.lists(st.floats(0, 1), max_size=8)


def split(raw: bytes, cuts: list[float]) -> list[bytes]:
    places = sorted({0, len(raw), *(int(cut * len(raw)) for cut in cuts)})
    return [raw[start:end] for start, end in itertools.pairwise(places)]


@given(case=responses(), cuts=cuts, reads=st.booleans())
@settings(deadline=None)
def test_any_split_gives_the_same(loop: asyncio.AbstractEventLoop, case: Case, cuts: list[float], reads: bool) -> None:
    rig = Rig(loop)
    waiter = rig.send()
    body = b""
    for piece in split(case.raw, cuts):
        rig.connection.data_received(piece)
        if reads and waiter.done() and (rig.connection.parts or rig.connection.phase == IDLE):
            body += rig.read(waiter.result())
    if case.framing == "to the end":
        assert rig.connection.phase == BODY
        rig.connection.eof_received()
    response = waiter.result()
    while piece := rig.read(response):
        body += piece
    assert (response.status, response.headers, body) == (case.status, case.headers, case.body)
    if case.framing == "to the end":
        assert (rig.connection.phase, rig.books.releases, rig.books.is_dropped) == (CLOSED, 0, True)
    else:
        assert (rig.connection.phase, rig.books.releases, rig.books.is_dropped) == (IDLE, 1, False)
        # and nothing of it is left in the way of the next
        waiter = rig.send()
        rig.connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        assert (waiter.result().headers, rig.read(waiter.result())) == ([(b"content-length", b"2")], b"hi")
    rig.connection.close()
    assert rig.wire.aborted


@given(case=responses(), at=st.floats(0, 1, exclude_max=True), lost=st.sampled_from([None, ConnectionResetError()]))
@settings(deadline=None)
def test_no_part_passes_for_the_whole(
    loop: asyncio.AbstractEventLoop, case: Case, at: float, lost: Exception | None
) -> None:
    rig = Rig(loop)
    waiter = rig.send()
    part = case.raw[: int(at * len(case.raw))]
    if part:
        rig.connection.data_received(part)
    if lost is None:
        rig.connection.eof_received()
    else:
        rig.connection.connection_lost(lost)
    assert (rig.connection.phase, rig.books.is_dropped, rig.wire.aborted) == (CLOSED, True, True)
    error = waiter.exception()
    body = b""
    if error is None:
        response = waiter.result()
        assert rig.books.place_is_free
        try:
            while piece := rig.read(response):
                body += piece
        except UpstreamError as raised:
            error = raised
    else:
        assert not rig.books.place_is_free
    assert case.body.startswith(body)
    if case.framing == "to the end" and lost is None and waiter.exception() is None:
        assert error is None
    else:
        assert isinstance(error, UpstreamError)
        assert (error.kind, error.responded) == ("reset", bool(part))


def mutations() -> st.SearchStrategy[bytes]:
    """Valid responses with a few bytes changed, taken out or put in: nearer to the edge than random bytes."""

    def mutate(case: Case, edits: list[tuple[float, int, bytes]]) -> bytes:
        raw = case.raw
        for at, removed, added in edits:
            place = int(at * len(raw))
            raw = raw[:place] + added + raw[place + removed :]
        return raw

    edit = st.tuples(st.floats(0, 1), st.integers(0, 3), st.one_of(st.binary(max_size=3), st.just(b"\r\n")))
    return st.builds(mutate, responses(), st.lists(edit, min_size=1, max_size=4))


@given(raw=st.one_of(st.binary(max_size=200), mutations()), cuts=cuts, head_only=st.booleans())
@example(raw=b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nHTTP/1.1", cuts=[], head_only=False)
@settings(deadline=None)
def test_no_bytes_make_it_crash_or_lose_its_place(
    loop: asyncio.AbstractEventLoop, raw: bytes, cuts: list[float], head_only: bool
) -> None:
    rig = Rig(loop, max_header_bytes=150, max_headers=10, read_buffer_bytes=50)
    waiter = rig.send(head_only)
    for piece in split(raw, cuts):
        if not rig.wire.aborted:  # as an event loop does
            rig.connection.data_received(piece)
        if waiter.done() and waiter.exception() is None and rig.connection.phase == BODY and rig.connection.parts:
            rig.read(waiter.result())
            assert not rig.wire.paused
    rig.connection.connection_lost(None)
    assert (rig.connection.phase, rig.books.is_dropped) == (CLOSED, True)
    assert waiter.done()
    if waiter.exception() is None:
        response = waiter.result()
        assert 200 <= response.status <= 599
        assert len(response.headers) <= 10
        try:
            while rig.read(response):
                pass
        except UpstreamError as error:
            assert error.kind in ("reset", "protocol")
            assert error.responded
    else:
        assert isinstance(waiter.exception(), UpstreamError)
        assert not rig.books.place_is_free


# ---- bounds


def test_reading_pauses_above_the_buffer_and_resumes_when_read(loop: asyncio.AbstractEventLoop) -> None:
    rig = Rig(loop, read_buffer_bytes=100)
    waiter = rig.send()
    rig.connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    rig.connection.data_received(b"x" * 100)
    assert not rig.wire.paused
    rig.connection.data_received(b"x")
    assert rig.wire.paused
    assert rig.read(waiter.result()) == b"x" * 101
    assert not rig.wire.paused
    rig.connection.data_received(b"x" * 101)
    assert rig.wire.pauses == 2
    rig.connection.close()


def test_a_paused_connection_that_fails_is_left_alone(loop: asyncio.AbstractEventLoop) -> None:
    rig = Rig(loop, read_buffer_bytes=100)
    waiter = rig.send()
    rig.connection.data_received(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 500)
    assert rig.wire.paused
    rig.connection.fail("deadline", "over")
    assert (rig.read(waiter.result()), rig.wire.paused) == (b"x" * 500, True)
    with pytest.raises(UpstreamError):
        rig.read(waiter.result())


def test_a_response_that_completes_is_never_left_paused(loop: asyncio.AbstractEventLoop) -> None:
    rig = Rig(loop, read_buffer_bytes=100)
    waiter = rig.send()
    rig.connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    rig.connection.data_received(b"x" * 500)
    assert rig.wire.paused
    rig.connection.data_received(b"x" * 500)  # a transport may still deliver what it had read
    assert (rig.connection.phase, rig.wire.paused) == (IDLE, False)
    assert rig.read(waiter.result()) == b"x" * 1000
    rig.connection.close()


@pytest.mark.parametrize(
    "endless", [b"1;" + b"x" * 30, b"1\r\na\r\n0\r\n" + b"x-t: 1\r\n" * 5], ids=["ext", "trailers"]
)
@pytest.mark.parametrize("read", [True, False])
def test_framing_without_data_is_bounded(loop: asyncio.AbstractEventLoop, endless: bytes, read: bool) -> None:
    rig = Rig(loop, max_header_bytes=1000, read_buffer_bytes=10_000)
    waiter = rig.send()
    rig.connection.data_received(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + endless)
    if read and rig.connection.parts:
        rig.read(waiter.result())
    fed_bytes = 0
    while rig.connection.phase == BODY and not rig.wire.paused:
        rig.connection.data_received(b"y" * 100 if b";" in endless else b"x-t: 1\r\n" * 10)
        fed_bytes += 100
        assert fed_bytes < 20_000
    rig.connection.close()


@pytest.mark.parametrize("body", [b"content-length: 5\r\n\r\nhello", b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"])
def test_what_was_framing_in_one_response_does_not_count_in_the_next(
    loop: asyncio.AbstractEventLoop, body: bytes
) -> None:
    rig = Rig(loop, max_header_bytes=100)
    head, _, rest = (b"HTTP/1.1 200 OK\r\n" + body).partition(b"\r\n\r\n")
    for _ in range(20):
        rig.send()
        rig.connection.data_received(head + b"\r\n\r\n")
        rig.connection.data_received(rest)
        assert rig.connection.phase == IDLE
    rig.connection.close()


def test_bytes_of_the_request_that_are_still_unsent_end_the_connection(loop: asyncio.AbstractEventLoop) -> None:
    rig = Rig(loop)
    rig.send()
    rig.wire.unsent_bytes = 1
    rig.connection.data_received(b"HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n")
    assert (rig.connection.phase, rig.books.releases, rig.wire.aborted) == (CLOSED, 0, True)


def test_closing_while_dialled_keeps_the_place_with_the_request(loop: asyncio.AbstractEventLoop) -> None:
    rig = Rig(loop)
    rig.connection.eof_received()
    assert (rig.books.is_dropped, rig.books.place_is_free) == (True, False)
    error = rig.send().exception()
    assert isinstance(error, UpstreamError)
    assert (error.kind, error.responded) == ("reset", False)


def test_a_head_for_a_request_that_was_just_cancelled(loop: asyncio.AbstractEventLoop) -> None:
    rig = Rig(loop)
    waiter = rig.send()
    waiter.cancel()
    assert rig.connection.phase == HEAD
    rig.connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert (rig.connection.phase, rig.books.releases, rig.books.place_is_free) == (CLOSED, 0, False)
