"""Every bound of the server, and what a client that runs into it gets."""

from __future__ import annotations

import asyncio

import pytest

from asbru.config import Server
from asbru.errors import GatewayError
from asbru.server import connection as connection_module
from asbru.server.connection import Connection
from asbru.server.exchange import Exchange
from tests.server.rawclient import LIMIT, Runner, echo, post, run_on_each_loop, serving, small_buffered, until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SHORT_S = 0.02
TINY = Server(max_header_bytes=1000, header_timeout_s=SHORT_S, body_timeout_s=SHORT_S, keep_alive_s=SHORT_S)


# What is not HTTP, or not safely so


@run_on_each_loop
@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"GET ftp://h/v1/messages HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET ws://h/v1/messages HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET file:///v1/messages HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET httpx://h/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http:///v1/messages HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://u:p@h/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / RTSP/1.0\r\nHost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\nX: a\n\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nExpect: the worst\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
def test_what_is_not_a_request_is_refused_and_the_connection_closed(run: Runner, request_: bytes) -> None:
    async def unreachable(exchange: Exchange) -> None:
        raise AssertionError(f"{exchange} was let through")

    async def main() -> None:
        async with serving(unreachable) as live:
            peer = await live.peer()
            await peer.send(request_)
            answer = await peer.answer()
            assert (answer.status, answer.error) == (400, "invalid_request_error")
            assert answer.headers[b"connection"] == b"close"
            assert await peer.is_closed()

    run(main())


@run_on_each_loop
def test_tls_on_the_plain_port_is_told_so(run: Runner) -> None:
    async def unreachable(exchange: Exchange) -> None:
        raise AssertionError(f"{exchange} was let through")

    async def main() -> None:
        async with serving(unreachable) as live:
            peer = await live.peer()
            await peer.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(32)))
            answer = await peer.answer()
            assert answer.status == 400
            assert b"this port speaks plain HTTP, not HTTPS" in answer.body

    run(main())


@run_on_each_loop
@pytest.mark.parametrize(
    "body",
    [
        b"5\r\nhelloo\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"fffffffffffffffff\r\nhello",
        b"-5\r\nhello",
        b"5\r\nhello\r\n0\r\nX\r\n\r\n",
    ],
)
def test_a_body_that_breaks_is_an_invalid_request(run: Runner, body: bytes) -> None:
    failures: list[str] = []

    async def handler(exchange: Exchange) -> None:
        try:
            await exchange.body(LIMIT)
        except GatewayError as error:
            failures.append(error.kind)
            raise

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body + GET)
            answer = await peer.answer()
            assert (answer.status, answer.error) == (400, "invalid_request_error")
            assert failures == ["invalid_request"]
            assert await peer.is_closed()

    run(main())


@run_on_each_loop
def test_a_tunnel_is_not_to_be_had(run: Runner) -> None:
    async def main() -> None:
        async with serving(echo) as live:
            answer = await live.ask(b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03\x01")
            assert (answer.status, answer.error) == (405, "invalid_request_error")
            assert answer.headers[b"allow"]

    run(main())


@run_on_each_loop
def test_a_broken_request_behind_good_ones_is_refused_in_its_turn(run: Runner) -> None:
    async def main() -> None:
        async with serving(echo) as live:
            peer = await live.peer()
            await peer.send(post(b"1") + post(b"2") + b"NONSENSE\r\n\r\n" + post(b"3"))
            assert [(await peer.answer()).status for _ in range(3)] == [200, 200, 400]
            assert await peer.is_closed()

    run(main())


# Heads


def heads(size: int) -> dict[str, bytes]:
    filler = b"x" * size
    return {
        "one header": b"GET / HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n" % filler,
        "its name": b"GET / HTTP/1.1\r\nHost: x\r\n%b: 1\r\n\r\n" % filler,
        "the target": b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % filler,
        "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n" % (b"X: 12345\r\n" * (size // 10)),
        "without an end": b"GET / HTTP/1.1\r\nHost: x\r\nX: %b" % filler,
    }


@run_on_each_loop
@pytest.mark.parametrize("request_", heads(70_000).values(), ids=heads(0))
@pytest.mark.parametrize("step", [4096, 70_000])
@pytest.mark.parametrize("before", [b"", post(b"x" * 5000)], ids=["first", "second"])
def test_a_head_that_is_too_large_is_refused(run: Runner, request_: bytes, step: int, before: bytes) -> None:
    async def main() -> None:
        async with serving(echo) as live:
            peer = await live.peer()
            data = before + request_
            for at in range(0, len(data), step):
                await peer.send(data[at : at + step])
            if before:
                assert (await peer.answer()).status == 200
            if request_.endswith(b"x"):
                await peer.send(b"x" * 70_000)
            answer = await peer.answer()
            assert (answer.status, answer.error) == (431, "invalid_request_error")
            assert await peer.is_closed()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("step", [1000, 100_000])
def test_a_large_head_within_the_limit_is_taken(run: Runner, step: int) -> None:
    async def main() -> None:
        async with serving(echo) as live:
            peer = await live.peer()
            data = b"POST / HTTP/1.1\r\nHost: x\r\nX: %b\r\nContent-Length: 90000\r\n\r\n" % (b"x" * 60_000) + bytes(
                90_000
            )
            for _ in range(2):
                for at in range(0, len(data), step):
                    await peer.send(data[at : at + step])
                assert (await peer.answer()).status == 200

    run(main())


@run_on_each_loop
def test_a_head_of_too_many_headers_is_refused(run: Runner) -> None:
    async def main() -> None:
        async with serving(echo) as live:
            assert (await live.ask(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 255 + b"\r\n")).status == 200
            assert (await live.ask(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 256 + b"\r\n")).status == 431

    run(main())


# Slow clients


@run_on_each_loop
@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX: "])
@pytest.mark.parametrize("before", [b"", GET], ids=["first", "second"])
def test_a_head_that_does_not_come_in_time_is_refused(run: Runner, sent: bytes, before: bytes) -> None:
    async def main() -> None:
        async with serving(echo, TINY) as live:
            peer = await live.peer()
            await peer.send(before)
            if before:
                assert (await peer.answer()).status == 200
            await peer.send(sent)
            answer = await peer.answer()
            assert (answer.status, answer.error) == (408, "timeout_error")
            assert await peer.is_closed()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("sent", [b"", GET, b"\r\n\r\n"])
def test_a_connection_on_which_nothing_comes_is_closed(run: Runner, sent: bytes) -> None:
    async def main() -> None:
        async with serving(echo, TINY) as live:
            peer = await live.peer()
            await peer.send(sent)
            if sent == GET:
                assert (await peer.answer()).status == 200
            assert await peer.is_closed()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize(
    "sent",
    [b"Content-Length: 9\r\n\r\n", b"Content-Length: 9\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nab"],
)
@pytest.mark.parametrize("whole", [True, False], ids=["body", "pieces"])
def test_a_body_that_stops_coming_is_refused(run: Runner, sent: bytes, whole: bool) -> None:
    async def handler(exchange: Exchange) -> None:
        if whole:
            await exchange.body(LIMIT)
        else:
            async for _ in exchange.pieces(LIMIT):
                pass

    async def main() -> None:
        async with serving(handler, TINY) as live:
            peer = await live.peer()
            await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + sent)
            answer = await peer.answer()
            assert (answer.status, answer.error) == (408, "timeout_error")
            assert await peer.is_closed()

    run(main())


@run_on_each_loop
def test_a_handler_may_take_longer_than_any_time_out(run: Runner) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.body(LIMIT)
        await asyncio.sleep(3 * SHORT_S)
        await exchange.respond(200, [], b"late")

    async def main() -> None:
        async with serving(handler, TINY) as live:
            assert (await live.ask(post(b"x"))).body == b"late"

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("form", ["stream", "whole"])
def test_a_client_that_takes_nothing_is_cut_off(run: Runner, form: str) -> None:
    ended = asyncio.Event()
    size = 20_000_000

    async def handler(exchange: Exchange) -> None:
        if form == "whole":
            await exchange.respond(200, [], bytes(size))
            ended.set()
            return
        await exchange.start(200, [])
        try:
            while True:
                await exchange.write(bytes(100_000))
        except asyncio.CancelledError:
            ended.set()
            raise

    async def main() -> None:
        async with serving(handler, Server(write_timeout_s=SHORT_S)) as live:
            peer = await small_buffered(live)
            await peer.send(GET)
            await ended.wait()
            await until(lambda: not live.connections)
            taken = 0
            with pytest.raises((ConnectionError, EOFError)):
                while data := await peer.reader.read(65536):
                    taken += len(data)
                raise EOFError
            assert taken < size

    run(main())


@run_on_each_loop
def test_a_client_that_takes_a_little_at_a_time_is_not_cut_off(run: Runner) -> None:
    size = 3_000_000

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, [(b"content-length", b"%d" % size)])
        for _ in range(30):
            await exchange.write(bytes(size // 30))
        await exchange.finish()

    async def main() -> None:
        async with serving(handler, Server(write_timeout_s=0.5, keep_alive_s=0.05)) as live:
            peer = await small_buffered(live)
            await peer.send(GET)
            answer = await peer.answer()
            assert answer.whole and len(answer.body) == size
            assert await peer.is_closed()

    run(main())


# Refusals before all of the request has come


@run_on_each_loop
@pytest.mark.parametrize("size", [300_000, 900_000])
def test_a_client_that_is_still_sending_gets_its_refusal(run: Runner, size: int) -> None:
    """Closing at once would answer the rest of the body with a reset, which takes the response with it."""

    async def handler(exchange: Exchange) -> None:
        raise GatewayError("virtual_key_required", "A virtual key is required")

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
            for _ in range(size // 10_000):
                await peer.send(bytes(10_000))
            answer = await peer.answer()
            assert (answer.status, answer.error) == (401, "authentication_error")
            assert answer.headers[b"x-asbru-reason"] == b"virtual_key_required"
            assert answer.headers[b"connection"] == b"close"
            await peer.close()
            await until(lambda: not live.connections)

    run(main())


@run_on_each_loop
def test_a_client_that_goes_on_sending_is_cut_off_in_the_end(run: Runner) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.body(100)

    async def main() -> None:
        largest = 4 << 20
        limits = Server(max_body_bytes=100, max_batch_body_bytes=100, max_file_bytes=largest)
        async with serving(handler, limits) as live:
            peer = await live.peer()
            await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
            assert (await peer.answer()).status == 413
            sent = 0
            with pytest.raises(ConnectionError):
                while True:
                    await peer.send(bytes(65536))
                    sent += 65536
            assert sent >= largest

    run(main())


@run_on_each_loop
def test_a_client_that_neither_sends_nor_closes_after_a_refusal_is_closed(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "LINGER_SILENCE_S", SHORT_S)

    async def handler(exchange: Exchange) -> None:
        await exchange.body(100)

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n")
            assert (await peer.answer()).status == 413
            assert await peer.is_closed()
            await until(lambda: not live.connections)

    run(main())


@run_on_each_loop
def test_a_client_that_sends_for_ever_after_a_refusal_is_closed(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "LINGER_S", SHORT_S)

    async def handler(exchange: Exchange) -> None:
        await exchange.body(100)

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
            assert (await peer.answer()).status == 413
            with pytest.raises(ConnectionError):
                while True:
                    await peer.send(b"x")

    run(main())


# Amounts


@run_on_each_loop
def test_connections_beyond_the_limit_are_told_so(run: Runner) -> None:
    async def main() -> None:
        async with serving(echo, Server(max_connections=2)) as live:
            first, second = await live.peer(), await live.peer()
            for peer in (first, second):
                await peer.send(GET)
                assert (await peer.answer()).status == 200
            third = await live.peer()
            await third.send(post(b"hello"))
            answer = await third.answer()
            await third.close()
            assert (answer.status, answer.error) == (503, "overloaded_error")
            assert answer.headers[b"x-asbru-reason"] == b"shed"
            assert answer.headers[b"retry-after"] == b"1"
            await first.send(GET)
            assert (await first.answer()).status == 200
            await second.close()
            await until(lambda: len(live.connections) < 2)
            assert (await live.ask(GET)).status == 200

    run(main())


@run_on_each_loop
def test_connections_far_beyond_the_limit_are_dropped(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "REFUSED_CONNECTIONS", 1)

    async def main() -> None:
        async with serving(echo, Server(max_connections=1)) as live:
            held = [await live.peer(), await live.peer()]
            await until(lambda: len(live.connections) == len(held))
            assert await (await live.peer()).is_closed()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize(
    ("filler", "name"),
    [
        (b"1;%b\r\nx\r\n" % (b"e" * 1000), "extensions"),
        (b"1\r\nx\r\n1;%b\r\nx\r\n" % (b"e" * 100), "small chunks"),
        (b"T: %b\r\n" % (b"t" * 1000), "trailers"),
    ],
)
def test_a_body_that_is_nothing_but_framing_is_refused(run: Runner, filler: bytes, name: str) -> None:
    async def main() -> None:
        async with serving(echo) as live:
            peer = await live.peer()
            start = b"0\r\n" if name == "trailers" else b""
            peer.writer.write(
                b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + start + filler * 10_000
            )
            answer = await peer.answer()
            assert (answer.status, answer.error) == (400, "invalid_request_error")

    run(main())


@run_on_each_loop
def test_a_body_in_chunks_of_one_byte_is_not_refused(run: Runner) -> None:
    async def main() -> None:
        async with serving(echo) as live:
            body = b"1\r\nx\r\n" * 100_000
            answer = await live.ask(
                b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"
            )
            assert answer.body == b"POST /? " + b"x" * 100_000

    run(main())


@run_on_each_loop
def test_later_requests_are_not_taken_in_without_bound(run: Runner) -> None:
    go = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        await go.wait()
        await echo(exchange)

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            size = 900_000
            peer.writer.write(post(b"first") + post(bytes(size)) + post(bytes(size)))
            await until(lambda: any(connection.reading.paused for connection in live.connections))
            [connection] = live.connections
            assert held(connection) < 600_000
            go.set()
            assert [len((await peer.answer()).body) for _ in range(3)] == [13, 8 + size, 8 + size]

    def held(connection: Connection) -> int:
        return sum(exchange.received_bytes for exchange in connection.queue)

    run(main())


@run_on_each_loop
def test_a_client_that_takes_no_responses_gets_no_further_requests_done(run: Runner) -> None:
    size = 8_000_000
    done = 0

    async def handler(exchange: Exchange) -> None:
        nonlocal done
        done += 1
        await exchange.respond(200, [], bytes(size))

    async def main() -> None:
        async with serving(handler) as live:
            peer = await small_buffered(live)
            await peer.send(GET * 3)
            await until(lambda: any(connection.full for connection in live.connections))
            assert done == 1
            assert [len((await peer.answer()).body) for _ in range(3)] == [size] * 3

    run(main())


@run_on_each_loop
def test_a_client_that_is_still_taking_a_response_is_not_idle(run: Runner) -> None:
    size = 8_000_000

    async def handler(exchange: Exchange) -> None:
        await exchange.respond(200, [], bytes(size))

    async def main() -> None:
        async with serving(handler, Server(keep_alive_s=SHORT_S, header_timeout_s=SHORT_S)) as live:
            peer = await small_buffered(live)
            await peer.send(GET + b"GET / HT")
            await until(lambda: any(connection.full for connection in live.connections))
            await asyncio.sleep(3 * SHORT_S)  # the time that would have made it idle
            await peer.send(b"TP/1.1\r\nHost: x\r\n\r\n")
            assert [len((await peer.answer()).body) for _ in range(2)] == [size] * 2

    run(main())
