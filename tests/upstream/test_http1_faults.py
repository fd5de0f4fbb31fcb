"""Connections that break, stall or end early, and requests that are cancelled, over a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from asbru.upstream.http1 import Limits, Origin, Pool, UpstreamError
from tests.upstream.rawserver import GET, OK, Line, RawServer, Runner, answering, post, run_on_each_loop, until

LIMIT = 2**20
REFUSAL = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 7\r\n\r\ntoo big"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def closes(line: Line) -> None:
    line.close()


async def ends(line: Line) -> None:
    line.end()
    await line.gone()


async def resets(line: Line) -> None:
    line.reset()


WAYS_TO_GO = pytest.mark.parametrize("go", [closes, ends, resets])


# ---- the connection breaks


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
    "said", [b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello", CHUNKED + b"5\r\nhello\r\n", CHUNKED + b"6\r\nhello"]
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


# ---- a reused connection breaks


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
        async with RawServer(once_then(resets), answering(OK)) as server:
            pool = server.pool()
            await (await pool.request(post())).read_all(LIMIT)
            with pytest.raises(UpstreamError) as caught:
                await pool.request(post(b"{}"), body())
            assert (caught.value.kind, caught.value.responded) == ("reset", False)
            assert server.accepted == 1
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


# ---- time


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


# ---- early answers


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


# ---- cancellation


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # one call, and no Path per entry


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to count open files")


async def cancelled_at_every_turn(
    server: RawServer, scenario: Callable[[Pool], Awaitable[None]], context: ssl.SSLContext | None = None
) -> int:
    """Run the scenario, cancelled after 0, 1, 2, … turns of the loop until it gets to its end; gives the turns."""
    turns = 0
    while True:
        pool = Pool(server.origin, Limits(max_connections=2), ssl_context=context)
        task = asyncio.ensure_future(scenario(pool))
        for _ in range(turns):
            await asyncio.sleep(0)
        ended = task.done()
        task.cancel()
        await asyncio.wait([task])
        if ended:
            await task
        assert repr(pool) == f"<Pool {server.origin} idle={pool.idle} busy=0 waiting=0>", f"after {turns} turns"
        if not ended:
            # What the cancelled request left must serve the next one.
            response = await pool.request(GET)
            assert await response.read_all(LIMIT) == b"hello"
        await pool.close()
        if ended:
            return turns
        turns += 1


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
