"""Time: the first byte, silence, deadlines, and connections that nobody uses."""

from __future__ import annotations

import asyncio

import pytest

from asbru.upstream.http1 import UpstreamError
from tests.upstream.rawserver import OK, Line, RawServer, Runner, answering, post, run_on_each_loop, until

LIMIT = 2**20
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@run_on_each_loop
def test_first_byte_timeout(run: Runner) -> None:
    async def upstream(line: Line) -> None:
        await line.request()
        await line.gone()

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool(first_byte_s=0.02)
            with pytest.raises(UpstreamError) as caught:
                await pool.request(post())
            assert (caught.value.kind, caught.value.responded) == ("first_byte_timeout", False)
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await server.scripts_done()
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_head_that_never_ends_is_a_first_byte_timeout(run: Runner) -> None:
    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n")
        await line.gone()

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool(first_byte_s=0.05)
            with pytest.raises(UpstreamError) as caught:
                await pool.request(post())
            assert (caught.value.kind, caught.value.responded) == ("first_byte_timeout", True)
            await pool.close()

    run(main())


@run_on_each_loop
def test_idle_timeout_comes_after_what_was_received(run: Runner) -> None:
    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(CHUNKED, b"5\r\nhello\r\n")
        await line.gone()

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool(idle_s=0.02)
            response = await pool.request(post())
            assert await response.read() == b"hello"
            with pytest.raises(UpstreamError) as caught:
                await response.read()
            assert (caught.value.kind, caught.value.responded) == ("idle_timeout", True)
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await server.scripts_done()
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_body_that_keeps_moving_does_not_time_out(run: Runner) -> None:
    pieces = 12

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def upstream(line: Line) -> None:
            await line.request()
            await line.say(CHUNKED)
            for _ in range(pieces):  # in all longer than the limit, each far shorter
                tick = loop.create_future()
                loop.call_later(0.05, tick.set_result, None)
                await tick
                await line.say(b"5\r\nhello\r\n")
            await line.say(b"0\r\n\r\n")

        async with RawServer(upstream) as server:
            pool = server.pool(idle_s=0.4)
            response = await pool.request(post())
            assert await response.read_all(LIMIT) == b"hello" * pieces
            await pool.close()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("said", [(), (b"HTTP/1.1 200",), (CHUNKED,), (CHUNKED, b"5\r\nhello\r\n")])
def test_deadline(run: Runner, said: tuple[bytes, ...]) -> None:
    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(*said)
        await line.gone()

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            deadline = asyncio.get_running_loop().time() + 0.05
            with pytest.raises(UpstreamError) as caught:
                response = await pool.request(post(), deadline=deadline)
                await response.read_all(LIMIT)
            assert (caught.value.kind, caught.value.responded) == ("deadline", bool(said))
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
def test_the_deadline_of_one_request_does_not_reach_the_next(run: Runner) -> None:
    second = asyncio.Event()

    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(OK)
        await line.request()
        await second.wait()
        await line.say(OK)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with RawServer(upstream) as server:
            pool = server.pool()
            deadline = loop.time() + 0.05
            await (await pool.request(post(), deadline=deadline)).read_all(LIMIT)
            loop.call_at(deadline + 0.05, second.set)
            response = await pool.request(post())
            assert (response.reused, await response.read_all(LIMIT)) == (True, b"hello")
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_connection_outlives_the_deadline_of_its_last_request(run: Runner) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with RawServer(answering(OK)) as server:
            pool = server.pool()
            deadline = loop.time() + 0.05
            await (await pool.request(post(), deadline=deadline)).read_all(LIMIT)
            passed = asyncio.Event()
            loop.call_at(deadline + 0.05, passed.set)
            await passed.wait()
            assert pool.idle == 1
            await pool.close()

    run(main())


@run_on_each_loop
def test_an_unused_connection_is_closed_after_its_time(run: Runner) -> None:
    async def upstream(line: Line) -> None:
        await answering(OK)(line)

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool(keep_alive_s=0.02)
            await (await pool.request(post())).read_all(LIMIT)
            assert pool.idle == 1
            await until(lambda: pool.idle == 0)
            await server.scripts_done()
            response = await pool.request(post())
            assert not response.reused
            await pool.close()

    run(main())
