"""Request bodies, in one go and in pieces, and upstreams that do not take them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from asbru.upstream.http1 import UpstreamError
from tests.upstream.rawserver import OK, Line, RawServer, Runner, answering, post, run_on_each_loop

LIMIT = 2**26

CHUNKED_REQUEST = b"POST /v1/files HTTP/1.1\r\nhost: u\r\nTransfer-Encoding: chunked\r\n\r\n"


def sized_request(length: int) -> bytes:
    return b"POST /v1/files HTTP/1.1\r\nhost: u\r\nContent-Length: %d\r\n\r\n" % length


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@run_on_each_loop
@pytest.mark.parametrize("size_bytes", [0, 1, 16_383, 16_384, 5_000_000])
def test_a_body_arrives_behind_its_head(run: Runner, size_bytes: int) -> None:
    body = bytes(n % 251 for n in range(1000)) * (size_bytes // 1000 + 1)
    body = body[:size_bytes]
    seen: list[bytes] = []

    async def upstream(line: Line) -> None:
        while True:
            seen.append(await line.request())
            await line.say(OK)

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            for _ in range(2):
                response = await pool.request(post(body), body)
                assert await response.read_all(LIMIT) == b"hello"
            assert seen == [post(body) + body] * 2
            assert server.accepted == 1
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_chunked_body_is_framed(run: Runner) -> None:
    seen: list[bytes] = []

    async def upstream(line: Line) -> None:
        while True:
            seen.append(await line.request())
            await line.say(OK)

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            for _ in range(2):
                response = await pool.request(CHUNKED_REQUEST, pieces_of(b"hello", b"", b"x" * 17))
                assert await response.read_all(LIMIT) == b"hello"
            await pool.close()
        assert seen == [CHUNKED_REQUEST + b"5\r\nhello\r\n11\r\n" + b"x" * 17 + b"\r\n0\r\n\r\n"] * 2

    run(main())


@run_on_each_loop
def test_a_body_in_pieces_never_meets_a_stale_connection(run: Runner) -> None:
    async def stale(line: Line) -> None:
        await line.request()
        await line.say(OK)
        await line.request_head()
        line.reset()

    async def main() -> None:
        async with RawServer(stale, answering(OK)) as server:
            pool = server.pool(max_connections=1)
            await (await pool.request(post())).read_all(LIMIT)
            response = await pool.request(sized_request(5), pieces_of(b"hello"))
            assert await response.read_all(LIMIT) == b"hello"
            assert repr(pool) == f"<Pool {server.origin} idle=1 busy=0 waiting=0>"
            response = await pool.request(post())  # others go on using what it left
            assert (response.reused, await response.read_all(LIMIT)) == (True, b"hello")
            assert server.accepted == 2
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_sized_body_in_pieces(run: Runner) -> None:
    seen: list[bytes] = []

    async def upstream(line: Line) -> None:
        seen.append(await line.request())
        await line.say(OK)

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            response = await pool.request(sized_request(7), pieces_of(b"hel", b"", b"lo", b"!!"))
            assert await response.read_all(LIMIT) == b"hello"
            await pool.close()
        assert seen == [sized_request(7) + b"hello!!"]

    run(main())


@run_on_each_loop
@pytest.mark.parametrize(("declared", "message"), [(6, "longer than the 6"), (8, "after 7 of the 8")])
def test_a_body_that_is_not_as_long_as_declared(run: Runner, declared: int, message: str) -> None:
    async def main() -> None:
        async with RawServer(answering(OK)) as server:
            pool = server.pool()
            with pytest.raises(ValueError, match=message):
                await pool.request(sized_request(declared), pieces_of(b"hello", b"!!"))
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await server.scripts_done()
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_body_in_pieces_needs_a_declared_framing(run: Runner) -> None:
    async def main() -> None:
        async with RawServer(answering(OK)) as server:
            pool = server.pool()
            with pytest.raises(ValueError, match="must declare"):
                await pool.request(b"POST / HTTP/1.1\r\nhost: u\r\n\r\n", pieces_of(b"x"))
            assert server.accepted == 0
            await pool.close()

    run(main())


@run_on_each_loop
def test_what_the_body_raises_comes_out(run: Runner) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"hello"
        raise LookupError("the client sent nonsense")

    async def main() -> None:
        async with RawServer(answering(OK)) as server:
            pool = server.pool()
            with pytest.raises(LookupError, match="nonsense"):
                await pool.request(CHUNKED_REQUEST, body())
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await server.scripts_done()  # the upstream sees the connection end, not the body
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_body_that_cancels_itself_cancels_the_request(run: Runner) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"hello"
        raise asyncio.CancelledError

    async def main() -> None:
        async with RawServer(answering(OK)) as server:
            pool = server.pool()
            with pytest.raises(asyncio.CancelledError):
                await pool.request(CHUNKED_REQUEST, body())
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_body_waits_for_an_upstream_that_does_not_read(run: Runner) -> None:
    taken = 0
    may_read = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(400):
            taken += 1
            yield b"x" * 100_000

    async def upstream(line: Line) -> None:
        line.deaf()
        await may_read.wait()
        line.hear()
        await answering(OK)(line)

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            task = asyncio.ensure_future(pool.request(CHUNKED_REQUEST, body()))
            before = -1
            while taken == 0 or taken != before:  # until it stands still
                before = taken
                for _ in range(50):
                    await asyncio.sleep(0)
            assert taken < 400
            may_read.set()
            response = await task
            assert (taken, await response.read_all(LIMIT)) == (400, b"hello")
            assert repr(pool) == f"<Pool {server.origin} idle=1 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_body_that_never_waits_ends_with_the_connection(run: Runner) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000

    async def upstream(line: Line) -> None:
        await line.request_head()
        line.reset()

    async def main() -> None:
        async with RawServer(upstream) as server:
            pool = server.pool()
            with pytest.raises(UpstreamError) as caught:
                await pool.request(CHUNKED_REQUEST, endless())
            assert caught.value.kind == "reset"
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await pool.close()

    run(main())
