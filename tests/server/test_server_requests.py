"""Requests and responses that are as they should be, in every form HTTP/1 has for them."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import Callable

import pytest

from asbru.errors import GatewayError
from asbru.server.connection import READ_AHEAD_BYTES
from asbru.server.exchange import Exchange
from tests.server.rawclient import LIMIT, Live, Runner, echo, post, run_on_each_loop, serving, small_buffered, until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@run_on_each_loop
def test_a_request_and_its_response(run: Runner) -> None:
    async def main() -> None:
        async with serving(echo) as live:
            body = b"POST /a%20b?c=d hello"
            headers = {b"content-type": b"text/plain", b"content-length": b"%d" % len(body)}
            assert await live.ask(post(b"hello", path=b"/a%20b?c=d")) == (200, headers, body, True)

    run(main())


@run_on_each_loop
def test_handlers_see_the_head_as_it_was_sent(run: Runner) -> None:
    seen: list[Exchange] = []

    async def handler(exchange: Exchange) -> None:
        seen.append(exchange)
        await exchange.respond(204, [], b"")

    async def main() -> None:
        async with serving(handler) as live:
            await live.ask(
                b"DELETE /v1//x%2Fy?a=1&b=?# HTTP/1.1\r\nHost: h\r\nX-B:  2 \t\r\nx-a: 1\r\nX-B: 3\r\nX-C:\r\n\r\n"
            )
        [exchange] = seen
        assert (exchange.method, exchange.path, exchange.query) == ("DELETE", b"/v1//x%2Fy", b"a=1&b=?#")
        assert exchange.head.headers == [(b"host", b"h"), (b"x-b", b"2"), (b"x-a", b"1"), (b"x-b", b"3"), (b"x-c", b"")]
        assert exchange.client == "127.0.0.1"
        assert exchange.request_id == "" and not exchange.tail_open

    run(main())


def test_an_exchange_does_not_print_its_headers() -> None:
    printed: list[str] = []

    async def handler(exchange: Exchange) -> None:
        printed.append(repr(exchange))
        await exchange.respond(204, [], b"")

    async def main() -> None:
        async with serving(handler) as live:
            await live.ask(b"GET /p?key=secret HTTP/1.1\r\nHost: x\r\nx-api-key: secret\r\n\r\n")

    asyncio.run(main())
    assert printed == ["<HttpExchange GET b'/p' waiting>"]


@run_on_each_loop
def test_a_connection_is_kept_and_used_again(run: Runner) -> None:
    async def main() -> None:
        async with serving(echo) as live:
            peer = await live.peer()
            for number in range(3):
                await peer.send(post(b"%d" % number))
                answer = await peer.answer()
                assert answer.body == b"POST /? %d" % number
                assert b"connection" not in answer.headers

    run(main())


@run_on_each_loop
@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /ignored HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_a_connection_is_closed_when_the_request_says_so(run: Runner, request_: bytes) -> None:
    async def main() -> None:
        async with serving(echo) as live:
            peer = await live.peer()
            await peer.send(request_)
            answer = await peer.answer()
            assert answer.status == 200 and answer.headers[b"connection"] == b"close"
            assert await peer.is_closed()

    run(main())


@run_on_each_loop
def test_pipelined_requests_are_answered_one_after_another(run: Runner) -> None:
    running = 0

    async def handler(exchange: Exchange) -> None:
        nonlocal running
        running += 1
        assert running == 1
        body = await exchange.body(LIMIT)
        for _ in range(3):
            await asyncio.sleep(0)
        running -= 1
        await exchange.respond(200, [], exchange.path + body)

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            await peer.send(b"".join(post(b"%d" % number, path=b"/p") for number in range(10)))
            bodies = [(await peer.answer()).body for _ in range(10)]
            assert bodies == [b"/p%d" % number for number in range(10)]

    run(main())


@run_on_each_loop
def test_too_many_pipelined_requests_end_the_connection_after_some(run: Runner) -> None:
    async def main() -> None:
        async with serving(echo) as live:
            peer = await live.peer()
            await peer.send(GET * 500)
            answers = [await peer.answer()]
            while b"connection" not in answers[-1].headers:
                answers.append(await peer.answer())
            assert await peer.is_closed()
            assert 10 < len(answers) < 30
            assert {answer.status for answer in answers} == {200}

    run(main())


# Request bodies


BODIES: dict[str, bytes] = {
    "empty": b"",
    "short": b"x",
    "long": bytes(range(256)) * 3000,
}


def chunked(body: bytes, size: int) -> bytes:
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    framed = b"".join(b"%X;ext=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
        + framed
        + b"0\r\nTrailer: 1\r\nContent-Encoding: br\r\n\r\n"
    )


@run_on_each_loop
@pytest.mark.parametrize("form", [post, lambda body: chunked(body, 1000)], ids=["length", "chunked"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("whole", [True, False], ids=["body", "pieces"])
def test_a_body_arrives_as_it_was_sent(run: Runner, form: Callable[[bytes], bytes], body: bytes, whole: bool) -> None:
    received: list[bytes] = []

    async def handler(exchange: Exchange) -> None:
        if whole:
            received.append(await exchange.body(LIMIT))
        else:
            received.append(b"".join([piece async for piece in exchange.pieces(LIMIT)]))
        await exchange.respond(204, [], b"")

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            for _ in range(2):
                await peer.send(form(body))
                assert (await peer.answer()).status == 204
            assert received == [body, body]

    run(main())


@run_on_each_loop
def test_pieces_come_as_they_arrive(run: Runner) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def handler(exchange: Exchange) -> None:
        async for piece in exchange.pieces(LIMIT):
            arrived.put_nowait(piece)
        await exchange.respond(204, [], b"")

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nab")
            assert await arrived.get() == b"ab"
            await peer.send(b"cd")
            assert await arrived.get() == b"cd"
            await peer.send(b"ef")
            assert (await peer.answer()).status == 204

    run(main())


@run_on_each_loop
def test_a_body_that_nobody_reads_is_not_taken_in(run: Runner) -> None:
    """Reading stops after a bounded amount and goes on when the handler asks."""
    go = asyncio.Event()
    size = 8_000_000

    async def handler(exchange: Exchange) -> None:
        await go.wait()
        body = await exchange.body(size)
        await exchange.respond(200, [], b"%d" % len(body))

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            peer.writer.write(post(bytes(size)))
            await until(lambda: any(connection.reading.paused for connection in live.connections))
            [connection] = live.connections
            assert connection.current is not None
            assert connection.current.received_bytes <= 2 * READ_AHEAD_BYTES
            go.set()
            assert (await peer.answer()).body == b"%d" % size

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("name", [b"gzip", b"X-Gzip", b"identity", b""])
def test_a_compressed_body_is_inflated(run: Runner, name: bytes) -> None:
    async def main() -> None:
        async with serving(echo) as live:
            body = gzip.compress(b"hello " * 100) if b"zip" in name.lower() else b"hello " * 100
            answer = await live.ask(post(body, b"Content-Encoding: " + name))
            assert answer.body == b"POST /? " + b"hello " * 100

    run(main())


@run_on_each_loop
@pytest.mark.parametrize(
    ("encoding", "body", "limit", "status", "kind"),
    [
        (b"br", b"x", 100, 415, "invalid_request_error"),
        (b"gzip, gzip", b"x", 100, 415, "invalid_request_error"),
        (b"gzip", b"not gzip", 100, 400, "invalid_request_error"),
        (b"gzip", gzip.compress(b"hello")[:-1], 100, 400, "invalid_request_error"),
        (b"gzip", gzip.compress(bytes(101)), 100, 413, "request_too_large"),
        (b"gzip", gzip.compress(bytes(10_000_000)), 100_000, 413, "request_too_large"),
        (b"", bytes(101), 100, 413, "request_too_large"),
    ],
)
def test_a_body_that_cannot_be_had_is_refused(
    run: Runner, encoding: bytes, body: bytes, limit: int, status: int, kind: str
) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.body(limit)

    async def main() -> None:
        async with serving(handler) as live:
            for form in (post(body, b"Content-Encoding: " + encoding), framed(body, encoding)):
                answer = await live.ask(form)
                assert (answer.status, answer.error) == (status, kind)

    def framed(body: bytes, encoding: bytes) -> bytes:
        return chunked(body, 50).replace(b"\r\n", b"\r\nContent-Encoding: %b\r\n" % encoding, 1)

    run(main())


@run_on_each_loop
def test_a_body_of_exactly_the_limit_is_accepted(run: Runner) -> None:
    async def handler(exchange: Exchange) -> None:
        body = await exchange.body(100)
        await exchange.respond(200, [], b"%d" % len(body))

    async def main() -> None:
        async with serving(handler) as live:
            for request in (
                post(bytes(100)),
                chunked(bytes(100), 7),
                post(gzip.compress(bytes(100)), b"content-encoding: gzip"),
            ):
                assert (await live.ask(request)).body == b"100"

    run(main())


# Expectations, upgrades, other forms of target


@run_on_each_loop
def test_a_client_that_asks_first_is_told_to_go_on_when_the_body_is_wanted(run: Runner) -> None:
    wanted = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await wanted.wait()
        await echo(exchange)

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            for expectation in (b"100-continue", b"100-Continue"):
                wanted.clear()
                await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: %b\r\nContent-Length: 3\r\n\r\n" % expectation)
                interim = asyncio.create_task(peer.answer())
                await asyncio.sleep(0)
                assert not interim.done()
                wanted.set()
                assert (await interim).status == 100
                await peer.send(b"abc")
                assert (await peer.answer()).body == b"POST /? abc"

    run(main())


@run_on_each_loop
def test_a_client_that_asks_first_is_refused_without_having_sent_the_body(run: Runner) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.body(2)

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            answer = await peer.answer()
            assert (answer.status, answer.error) == (413, "request_too_large")
            assert answer.headers[b"connection"] == b"close"

    run(main())


@run_on_each_loop
@pytest.mark.parametrize(
    "head", [b"POST / HTTP/1.0\r\nExpect: 100-continue\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"]
)
def test_nobody_is_told_to_go_on_who_has_already(run: Runner, head: bytes) -> None:
    async def main() -> None:
        async with serving(echo) as live:
            answer = await live.ask(head + b"Content-Length: 3\r\n\r\nabc")
            assert (answer.status, answer.body) == (200, b"POST /? abc")

    run(main())


@run_on_each_loop
@pytest.mark.parametrize(
    ("framing", "body"),
    [(b"Content-Length: 5\r\n", b"hello"), (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"), (b"", b"")],
)
@pytest.mark.parametrize("split", [0, 1, 3])
def test_a_request_to_upgrade_is_answered_as_if_it_had_not_asked(
    run: Runner, framing: bytes, body: bytes, split: int
) -> None:
    """As Java's HttpClient sends its first request."""
    head = b"POST /u HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    head += b"Upgrade: h2c\r\nHTTP2-Settings: AAEAA\r\n"

    async def main() -> None:
        async with serving(echo) as live:
            peer = await live.peer()
            await peer.send(head + framing + b"\r\n" + body[:split])
            await peer.send(body[split:])
            answer = await peer.answer()
            assert (answer.status, answer.body) == (200, b"POST /u? " + (b"hello" if body else b""))
            if not body:  # then what follows can be told from it
                await peer.send(GET)
                assert (await peer.answer()).status == 200

    run(main())


@run_on_each_loop
@pytest.mark.parametrize(
    ("target", "seen"),
    [
        (b"http://h:1/a/b?c", b"GET /a/b?c "),
        (b"HTTPS://h", b"GET /? "),
        (b"http://h?c/d", b"GET /?c/d "),
        (b"https://[::1]:8/a", b"GET /a? "),
        (b"/a://b/c", b"GET /a://b/c? "),
        (b"/?a?b", b"GET /?a?b "),
    ],
)
def test_forms_of_a_target(run: Runner, target: bytes, seen: bytes) -> None:
    async def main() -> None:
        async with serving(echo) as live:
            assert (await live.ask(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)).body == seen

    run(main())


# Responses


async def streamed(exchange: Exchange, pieces: tuple[bytes, ...], headers: list[tuple[bytes, bytes]]) -> None:
    await exchange.start(200, headers)
    assert exchange.started
    for piece in pieces:
        await exchange.write(piece)
    await exchange.finish()


PIECES = (b"one", b"", b"two", bytes(20_000), b"three" * 9000)


@run_on_each_loop
def test_a_streamed_response_is_chunked(run: Runner) -> None:
    async def handler(exchange: Exchange) -> None:
        await streamed(exchange, PIECES, [(b"content-type", b"text/event-stream")])

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            for _ in range(2):
                await peer.send(GET)
                answer = await peer.answer()
                assert answer.headers == {b"content-type": b"text/event-stream", b"transfer-encoding": b"chunked"}
                assert answer.whole and answer.body == b"".join(PIECES)

    run(main())


@run_on_each_loop
def test_a_streamed_response_of_known_length_is_not_chunked(run: Runner) -> None:
    length = len(b"".join(PIECES))

    async def handler(exchange: Exchange) -> None:
        await streamed(exchange, PIECES, [(b"content-length", b"%d" % length)])

    async def main() -> None:
        async with serving(handler) as live:
            answer = await live.ask(GET)
            assert answer.headers == {b"content-length": b"%d" % length}
            assert answer.body == b"".join(PIECES)

    run(main())


@run_on_each_loop
def test_a_streamed_response_to_an_old_client_ends_with_the_connection(run: Runner) -> None:
    async def handler(exchange: Exchange) -> None:
        await streamed(exchange, PIECES, [])

    async def main() -> None:
        async with serving(handler) as live:
            answer = await live.ask(b"GET / HTTP/1.0\r\n\r\n")
            assert answer.headers == {b"connection": b"close"}
            assert answer.body == b"".join(PIECES)

    run(main())


@run_on_each_loop
def test_the_head_of_a_stream_does_not_wait_for_its_body(run: Runner) -> None:
    go = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, [])
        await go.wait()
        await exchange.finish()

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            await peer.send(GET)
            assert (await peer.head())[0] == 200
            go.set()
            assert await peer.chunks() == (b"", True)

    run(main())


@run_on_each_loop
def test_nothing_waits_for_an_acknowledgement(run: Runner) -> None:
    """Nagle's algorithm is off: with it on, the first token of a stream is 40 ms late."""

    async def main() -> None:
        async with serving(echo) as live:
            await live.ask(GET)
            [connection] = live.connections
            raw: socket.socket = connection.transport.get_extra_info("socket")
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(main())


@run_on_each_loop
def test_head_is_answered_like_get_without_a_body(run: Runner) -> None:
    async def handler(exchange: Exchange) -> None:
        if exchange.path == b"/whole":
            await exchange.respond(200, [], b"12345")
        elif exchange.path == b"/stream":
            await streamed(exchange, PIECES, [])
        elif exchange.path == b"/unknown":
            await exchange.respond(200, [], b"")
        elif exchange.path == b"/length":
            await streamed(exchange, (b"123",), [(b"content-length", b"3")])
        else:
            raise GatewayError("not_found", "no")

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            for path, status, length in (
                (b"/whole", 200, b"5"),
                (b"/stream", 200, None),
                (b"/length", 200, b"3"),
                (b"/unknown", 200, None),
                (b"/none", 404, None),
            ):
                await peer.send(b"HEAD %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
                answer = await peer.answer(head_only=True)
                assert answer.status == status
                if status == 200:
                    assert answer.headers.get(b"content-length") == length
                assert b"transfer-encoding" not in answer.headers

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(run: Runner, status: int) -> None:
    async def handler(exchange: Exchange) -> None:
        if exchange.path == b"/whole":
            await exchange.respond(status, [(b"x", b"1")], b"ignored")
        else:
            await streamed(exchange, PIECES, [(b"x", b"1")])

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            await peer.send(b"GET /whole HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await peer.answer() == (status, {b"x": b"1"}, b"", True)
            await peer.send(GET)
            assert (await peer.answer()).status == 200

    run(main())


@run_on_each_loop
def test_an_unknown_status_goes_through(run: Runner) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.respond(529, [(b"x-Y", b"\xe4 b")], b"overloaded")

    async def main() -> None:
        async with serving(handler) as live:
            answer = await live.ask(GET)
            assert (answer.status, answer.headers[b"x-Y"], answer.body) == (529, b"\xe4 b", b"overloaded")

    run(main())


@run_on_each_loop
def test_a_large_response_to_a_slow_reader_waits_for_it(run: Runner) -> None:
    """Backpressure: `write` returns when there is room, so what is written never piles up here."""
    size, count = 100_000, 100
    waiting: list[int] = []
    lives: list[Live] = []

    async def main() -> None:
        async with serving(handler) as live:
            lives.append(live)
            peer = await small_buffered(live)
            await peer.send(GET)
            await peer.head()
            body, whole = await peer.chunks()
            assert whole and len(body) == size * count
        assert max(waiting) < 2 * size

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, [])
        for _ in range(count):
            await exchange.write(bytes(size))
            [connection] = lives[0].connections
            waiting.append(connection.transport.get_write_buffer_size())
        await exchange.finish()

    run(main())
