"""Connections that break in every place, fresh and reused, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from asbru.upstream.http1 import UpstreamError
from tests.upstream.rawserver import (
    OK,
    Line,
    RawServer,
    Runner,
    answering,
    closes,
    ends,
    post,
    resets,
    run_on_each_loop,
    until,
)

LIMIT = 2**20
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


WAYS_TO_GO = pytest.mark.parametrize("go", [closes, ends, resets])


@run_on_each_loop
@WAYS_TO_GO
@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\ncontent-len", b"HTTP/1.1 100 Continue\r\n\r\n"]
)
def test_lost_before_or_within_the_head(run: Runner, go: Callable[[Line], Awaitable[None]], said: bytes) -> None:
    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(said)
        await go(line)

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            with pytest.raises(UpstreamError) as caught:
                await pool.request(post(b"{}"), b"{}")
            # A reset may overtake what was said before it, as on any network.
            assert caught.value.kind == "reset"
            assert caught.value.responded == bool(said) or (go is resets and not caught.value.responded)
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            assert server.accepted == 1
            await pool.close()

    run(main())


@run_on_each_loop
@WAYS_TO_GO
@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"6\r\nhello",
    ],
)
def test_lost_within_the_body(run: Runner, go: Callable[[Line], Awaitable[None]], said: bytes) -> None:
    has_read = asyncio.Event()

    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(said)
        await has_read.wait()
        await go(line)

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            response = await pool.request(post(b"{}"), b"{}")
            assert await response.read() == b"hello"
            has_read.set()
            for _ in range(2):
                with pytest.raises(UpstreamError) as caught:
                    await response.read()
                assert (caught.value.kind, caught.value.responded) == ("reset", True)
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
def test_what_came_before_the_loss_is_given_first(run: Runner) -> None:
    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(CHUNKED + b"5\r\nhello\r\n")
        line.close()

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            response = await pool.request(post(b"{}"), b"{}")
            await until(lambda: pool.busy == 0)
            assert await response.read() == b"hello"
            with pytest.raises(UpstreamError):
                await response.read()
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_reset_does_not_make_a_body_to_the_end_complete(run: Runner) -> None:
    has_read = asyncio.Event()

    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await has_read.wait()
        line.reset()

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            response = await pool.request(post())
            assert await response.read() == b"hello"
            has_read.set()
            with pytest.raises(UpstreamError) as caught:
                await response.read()
            assert caught.value.kind == "reset"
            await pool.close()

    run(main())


def once_then(go: Callable[[Line], Awaitable[None]], said: bytes = b"") -> Callable[[Line], Awaitable[None]]:
    """Answers one request and takes the next, to which it says ``said`` and goes."""

    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(OK)
        await line.request_head()
        await line.say(said)
        await go(line)

    return upstream


@run_on_each_loop
@WAYS_TO_GO
def test_a_stale_connection_is_replaced_once(run: Runner, go: Callable[[Line], Awaitable[None]]) -> None:
    async def main() -> None:
        async with RawServer(once_then(go), answering(OK)) as server:
            pool = server.pool(max_connections=1)
            for reused in (False, False, True):
                response = await pool.request(post(b"{}"), b"{}")
                assert (response.reused, await response.read_all(LIMIT)) == (reused, b"hello")
            assert server.accepted == 2
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_stale_connection_is_not_replaced_twice(run: Runner) -> None:
    async def upstream(line: Line) -> None:
        await line.request()
        line.reset()

    async def main() -> None:
        async with RawServer(once_then(resets), upstream) as server:
            pool = server.pool()
            await (await pool.request(post())).read_all(LIMIT)
            with pytest.raises(UpstreamError) as caught:
                await pool.request(post())
            assert (caught.value.kind, caught.value.responded) == ("reset", False)
            assert server.accepted == 2
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_reused_connection_that_had_begun_to_answer_is_not_replaced(run: Runner) -> None:
    async def main() -> None:
        async with RawServer(once_then(ends, b"HTTP/1.1 100 Continue\r\n\r\n"), answering(OK)) as server:
            pool = server.pool()
            await (await pool.request(post())).read_all(LIMIT)
            with pytest.raises(UpstreamError) as caught:
                await pool.request(post())
            assert (caught.value.kind, caught.value.responded) == ("reset", True)
            assert server.accepted == 1
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_body_in_pieces_cannot_be_sent_again(run: Runner) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"{}"

    async def main() -> None:
        async with RawServer(once_then(answering(OK)), resets) as server:
            pool = server.pool()
            await (await pool.request(post())).read_all(LIMIT)
            with pytest.raises(UpstreamError) as caught:
                await pool.request(post(b"{}"), body())
            assert (caught.value.kind, caught.value.responded) == ("reset", False)
            assert server.accepted == 2
            await pool.close()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("said", [None, b"x", b"\r\n", OK, b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
def test_an_idle_connection_that_says_anything_or_ends_is_dropped(run: Runner, said: bytes | None) -> None:
    idle = asyncio.Event()

    async def upstream(line: Line) -> None:
        await line.request()
        await line.say(OK)
        await idle.wait()
        if said is None:
            line.end()
        else:
            await line.say(said)
        await line.gone()

    async def main() -> None:
        async with RawServer(upstream, answering(OK)) as server:
            pool = server.pool()
            await (await pool.request(post())).read_all(LIMIT)
            assert pool.idle == 1
            idle.set()
            await until(lambda: pool.idle == 0)
            response = await pool.request(post())
            assert (response.reused, server.accepted) == (False, 2)
            await pool.close()

    run(main())
