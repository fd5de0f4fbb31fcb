"""Places, their queue, reuse, and what becomes of them when something goes wrong on the way."""

from __future__ import annotations

import asyncio
import socket

import pytest

from asbru.upstream.http1 import Limits, Origin, Pool, Response, UpstreamError
from tests.upstream.rawserver import OK, Line, RawServer, Runner, answering, post, run_on_each_loop, until

LIMIT = 2**20


class Valve:
    """A script that answers each request when the test says so, in the order in which they came."""

    def __init__(self, answer: bytes = OK) -> None:
        self.answer = answer
        self.pending: list[tuple[bytes, asyncio.Event]] = []

    async def __call__(self, line: Line) -> None:
        while True:
            request = await line.request()
            answer = asyncio.Event()
            self.pending.append((request, answer))
            await answer.wait()
            await line.say(self.answer)

    def open(self) -> bytes:
        """Answer the oldest request; gives its body."""
        request, answer = self.pending.pop(0)
        answer.set()
        return request.partition(b"\r\n\r\n")[2]


async def ask(pool: Pool, body: bytes = b"") -> Response:
    response = await pool.request(post(body), body)
    assert await response.read_all(LIMIT) == b"hello"
    return response


@run_on_each_loop
def test_the_most_recently_used_connection_serves(run: Runner) -> None:
    served_by: list[int] = []

    async def main() -> None:
        valve = Valve()

        async def upstream(line: Line) -> None:
            while True:
                await line.request()
                served_by.append(line.number)
                answer = asyncio.Event()
                valve.pending.append((b"", answer))
                await answer.wait()
                await line.say(OK)

        async with RawServer(upstream) as server:
            pool = server.pool()
            tasks = []
            for n in range(3):
                tasks.append(asyncio.ensure_future(ask(pool)))
                await until(lambda n=n: len(valve.pending) == n + 1)  # type: ignore[misc]  # the default binds n
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=3 waiting=0>"
            order = [valve.pending[n] for n in (2, 0, 1)]
            for (_, answer), task in zip(order, [tasks[2], tasks[0], tasks[1]], strict=True):
                answer.set()
                await task
            valve.pending.clear()
            assert repr(pool) == f"<Pool {server.origin} idle=3 busy=0 waiting=0>"
            served_by.clear()
            for _ in range(3):
                task = asyncio.ensure_future(ask(pool))
                await until(lambda: len(valve.pending) == 1)
                valve.open()
                await task
            assert served_by == [1, 1, 1]
            assert server.accepted == 3
            await pool.close()

    run(main())


@run_on_each_loop
def test_waiters_are_served_in_turn(run: Runner) -> None:
    async def main() -> None:
        valve = Valve()
        async with RawServer(valve) as server:
            pool = server.pool(max_connections=2)
            tasks = []
            for n in range(6):
                tasks.append(asyncio.ensure_future(ask(pool, b"%d" % n)))
                await asyncio.sleep(0)
            await until(lambda: len(valve.pending) == 2)
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=2 waiting=4>"
            seen: list[bytes] = []
            while len(seen) < 6:
                await until(lambda: bool(valve.pending))
                seen.append(valve.open())
            await asyncio.gather(*tasks)
            assert sorted(seen[:2]) == [b"0", b"1"]
            assert seen[2:] == [b"2", b"3", b"4", b"5"]
            assert server.accepted == 2
            assert repr(pool) == f"<Pool {server.origin} idle=2 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_place_that_becomes_free_is_the_next_waiters(run: Runner) -> None:
    """The connection is not reusable: the waiter gets its place, and dials."""

    async def main() -> None:
        async with RawServer(answering(b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello")) as server:
            pool = server.pool(max_connections=1)
            await asyncio.gather(*(ask(pool) for _ in range(5)))
            assert server.accepted == 5
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_dial_that_fails_lets_the_next_waiter_try(run: Runner) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        pool = Pool(Origin("http", "127.0.0.1", port), Limits(max_connections=1))
        outcomes = await asyncio.gather(*(ask(pool) for _ in range(5)), return_exceptions=True)
        assert [outcome.kind for outcome in outcomes if isinstance(outcome, UpstreamError)] == ["connect"] * 5
        assert repr(pool) == f"<Pool http://127.0.0.1:{port} idle=0 busy=0 waiting=0>"
        await pool.close()

    run(main())


@run_on_each_loop
def test_too_many_waiters(run: Runner) -> None:
    async def main() -> None:
        valve = Valve()
        async with RawServer(valve) as server:
            pool = server.pool(max_connections=1, max_waiters=1)
            first, second = asyncio.ensure_future(ask(pool)), asyncio.ensure_future(ask(pool))
            await until(lambda: bool(valve.pending))
            with pytest.raises(UpstreamError) as caught:
                await ask(pool)
            assert (caught.value.kind, caught.value.responded) == ("no_connection", False)
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=1 waiting=1>"
            valve.open()
            await first
            await until(lambda: bool(valve.pending))
            valve.open()
            await second
            await pool.close()

    run(main())


@run_on_each_loop
@pytest.mark.parametrize("kind", ["wait_timeout", "deadline"])
def test_waiting_too_long(run: Runner, kind: str) -> None:
    async def main() -> None:
        valve = Valve()
        async with RawServer(valve) as server:
            pool = server.pool(max_connections=1, wait_s=0.02 if kind == "wait_timeout" else 10)
            first = asyncio.ensure_future(ask(pool))
            await until(lambda: bool(valve.pending))
            deadline = asyncio.get_running_loop().time() + (0.02 if kind == "deadline" else 10)
            with pytest.raises(UpstreamError) as caught:
                await pool.request(post(), deadline=deadline)
            assert (caught.value.kind, caught.value.responded) == (kind, False)
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=1 waiting=0>"
            valve.open()
            await first
            assert repr(pool) == f"<Pool {server.origin} idle=1 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_place_does_not_go_to_a_waiter_whose_time_is_up(run: Runner) -> None:
    """Its time ends, and in the same turn a place becomes free: the next one gets it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        async with RawServer(answering(chunked), answering(OK)) as server:
            pool = server.pool(max_connections=1)
            first = await pool.request(post())
            deadline = loop.time() + 0.05
            late = asyncio.ensure_future(pool.request(post(), deadline=deadline))
            await asyncio.sleep(0)
            loop.call_at(deadline, first.close)
            following = asyncio.ensure_future(ask(pool))
            await asyncio.wait([late, following])
            assert following.exception() is None
            error = late.exception()
            assert isinstance(error, UpstreamError)
            assert error.kind == "deadline"
            assert repr(pool) == f"<Pool {server.origin} idle=1 busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
def test_a_cancelled_waiter_loses_nothing(run: Runner) -> None:
    async def main() -> None:
        valve = Valve()
        async with RawServer(valve) as server:
            pool = server.pool(max_connections=1)
            first, second, third = (asyncio.ensure_future(ask(pool)) for _ in range(3))
            await until(lambda: bool(valve.pending))
            assert pool.waiting == 2
            second.cancel()
            await asyncio.wait([second])
            assert pool.waiting == 1
            valve.open()
            await first
            await until(lambda: bool(valve.pending))
            valve.open()
            await third
            assert repr(pool) == f"<Pool {server.origin} idle=1 busy=0 waiting=0>"
            await pool.close()

    run(main())


ONCE = b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello"
"""After this answer the connection is closed."""


@run_on_each_loop
@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("answer", [OK, ONCE], ids=["connection", "place"])
def test_a_waiter_cancelled_in_the_turn_in_which_it_is_served_passes_it_on(
    run: Runner, others: int, answer: bytes
) -> None:
    async def main() -> None:
        valve = Valve(answer)
        async with RawServer(valve) as server:
            pool = server.pool(max_connections=1)
            first = asyncio.ensure_future(ask(pool))
            await until(lambda: len(valve.pending) == 1)
            tasks = [asyncio.ensure_future(ask(pool)) for _ in range(1 + others)]
            await until(lambda: pool.waiting == 1 + others)
            valve.open()
            await until(lambda: pool.waiting == others)
            assert not first.done()  # so the one that was just served has not had its turn either
            tasks[0].cancel()
            if others:
                await until(lambda: len(valve.pending) == 1)
                valve.open()
            await asyncio.wait([first, *tasks])
            assert [task.cancelled() for task in tasks] == [True, False][: 1 + others]
            assert repr(pool) == f"<Pool {server.origin} idle={int(answer == OK)} busy=0 waiting=0>"
            await pool.close()

    run(main())


@run_on_each_loop
def test_close_ends_everything(run: Runner) -> None:
    async def main() -> None:
        valve = Valve()
        async with RawServer(valve) as server:
            pool = server.pool(max_connections=3)
            chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            waits = asyncio.ensure_future(ask(pool))
            await until(lambda: len(valve.pending) == 1)
            valve.open()
            await waits  # leaves an idle connection
            async with RawServer(answering(chunked)) as other:
                streaming_pool = other.pool()
                response = await streaming_pool.request(post())
                reading = asyncio.ensure_future(response.read())
                await asyncio.sleep(0)
                await streaming_pool.close()
                with pytest.raises(UpstreamError):
                    await reading
                assert repr(streaming_pool) == f"<Pool {other.origin} idle=0 busy=0 waiting=0 closed>"
                await other.scripts_done()
            tasks = [asyncio.ensure_future(ask(pool)) for _ in range(5)]
            await until(lambda: len(valve.pending) == 3)
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=3 waiting=2>"
            await pool.close()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            kinds = [outcome.kind for outcome in outcomes if isinstance(outcome, UpstreamError)]
            assert kinds == ["no_connection"] * 5
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0 closed>"
            with pytest.raises(UpstreamError) as caught:
                await ask(pool)
            assert caught.value.kind == "no_connection"
            await pool.close()

    run(main())


@run_on_each_loop
def test_close_during_a_dial(run: Runner) -> None:
    async def main() -> None:
        async with RawServer(answering(OK)) as server:
            pool = server.pool()
            task = asyncio.ensure_future(ask(pool))
            await asyncio.sleep(0)
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=1 waiting=0>"
            await pool.close()
            with pytest.raises(UpstreamError) as caught:
                await task
            assert caught.value.kind == "no_connection"
            assert repr(pool) == f"<Pool {server.origin} idle=0 busy=0 waiting=0 closed>"

    run(main())


@run_on_each_loop
def test_many_at_once(run: Runner) -> None:
    """Some finish, some are closed early, some are cancelled: every place comes back."""

    async def main() -> None:
        body = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        async with RawServer(answering(body, *[b"5\r\nhello\r\n"] * 5, b"0\r\n\r\n")) as server:
            pool = server.pool(max_connections=7)

            async def one(n: int) -> None:
                response = await pool.request(post())
                try:
                    for _ in range(n % 4):
                        await response.read()
                    if n % 3:
                        await response.read_all(LIMIT)
                finally:
                    response.close()

            tasks = [asyncio.ensure_future(one(n)) for n in range(200)]
            while not all(task.done() for task in tasks):
                await asyncio.sleep(0)
                for task in tasks[::5]:
                    if pool.waiting % 11 == 0:
                        task.cancel()
            assert all(task.cancelled() or task.exception() is None for task in tasks)
            assert repr(pool) == f"<Pool {server.origin} idle={pool.idle} busy=0 waiting=0>"
            assert 0 < pool.idle <= 7
            await pool.close()

    run(main())


def test_https_needs_a_context() -> None:
    with pytest.raises(ValueError, match="TLS context"):
        Pool(Origin("https", "example.com", 443), Limits())
