"""Answers that come before the request is sent: they are read, and the rest of the request is not wanted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from asbru.upstream.http1 import Limits, Origin, Pool
from tests.upstream.rawserver import Line, RawServer, Runner, closes, ends, post, resets, run_on_each_loop, until

LIMIT = 2**20
REFUSAL = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 7\r\n\r\ntoo big"


@run_on_each_loop
@pytest.mark.parametrize("size_bytes", [20_000, 300_000, 20_000_000])
def test_an_early_answer_to_a_large_body_is_read(run: Runner, size_bytes: int) -> None:
    body = b"x" * size_bytes

    async def refuse(line: Line) -> None:
        await line.request_head()
        line.deaf()
        await line.say(REFUSAL)
        line.close()

    async def main() -> None:
        async with RawServer(refuse) as server:
            pool = server.pool()
            for _ in range(10):
                response = await pool.request(post(body), body)
                assert (response.status, await response.read_all(LIMIT)) == (413, b"too big")
            await until(lambda: repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>")
            assert server.accepted == 10
            await pool.close()

    run(main())


@run_on_each_loop
def test_after_an_early_answer_the_connection_is_not_used_again(run: Runner) -> None:
    body = b"x" * 20_000_000

    async def refuse(line: Line) -> None:
        await line.request_head()
        line.deaf()
        await line.say(REFUSAL)
        await line.gone()

    async def main() -> None:
        async with RawServer(refuse) as server:
            pool = server.pool()
            response = await pool.request(post(body), body)
            assert (response.status, await response.read_all(LIMIT)) == (413, b"too big")
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("go", [closes, ends, resets, Line.gone])
def test_an_early_answer_stops_a_body_in_pieces(run: Runner, go: Callable[[Line], Awaitable[None]]) -> None:
    stopped = asyncio.Event()
    answered = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"x" * 1000
            await asyncio.Event().wait()  # a client that has stalled
        finally:
            stopped.set()

    async def refuse(line: Line) -> None:
        await line.request_head()
        line.deaf()
        await line.say(REFUSAL)
        await answered.wait()
        await go(line)

    async def main() -> None:
        async with RawServer(refuse) as server:
            pool = server.pool()
            response = await pool.request(b"POST / HTTP/1.1\r\nhost: u\r\ncontent-length: 3000\r\n\r\n", body())
            assert stopped.is_set()
            answered.set()
            assert (response.status, await response.read_all(LIMIT)) == (413, b"too big")
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
def test_an_early_answer_stops_a_body_that_waits_for_room(run: Runner) -> None:
    stopped = asyncio.Event()
    taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        try:
            while True:
                taken += 1
                yield b"x" * 100_000
        finally:
            stopped.set()

    async def refuse(line: Line) -> None:
        await line.request_head()
        line.deaf()
        before = -1
        while taken != before:  # until it stands still
            before = taken
            for _ in range(50):
                await asyncio.sleep(0)
        await line.say(REFUSAL)
        await line.gone()

    async def main() -> None:
        async with RawServer(refuse) as server:
            pool = server.pool()
            response = await pool.request(b"POST / HTTP/1.1\r\nhost: u\r\ntransfer-encoding: chunked\r\n\r\n", body())
            assert stopped.is_set()
            assert (response.status, await response.read_all(LIMIT)) == (413, b"too big")
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
def test_an_early_answer_is_read_although_the_next_write_fails_first(run: Runner) -> None:
    """The upstream refuses and is gone between two turns of the client's loop, which then writes before it reads."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    async def body() -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        yield b"x" * 1000
        upstream, _ = await loop.sock_accept(listener)
        await loop.sock_recv(upstream, 10)
        upstream.sendall(REFUSAL)
        upstream.close()  # with request bytes unread: a reset
        yield b"x" * 1000

    async def main() -> None:
        pool = Pool(Origin("http", "127.0.0.1", listener.getsockname()[1]), Limits())
        response = await pool.request(b"POST / HTTP/1.1\r\nhost: u\r\ncontent-length: 3000\r\n\r\n", body())
        assert (response.status, await response.read_all(LIMIT)) == (413, b"too big")
        await until(lambda: pool.busy == 0)
        await pool.close()

    with listener:
        run(main())
