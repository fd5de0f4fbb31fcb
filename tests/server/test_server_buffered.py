"""What all clients together may have the server hold, and how slowly a body may come."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from asbru.config import Server
from asbru.server.exchange import Exchange, Handler
from tests.server.rawclient import LIMIT, Live, Peer, Runner, echo, post, run_on_each_loop, serving, until

BOUND = Server(max_buffered_bytes=1_000_000)
HALF = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n"


def held_bytes(live: Live) -> int:
    return live.service._shared.held.total_bytes


async def half_sent(live: Live, size_bytes: int) -> Peer:
    """A client that has sent so much of its body, and waits."""
    peer = await live.peer()
    before = held_bytes(live)
    await peer.send(HALF)
    await asyncio.sleep(0)
    for _ in range(0, size_bytes, 50_000):
        await peer.send(b"x" * 50_000)
    await until(lambda: held_bytes(live) >= before + size_bytes - 300_000)
    return peer


@run_on_each_loop
def test_bodies_are_bounded_together(run: Runner) -> None:
    async def main() -> None:
        async with serving(echo, BOUND) as live:
            first = await half_sent(live, 600_000)
            second = await live.peer()
            await second.send(HALF)
            for _ in range(16):
                await second.send(b"y" * 50_000)
            answer = await second.answer()
            assert (answer.status, answer.headers[b"x-asbru-reason"]) == (503, b"shed")
            assert answer.headers[b"retry-after"] == b"1"
            assert (await live.ask(post(b"small"))).status == 200  # what comes at once is not in the way
            await first.send(b"x" * 300_000)
            assert (await first.answer()).status == 200
            assert held_bytes(live) == 0
            assert (await live.ask(post(b"z" * 900_000))).status == 200
            assert held_bytes(live) == 0

    run(main())


@run_on_each_loop
def test_a_client_that_goes_away_holds_nothing(run: Runner) -> None:
    async def main() -> None:
        async with serving(echo, BOUND) as live:
            peer = await half_sent(live, 600_000)
            peer.writer.transport.abort()
            await until(lambda: held_bytes(live) == 0)
            behind = await live.peer()  # nor one whose next request waits for the first
            await behind.send(post(b"a") + HALF + b"x" * 400_000)
            await until(lambda: held_bytes(live) > 0)
            behind.writer.transport.abort()
            await until(lambda: held_bytes(live) == 0)

    run(main())


@run_on_each_loop
def test_what_is_inflated_counts(run: Runner) -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def holding(exchange: Exchange) -> None:
            body = await exchange.body(LIMIT)
            await go_on.wait()
            await exchange.respond(200, [], b"%d" % len(body))

        bomb = post(gzip.compress(b"x" * 700_000), b"Content-Encoding: gzip")
        async with serving(holding, BOUND) as live:
            first = await live.peer()
            await first.send(bomb)
            await until(lambda: held_bytes(live) == 700_000)
            assert (await live.ask(bomb)).status == 503
            assert held_bytes(live) == 700_000
            go_on.set()
            assert (await first.answer()).body == b"700000"
            assert held_bytes(live) == 0

    run(main())


@run_on_each_loop
def test_pieces_that_were_taken_are_not_held(run: Runner) -> None:
    async def main() -> None:
        taken: list[int] = []

        async def counting(exchange: Exchange) -> None:
            async for piece in exchange.pieces(LIMIT):
                taken.append(len(piece))  # noqa: PERF401
            await exchange.respond(200, [], b"%d" % sum(taken))

        async with serving(counting, Server(max_buffered_bytes=400_000)) as live:
            peer = await live.peer()
            await peer.send(HALF)
            for sent in range(18):
                await peer.send(b"x" * 50_000)
                await until(lambda: sum(taken) == 50_000 * (sent + 1))  # noqa: B023
                assert held_bytes(live) == 0
            assert (await peer.answer()).body == b"900000"

    run(main())


async def in_pieces(exchange: Exchange) -> None:
    async for _ in exchange.pieces(LIMIT):
        pass
    await exchange.respond(200, [], b"")


@run_on_each_loop
@pytest.mark.parametrize("handler", [echo, in_pieces])
def test_a_body_that_drips_is_given_up(run: Runner, handler: Handler) -> None:
    async def main() -> None:
        async with serving(handler, Server(body_timeout_s=0.2)) as live:
            peer = await live.peer()
            await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")

            async def drip() -> None:
                while True:
                    peer.writer.write(b"x")
                    await asyncio.sleep(0.02)

            dripping = asyncio.create_task(drip())
            answer = await peer.answer()
            dripping.cancel()
            assert (answer.status, answer.error) == (408, "timeout_error")

    run(main())
