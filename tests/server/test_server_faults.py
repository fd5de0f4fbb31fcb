"""Handlers that fail, and clients that go away: at every point of an exchange."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable

import pytest

from asbru.errors import GatewayError
from asbru.server.connection import Connection
from asbru.server.exchange import Exchange
from asbru.server.http_exchange import HttpExchange
from asbru.server.request_parser import RequestParser
from tests.server.rawclient import LIMIT, Live, Peer, Runner, echo, post, run_on_each_loop, serving, until

GET = b"GET /path?key=secret HTTP/1.1\r\nHost: x\r\nx-api-key: secret\r\n\r\n"
EVENT_STREAM = [(b"content-type", b"text/event-stream; charset=utf-8")]
EVENT = b"event: a\ndata: {}\n\n"


@run_on_each_loop
def test_an_error_that_escapes_becomes_its_response(run: Runner) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.request_id = "req_mine"
        raise GatewayError("shed", "too much", retry_after_s=0.2, headers=[(b"x-more", b"1")])

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            for _ in range(2):  # the connection is none the worse for it
                await peer.send(GET)
                answer = await peer.answer()
                assert (answer.status, answer.error) == (503, "overloaded_error")
                assert answer.headers[b"request-id"] == b"req_mine"
                assert answer.headers[b"x-more"] == answer.headers[b"retry-after"] == b"1"

    run(main())


@run_on_each_loop
def test_a_defect_becomes_a_500_and_is_logged_once(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(exchange: Exchange) -> None:
        raise ZeroDivisionError("particulars")

    async def main() -> None:
        async with serving(handler) as live:
            answer = await live.ask(GET)
            assert (answer.status, answer.error) == (500, "api_error")
            assert b"particulars" not in answer.body

    run(main())
    [record] = caplog.records
    assert record.levelno == logging.ERROR and record.exc_info is not None
    assert "ZeroDivisionError" in caplog.text and "/path" in caplog.text
    assert "secret" not in caplog.text


Respond = Callable[[Exchange], Awaitable[None]]


async def _nothing(exchange: Exchange) -> None:
    pass


async def _line_end_in_header(exchange: Exchange) -> None:
    await exchange.respond(200, [(b"x", b"1\r\nset-cookie: a=b")], b"")


async def _bare_cr_in_header(exchange: Exchange) -> None:
    await exchange.respond(200, [(b"x", b"1\rset-cookie: a=b")], b"")


async def _bare_lf_in_header_of_a_stream(exchange: Exchange) -> None:
    await exchange.start(200, [(b"x", b"1\nset-cookie: a=b")])


async def _impossible_status(exchange: Exchange) -> None:
    await exchange.respond(100, [], b"")


async def _write_before_start(exchange: Exchange) -> None:
    await exchange.write(b"x")


async def _finish_before_start(exchange: Exchange) -> None:
    await exchange.finish()


@run_on_each_loop
@pytest.mark.parametrize(
    "misuse",
    [
        _nothing,
        _line_end_in_header,
        _bare_cr_in_header,
        _bare_lf_in_header_of_a_stream,
        _impossible_status,
        _write_before_start,
        _finish_before_start,
    ],
)
def test_misuse_before_the_response_is_a_500(run: Runner, misuse: Respond, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(misuse) as live:
            answer = await live.ask(GET)
            assert (answer.status, answer.error) == (500, "api_error")
            assert b"set-cookie" not in answer.headers

    run(main())
    assert len(caplog.records) == 1


@run_on_each_loop
@pytest.mark.parametrize("second", ["respond", "start", "write", "finish"])
def test_misuse_after_the_response_does_not_reach_the_client(
    run: Runner, second: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.respond(200, [], b"once")
        again: dict[str, Callable[[], Awaitable[None]]] = {
            "respond": lambda: exchange.respond(200, [], b"twice"),
            "start": lambda: exchange.start(200, []),
            "write": lambda: exchange.write(b"more"),
            "finish": exchange.finish,
        }
        with pytest.raises(RuntimeError):
            await again[second]()
        raise ZeroDivisionError

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            for _ in range(2):
                await peer.send(GET)
                assert (await peer.answer()).body == b"once"

    run(main())
    assert len(caplog.records) == 2


# A response that has begun


async def _raise_gateway_error(exchange: Exchange) -> None:
    raise GatewayError("upstream_timeout", "gone quiet")


async def _raise_defect(exchange: Exchange) -> None:
    raise ZeroDivisionError


async def _abort(exchange: Exchange) -> None:
    exchange.abort()
    await exchange.write(b"never seen")


@run_on_each_loop
@pytest.mark.parametrize("fault", [_raise_gateway_error, _raise_defect, _nothing])
@pytest.mark.parametrize("written", [b"", EVENT])
def test_an_event_stream_ends_with_an_error_event(run: Runner, fault: Respond, written: bytes) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.request_id = "req_mine"
        await exchange.start(200, EVENT_STREAM)
        await exchange.write(written)
        await fault(exchange)

    async def main() -> None:
        async with serving(handler) as live:
            answer = await live.ask(GET)
            assert answer.whole and answer.body.startswith(written + b"event: error\ndata: {")
            assert b'"request_id":"req_mine"' in answer.body and answer.body.endswith(b"}\n\n")

    run(main())


async def _torn(exchange: Exchange) -> None:
    await exchange.start(200, EVENT_STREAM)
    await exchange.write(b"event: a\nda")
    exchange.tail_open = True


async def _event_stream_of_known_length(exchange: Exchange) -> None:
    await exchange.start(200, [*EVENT_STREAM, (b"content-length", b"100")])
    await exchange.write(EVENT)


async def _plain(exchange: Exchange) -> None:
    await exchange.start(200, [(b"content-type", b"application/json")])
    await exchange.write(b'{"a":')


async def _plain_of_known_length(exchange: Exchange) -> None:
    await exchange.start(200, [(b"content-length", b"100")])
    await exchange.write(b"x")


async def _head_only(exchange: Exchange) -> None:
    await exchange.start(200, [])


@run_on_each_loop
@pytest.mark.parametrize("fault", [_raise_gateway_error, _raise_defect, _nothing, _abort])
@pytest.mark.parametrize("begin", [_torn, _event_stream_of_known_length, _plain, _plain_of_known_length, _head_only])
def test_any_other_response_is_cut_so_that_the_client_can_tell(run: Runner, begin: Respond, fault: Respond) -> None:
    async def handler(exchange: Exchange) -> None:
        await begin(exchange)
        await fault(exchange)

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            await peer.send(GET)
            answer = await peer.answer()
            assert answer.status == 200 and not answer.whole and b"error" not in answer.body
            assert await peer.is_closed()

    run(main())


@run_on_each_loop
def test_a_response_that_ends_with_the_connection_is_cut_with_a_reset(run: Runner) -> None:
    async def handler(exchange: Exchange) -> None:
        await _plain(exchange)
        await asyncio.sleep(0)
        exchange.abort()

    async def main() -> None:
        async with serving(handler) as live:
            peer = await live.peer()
            await peer.send(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                await peer.reader.read()
                await peer.reader.read()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("data", [b"12345678", b"123"])
def test_a_length_that_is_not_kept_is_a_defect(run: Runner, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, [(b"content-length", b"5")])
        await exchange.write(data)
        await exchange.finish()

    async def main() -> None:
        async with serving(handler) as live:
            assert not (await live.ask(GET)).whole

    run(main())
    assert "content-length" in caplog.text


# Clients that go away


class Watched:
    """A handler that reaches one point of an exchange and waits there; it notes how it ended."""

    def __init__(self, reach: Respond) -> None:
        self.reach = reach
        self.there = asyncio.Event()
        self.ended = asyncio.Event()
        self.cancelled = False

    async def __call__(self, exchange: Exchange) -> None:
        try:
            self.there.set()
            await self.reach(exchange)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.ended.set()


async def _in_body(exchange: Exchange) -> None:
    await exchange.body(LIMIT)


async def _in_pieces(exchange: Exchange) -> None:
    async for _ in exchange.pieces(LIMIT):
        pass


async def _before_start(exchange: Exchange) -> None:
    await asyncio.Event().wait()


async def _after_start(exchange: Exchange) -> None:
    await exchange.start(200, EVENT_STREAM)
    await asyncio.Event().wait()


async def _mid_stream(exchange: Exchange) -> None:
    await exchange.start(200, EVENT_STREAM)
    await exchange.write(EVENT)
    await asyncio.Event().wait()


async def _in_write(exchange: Exchange) -> None:
    await exchange.start(200, EVENT_STREAM)
    while True:
        await exchange.write(bytes(1_000_000))


POINTS = [_in_body, _in_pieces, _before_start, _after_start, _mid_stream, _in_write]


@run_on_each_loop
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("how", [Peer.close, Peer.reset], ids=["close", "reset"])
@pytest.mark.parametrize("behind", [b"", b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["alone", "pipelined"])
def test_the_handler_is_cancelled(
    run: Runner, point: Respond, how: Callable[[Peer], Awaitable[None]], behind: bytes
) -> None:
    async def main() -> None:
        watched = Watched(point)
        async with serving(watched) as live:
            peer = await live.peer()
            body = b"12" if point in (_in_body, _in_pieces) else b"123" + behind
            await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n" + body)
            await watched.there.wait()
            if point is _in_write:
                await until(lambda: any(connection.full for connection in live.connections))
            await how(peer)
            await watched.ended.wait()
            assert watched.cancelled
            await until(lambda: live.service.idle)

    run(main())


@run_on_each_loop
def test_a_client_that_ends_its_side_is_gone(run: Runner) -> None:
    async def main() -> None:
        watched = Watched(_before_start)
        async with serving(watched) as live:
            peer = await live.peer()
            await peer.send(GET)
            await watched.there.wait()
            peer.writer.write_eof()
            await watched.ended.wait()
            assert watched.cancelled and await peer.is_closed()

    run(main())


@run_on_each_loop
def test_a_handler_that_has_finished_its_response_is_not_cancelled(run: Runner) -> None:
    async def main() -> None:
        gone = asyncio.Event()

        async def settle(exchange: Exchange) -> None:
            await exchange.respond(200, [], b"")
            await gone.wait()

        watched = Watched(settle)
        async with serving(watched) as live:
            peer = await live.peer()
            await peer.send(GET)
            await peer.answer()
            await peer.reset()
            await until(lambda: not live.connections)
            assert not live.service.idle
            gone.set()
            await watched.ended.wait()
            assert not watched.cancelled

    run(main())


@run_on_each_loop
def test_a_second_task_of_a_handler_does_not_wait_for_ever(run: Runner) -> None:
    """One that reads a body or writes on the handler's behalf ends with an error or at once, whoever cancels it."""
    ends: list[object] = []

    async def read(exchange: Exchange) -> None:
        try:
            await exchange.body(LIMIT)
        except GatewayError as error:
            ends.append(error.kind)

    async def write(exchange: Exchange) -> None:
        while exchange_open():
            await exchange.write(bytes(1_000_000))
        ends.append("written")

    def exchange_open() -> bool:
        return bool(lives[0].connections)

    lives: list[Live] = []
    tasks: list[asyncio.Task[None]] = []

    async def handler(exchange: Exchange) -> None:
        if exchange.path == b"/read":
            tasks.append(asyncio.create_task(read(exchange)))
        else:
            await exchange.start(200, [])
            tasks.append(asyncio.create_task(write(exchange)))
        await asyncio.Event().wait()

    async def main() -> None:
        async with serving(handler) as live:
            lives.append(live)
            for request in (b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n", GET):
                peer = await live.peer()
                await peer.send(request)
                await until(lambda: bool(tasks))
                if request == GET:
                    await until(lambda: any(connection.full for connection in live.connections))
                await peer.reset()
                await tasks.pop()
        assert ends == ["invalid_request", "written"]

    run(main())


@run_on_each_loop
def test_an_upload_that_is_answered_early_ends(run: Runner) -> None:
    """Its reader, in a task of its own, learns that no more will come."""

    async def handler(exchange: Exchange) -> None:
        async def read() -> str:
            try:
                async for _ in exchange.pieces(LIMIT):
                    pass
            except GatewayError as error:
                return error.kind
            return "all"

        reading = asyncio.create_task(read())
        await until(lambda: bool(connection(exchange)))
        await exchange.respond(403, [], b"no")
        assert await reading == "invalid_request"

    def connection(exchange: Exchange) -> bool:
        return getattr(exchange, "waiter") is not None  # noqa: B009  (not part of the contract)

    async def main() -> None:
        async with serving(handler) as live:
            answer = await live.ask(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nabc")
            assert (answer.status, answer.body) == (403, b"no")

    run(main())


@run_on_each_loop
def test_many_clients_come_and_go_and_nothing_stays(run: Runner) -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.body(LIMIT)
        await exchange.start(200, EVENT_STREAM)
        for _ in range(5):
            await exchange.write(EVENT)
            await asyncio.sleep(0)
        await exchange.finish()

    async def client(live: Live, number: int) -> None:
        peer = await live.peer()
        await peer.send(post(b"x" * number)[: 40 + 7 * number])
        for _ in range(number % 7):
            await asyncio.sleep(0)
        await (peer.reset() if number % 2 else peer.close())

    async def main() -> None:
        async with serving(handler) as live:
            await asyncio.gather(*(client(live, number) for number in range(100)))
            await until(lambda: live.service.idle)

    run(main())


@run_on_each_loop
def test_nothing_is_left_for_the_garbage_collector(run: Runner) -> None:
    """An exchange and a connection are free the moment they end: memory does not wait for a collection."""

    async def handler(exchange: Exchange) -> None:
        if exchange.path == b"/wait":
            await asyncio.Event().wait()
        await exchange.body(10)
        await exchange.respond(200, [], b"")

    def ours() -> list[object]:
        return [thing for thing in gc.get_objects() if isinstance(thing, HttpExchange | Connection | RequestParser)]

    async def main() -> None:
        async with serving(handler) as live:
            gc.collect()
            gc.disable()
            try:
                for request in (post(b"x"), post(b"x" * 11), b"NONSENSE\r\n\r\n", post(b"", path=b"/wait")):
                    peer = await Peer.connect(live.port)
                    await peer.send(request)
                    if b"/wait" in request:
                        await until(lambda: bool(live.service._shared.running))
                    else:
                        await peer.answer()
                    await peer.close()
                    await until(lambda: live.service.idle)
                    await asyncio.sleep(0)
                    assert ours() == []
            finally:
                gc.enable()

    run(main())


@run_on_each_loop
def test_an_application_is_only_called_by_its_server(run: Runner) -> None:
    """The scope holds the exchange; ASGI's messages say where to look instead."""
    from asbru.server.asgi import _receive, _send, application

    async def main() -> None:
        with pytest.raises(KeyError):
            await application(echo, None)({"type": "http"}, _receive, _send)
        with pytest.raises(RuntimeError, match=r"asbru\.exchange"):
            await _receive()
        with pytest.raises(RuntimeError, match=r"asbru\.exchange"):
            await _send({})

    run(main())
