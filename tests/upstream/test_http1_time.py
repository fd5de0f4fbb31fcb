"""Time: the first byte, silence, deadlines, unused connections. By a clock that the test turns; then a few for real."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from asbru.upstream.connection import BODY, CLOSED, HEAD, IDLE
from asbru.upstream.http1 import Response, UpstreamError
from tests.upstream.rawserver import OK, Line, RawServer, Runner, answering, post, run_on_each_loop, until
from tests.upstream.rig import ManualClock, Rig

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
HELLO = b"5\r\nhello\r\n"
END = b"0\r\n\r\n"


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    clock = ManualClock()
    yield clock
    clock.close()


def failed(error: BaseException | None) -> tuple[str, bool]:
    assert isinstance(error, UpstreamError)
    return error.kind, error.responded


def broken_off(rig: Rig, future: asyncio.Future[Response]) -> tuple[str, bool]:
    """How the response's body, of which nothing is left, broke off."""
    response = future.result()
    with pytest.raises(UpstreamError) as caught:
        rig.read(response)
    return failed(caught.value)


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 2", b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-len"]
)
def test_first_byte_timeout(clock: ManualClock, said: bytes) -> None:
    rig = Rig(clock, first_byte_s=600.0)
    waiter = rig.send()
    clock.advance(300)
    if said:
        rig.connection.data_received(said)  # an incomplete head does not buy time
    clock.advance(299)
    assert rig.connection.phase == HEAD
    clock.advance(1)
    assert failed(waiter.exception()) == ("first_byte_timeout", bool(said))
    assert (rig.books.is_dropped, rig.books.place_is_free, rig.wire.aborted) == (True, False, True)


def test_a_body_that_keeps_moving_does_not_time_out_and_one_that_stands_does(clock: ManualClock) -> None:
    rig = Rig(clock, first_byte_s=600.0, idle_s=300.0)
    waiter = rig.send()
    rig.connection.data_received(CHUNKED)
    for _ in range(10):
        clock.advance(299)
        rig.connection.data_received(HELLO)
        assert rig.read(waiter.result()) == b"hello"
    rig.connection.data_received(HELLO)
    clock.advance(299)
    assert rig.connection.phase == BODY
    clock.advance(1)
    assert rig.connection.phase == CLOSED
    assert rig.read(waiter.result()) == b"hello"  # what came before is given first
    assert broken_off(rig, waiter) == ("idle_timeout", True)
    assert rig.books.place_is_free


def test_the_time_of_a_caller_that_does_not_read_is_not_idle_time(clock: ManualClock) -> None:
    rig = Rig(clock, idle_s=300.0, read_buffer_bytes=10)
    waiter = rig.send()
    rig.connection.data_received(CHUNKED + HELLO * 10)
    assert rig.wire.paused
    clock.advance(10_000)
    assert rig.connection.phase == BODY
    assert rig.read(waiter.result()) == b"hello" * 10
    clock.advance(299)
    assert rig.connection.phase == BODY
    clock.advance(1)
    assert broken_off(rig, waiter) == ("idle_timeout", True)


@pytest.mark.parametrize(
    ("said", "responded"), [(b"", False), (b"HTTP/1.1 200", True), (CHUNKED, True), (CHUNKED + HELLO * 10, True)]
)
def test_the_deadline_ends_every_phase(clock: ManualClock, said: bytes, responded: bool) -> None:
    """The last of them is paused: nobody reads."""
    rig = Rig(clock, read_buffer_bytes=10)
    waiter = rig.send(deadline=clock.time() + 60)
    if said:
        rig.connection.data_received(said)
    clock.advance(59)
    assert rig.connection.phase in (HEAD, BODY)
    clock.advance(1)
    assert rig.connection.phase == CLOSED
    if waiter.exception() is None:
        if said.endswith(HELLO):
            assert rig.read(waiter.result()) == b"hello" * 10
        assert broken_off(rig, waiter) == ("deadline", responded)
    else:
        assert failed(waiter.exception()) == ("deadline", responded)


def test_the_deadline_of_one_request_reaches_neither_the_next_nor_the_pause_between(clock: ManualClock) -> None:
    rig = Rig(clock, first_byte_s=600.0, keep_alive_s=60.0)
    rig.send(deadline=clock.time() + 10)
    rig.connection.data_received(OK)
    clock.advance(59)
    assert rig.connection.phase == IDLE
    waiter = rig.send()
    clock.advance(599)
    rig.connection.data_received(OK)
    assert rig.read(waiter.result()) == b"hello"
    rig.connection.close()


def test_an_unused_connection_is_closed_after_its_time(clock: ManualClock) -> None:
    rig = Rig(clock, first_byte_s=600.0, keep_alive_s=60.0)
    for _ in range(3):
        rig.send()
        rig.connection.data_received(OK)
        clock.advance(59)
        assert rig.connection.phase == IDLE
    clock.advance(1)
    assert (rig.connection.phase, rig.wire.aborted) == (CLOSED, True)
    assert (rig.books.is_dropped, rig.books.place_is_free) == (True, True)


def test_an_upload_that_moves_does_not_time_out_and_one_that_stands_does(clock: ManualClock) -> None:
    rig = Rig(clock, first_byte_s=600.0)
    waiter = rig.send()
    for _ in range(3):
        clock.advance(599)
        clock.run_until_complete(rig.connection.write(b"more"))
    rig.connection.pause_writing()
    stuck = clock.create_task(rig.connection.write(b"more"))
    clock.advance(599)
    assert (rig.connection.phase, stuck.done()) == (HEAD, False)
    clock.advance(1)
    assert failed(waiter.exception()) == ("first_byte_timeout", False)
    clock.run_until_complete(stuck)


def test_requests_need_no_timers_of_their_own(clock: ManualClock) -> None:
    rig = Rig(clock, first_byte_s=600.0, idle_s=300.0, keep_alive_s=60.0)
    for _ in range(1000):
        waiter = rig.send(deadline=clock.time() + 3600)
        rig.connection.data_received(CHUNKED)
        for _ in range(5):
            rig.connection.data_received(HELLO)
            clock.now_s += 0.001
        rig.connection.data_received(END)
        assert rig.read(waiter.result()) == b"hello" * 5
    assert clock.timers == 3  # the first request's head, body and pause: each ends sooner than the one before
    rig.connection.close()


# ---- for real


@run_on_each_loop
@pytest.mark.parametrize(("kind", "limit"), [("first_byte_timeout", "first_byte_s"), ("deadline", None)])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_a_head_that_does_not_come(run: Runner, kind: str, limit: str | None, said: bytes) -> None:
    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(said)
        await line.gone()

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool(**({limit: 0.02} if limit else {}))
            deadline = None if limit else asyncio.get_running_loop().time() + 0.02
            with pytest.raises(UpstreamError) as caught:
                await pool.request(post(), deadline=deadline)
            assert caught.value.kind == kind
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await server.scripts_done()
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_body_that_does_not_come(run: Runner) -> None:
    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(CHUNKED)
        await line.gone()

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool(idle_s=0.02)
            response = await pool.request(post())
            with pytest.raises(UpstreamError) as caught:
                await response.read()
            assert (caught.value.kind, caught.value.responded) == ("idle_timeout", True)
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await server.scripts_done()
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_deadline_that_has_passed_sends_nothing(run: Runner) -> None:
    async def main() -> None:
        async with RawServer(answering(OK)) as server:
            pool = server.pool()
            with pytest.raises(UpstreamError) as caught:
                await pool.request(post(), deadline=asyncio.get_running_loop().time())
            assert (caught.value.kind, caught.value.responded) == ("deadline", False)
            assert server.accepted == 0
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_connection_that_nobody_uses(run: Runner) -> None:
    async def main() -> None:
        async with RawServer(answering(OK)) as server:
            pool = server.pool(keep_alive_s=0.02)
            await (await pool.request(post())).read_all(100)
            await until(lambda: pool.idle == 0)
            await server.scripts_done()
            response = await pool.request(post())
            assert not response.reused
            await pool.close()

    run(main())
