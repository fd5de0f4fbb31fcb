"""Requests that are cancelled, and responses that are closed, at any time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from asbru.upstream.connection import BODY
from asbru.upstream.http1 import Pool, UpstreamError
from tests.upstream.cancelling import cancelled_at_every_turn, needs_proc, open_files
from tests.upstream.rawserver import OK, Line, RawServer, Runner, answering, post, run_on_each_loop, until

LIMIT = 2**20
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def answers_slowly(line: Line) -> None:
    while True:
        head = await line.request()
        if head.startswith(b"GET"):
            await line.say(OK)
        else:
            await line.say(
                b"HTTP/1.1 200 OK\r\n", b"transfer-encoding: chunked\r\n\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n"
            )


@run_on_each_loop
@needs_proc
def test_cancelled_at_every_turn(run: Runner) -> None:
    async def scenario(pool: Pool) -> None:
        for _ in range(2):  # the second on the same connection
            response = await pool.request(post(b"{}"), b"{}")
            try:
                while await response.read():
                    pass
            finally:
                response.close()

    async def main() -> None:
        async with RawServer(answers_slowly) as server:
            await cancelled_at_every_turn(server, scenario)
            await server.scripts_done()
            before = open_files()
            assert await cancelled_at_every_turn(server, scenario) > 5
            await server.scripts_done()
            await until(lambda: open_files() <= before)

    run(main())


@run_on_each_loop
@needs_proc
def test_uploads_cancelled_at_every_turn(run: Runner) -> None:
    open_bodies = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal open_bodies
        open_bodies += 1
        try:
            for _ in range(4):
                await asyncio.sleep(0)
                yield b"x" * 100_000
        finally:
            open_bodies -= 1

    async def scenario(pool: Pool) -> None:
        response = await pool.request(b"POST / HTTP/1.1\r\nhost: u\r\ntransfer-encoding: chunked\r\n\r\n", body())
        try:
            assert await response.read_all(LIMIT) == b"hello"
        finally:
            response.close()

    async def main() -> None:
        async with RawServer(answers_slowly) as server:
            await cancelled_at_every_turn(server, scenario)
            await server.scripts_done()
            before = open_files()
            assert await cancelled_at_every_turn(server, scenario) > 5
            assert open_bodies == 0
            await server.scripts_done()
            await until(lambda: open_files() <= before)

    run(main())


@run_on_each_loop
def test_cancelled_in_the_turn_in_which_the_head_comes(run: Runner) -> None:
    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(CHUNKED)
        await line.gone()

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            task = asyncio.ensure_future(pool.request(post()))
            await until(lambda: any(connection.phase == BODY for connection in pool._connections))
            assert not task.done()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await server.scripts_done()
            await pool.close()

    run(main())


@run_on_each_loop
def test_closing_a_response_closes_the_connection_at_once(run: Runner) -> None:
    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(CHUNKED, b"5\r\nhello\r\n")
        await line.gone()

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            response = await pool.request(post())
            response.close()
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await server.scripts_done()  # the upstream has noticed
            response.close()
            with pytest.raises(UpstreamError):
                await response.read()
            await pool.close()

    run(main())


@run_on_each_loop
def test_closing_a_response_ends_a_read_that_waits(run: Runner) -> None:
    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(CHUNKED)
        await line.gone()

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            response = await pool.request(post())
            reading = asyncio.ensure_future(response.read())
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="two readers"):
                await response.read()
            response.close()
            with pytest.raises(UpstreamError):
                await reading
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_whole_response_can_be_closed_unread(run: Runner) -> None:
    async def main() -> None:
        async with RawServer(answering(OK)) as server:
            pool = server.pool()
            response = await pool.request(post())
            response.close()
            assert repr(pool) == f"<Pool {server.origin} idle=1 busy=0 waiting=0>"
            await pool.close()

    run(main())
