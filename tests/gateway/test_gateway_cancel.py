"""A client that goes away, at every point of an exchange: its upstream is let go, its Record says 499, nothing is left.

`serving` itself makes sure, in every test, that no connection is busy and no place in the retry budget is taken when it
is left, and `run` that no task is.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from tests.gateway.provider import (
    BLOCK,
    EVENTS,
    HELLO,
    MESSAGE,
    MODEL,
    START,
    Nowhere,
    Turn,
    Upstream,
    answers,
    error_body,
    head,
)
from tests.gateway.support import (
    Client,
    Running,
    ask,
    asked,
    provider,
    providers,
    request,
    run,
    serving,
)
from tests.upstream.rawserver import until

streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def gone(gateway: Running) -> dict[str, object]:
    """The one Record, of a client that went away."""
    (record,) = gateway.records
    assert record["status"] == 499
    assert "error_kind" not in record
    return record


@streamed
def test_while_the_request_is_being_sent(stream: bool) -> None:
    async def main() -> None:
        async with Upstream() as a:
            async with serving(providers(a)) as gateway, await Client.open(gateway) as client:
                data = request(asked(stream=stream), "/v1/messages")
                await client.write(data[:-10])
                await until(lambda: gateway.app.gateway.budget.in_flight == 1)
                client.cut()
                await gateway.quiet()
            assert gone(gateway)["route"] == "messages"
            assert a.seen == []

    run(main())


@streamed
def test_while_the_upstream_is_being_connected(stream: bool) -> None:
    async def main() -> None:
        # A listener whose queue is full takes no connection and refuses none.
        with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for filler in (first, second):
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            config = {"providers": {"a": provider(f"http://127.0.0.1:{listener.getsockname()[1]}")}}
            async with serving(config) as gateway:
                pool = gateway.app.gateway.upstreams["a"].pool
                await until(lambda: pool.busy == 1)  # that is the list of models
                async with await Client.open(gateway) as client:
                    await client.send(asked(stream=stream))
                    await until(lambda: pool.busy == 2)
                    client.cut()
                    await until(lambda: pool.busy == 1)
                await gateway.app.gateway.catalog.close()
            record = gone(gateway)
            assert [attempt["outcome"] for attempt in record["attempts"]] == ["cancelled"]  # type: ignore[attr-defined]

    run(main())


@streamed
def test_while_waiting_for_a_connection(stream: bool) -> None:
    async def main() -> None:
        async with Upstream() as a:
            async with (
                serving(providers(a, max_connections=1)) as gateway,
                await Client.open(gateway) as first,
                await Client.open(gateway) as second,
            ):
                await first.send(asked())
                turn = await a.turn()
                pool = gateway.app.gateway.upstreams["a"].pool
                await second.send(asked(stream=stream))
                await until(lambda: pool.waiting == 1)
                second.cut()
                await until(lambda: pool.waiting == 0)
                await turn.answer()
                assert (await first.reply()).status == 200
            assert [record["status"] for record in gateway.records] == [499, 200]
            assert len(a.seen) == 1

    run(main())


async def _head_awaited(turn: Turn) -> None:
    """The upstream has the request and says nothing."""


async def _half_a_head(turn: Turn) -> None:
    await turn.say(b"HTTP/1.1 200 OK\r\ncontent-ty")


async def _no_content_yet(turn: Turn) -> None:
    await turn.begin()
    await turn.chunk(START)


async def _half_a_body(turn: Turn) -> None:
    await turn.say(head(200, [(b"content-type", b"application/json"), (b"content-length", b"500")]), b'{"type":')


async def _half_an_error(turn: Turn) -> None:
    await turn.say(head(529, [(b"content-type", b"application/json"), (b"content-length", b"500")]), b'{"type":')


@streamed
@pytest.mark.parametrize("begin", [_head_awaited, _half_a_head, _no_content_yet, _half_a_body, _half_an_error])
def test_before_anything_has_been_answered(begin: Callable[[Turn], Awaitable[None]], stream: bool) -> None:
    async def main() -> None:
        async with Upstream() as a, Upstream() as b:
            async with serving(providers(a, b)) as gateway, await Client.open(gateway) as client:
                await client.send(asked(stream=stream, fallbacks=[f"b/{MODEL}"]))
                turn = await a.turn()
                await begin(turn)
                client.cut()
                await turn.gone()  # the upstream sees its connection close
                await gateway.quiet()
            record = gone(gateway)
            assert "usage" not in record
            assert b.seen == []

    run(main())


def test_in_the_middle_of_a_stream_with_what_has_been_used_so_far() -> None:
    async def main() -> None:
        async with Upstream() as a:
            config = providers(a) | {"prices": {f"a/{MODEL}": {"input": 1_000_000, "output": 1_000_000}}}
            async with serving(config) as gateway, await Client.open(gateway) as client:
                await client.send(asked(stream=True))
                turn = await a.turn()
                await turn.begin()
                await turn.chunk(START, BLOCK, HELLO)
                await (await client.head()).until(HELLO)
                client.cut()
                await turn.gone()
                await gateway.quiet()
            record = gone(gateway)
            usage = record["usage"]
            assert isinstance(usage, dict)
            assert (usage["input_tokens"], usage["output_tokens"]) == (10, 1)
            assert "usage_complete" not in record
            assert record["cost_usd"] == 11.0
            assert record["response_bytes"] == len(START + BLOCK + HELLO)

    run(main())


def test_in_the_middle_of_a_stream_while_the_client_takes_nothing() -> None:
    async def main() -> None:
        async with Upstream() as a:
            async with serving(providers(a)) as gateway, await Client.open(gateway) as client:
                await client.send(asked(stream=True))
                turn = await a.turn()
                await turn.begin()
                await turn.chunk(START, BLOCK)
                await (await client.head()).until(BLOCK)

                async def pour() -> None:
                    while True:
                        await turn.chunk(HELLO * 500)

                pouring = asyncio.create_task(pour())
                (connection,) = gateway.app.gateway.upstreams["a"].pool._connections
                await until(lambda: connection._reading.paused)
                client.cut()
                with pytest.raises(ConnectionError):
                    await pouring
                turn.over.set()
                await gateway.quiet()
            gone(gateway)

    run(main())


def test_between_the_last_event_and_the_end() -> None:
    async def main() -> None:
        async with Upstream() as a:
            async with serving(providers(a)) as gateway, await Client.open(gateway) as client:
                await client.send(asked(stream=True))
                turn = await a.turn()
                await turn.begin()
                await turn.chunk(*EVENTS)
                await (await client.head()).until(EVENTS[-1])
                client.cut()
                await turn.gone()
                await gateway.quiet()
            record = gone(gateway)
            assert (record["usage_complete"], record["stop_reason"]) == (True, "end_turn")

    run(main())


@streamed
def test_during_the_wait_before_another_try(stream: bool) -> None:
    async def main() -> None:
        play = answers(529, error_body(), (b"retry-after", b"50"))
        async with Upstream(play) as a:
            async with serving(providers(a)) as gateway, await Client.open(gateway) as client:
                await client.send(asked(stream=stream))
                await until(lambda: gateway.app.gateway.budget.retrying == 1)
                client.cut()
                await gateway.quiet()
            record = gone(gateway)
            assert [attempt["outcome"] for attempt in record["attempts"]] == ["529"]  # type: ignore[attr-defined]

    run(main())


def test_a_probe_whose_client_went_away_lets_the_next_one_probe() -> None:
    async def main() -> None:
        async with Upstream(answers(500, error_body(), (b"retry-after", b"99"))) as a:
            a.by_hand = True
            breaker = {"failures": 1, "pause_s": 0.01, "max_pause_s": 0.01}
            async with serving(providers(a, max_retries=0, breaker=breaker)) as gateway:
                assert (await ask(gateway, asked())).status == 500
                breakers = gateway.app.gateway.breakers
                loop = asyncio.get_running_loop()
                for _ in range(2):
                    await until(lambda: breakers.peek("a", MODEL, "messages", loop.time()) is None)
                    async with await Client.open(gateway) as client:
                        await client.send(asked())
                        turn = await a.turn()
                        assert breakers.peek("a", MODEL, "messages", loop.time()) is not None  # the probe is out
                        client.cut()
                        await turn.gone()
                        await gateway.quiet()

    run(main())


def test_a_client_that_leaves_while_another_s_probe_is_out_does_not_let_a_second_one_go() -> None:
    async def main() -> None:
        async with Upstream() as a:
            a.by_hand = True
            breaker = {"failures": 1, "pause_s": 0.01, "max_pause_s": 0.01}
            async with (
                serving(providers(a, max_retries=0, breaker=breaker)) as gateway,
                await Client.open(gateway) as old,
                await Client.open(gateway) as failing,
                await Client.open(gateway) as probing,
            ):
                breakers, loop = gateway.app.gateway.breakers, asyncio.get_running_loop()
                await old.send(asked())
                old_turn = await a.turn()
                await failing.send(asked())
                await (await a.turn()).answer(500, error_body(), (b"retry-after", b"99"))
                assert (await failing.reply()).status == 500
                await until(lambda: breakers.peek("a", MODEL, "messages", loop.time()) is None)
                await probing.send(asked())
                probe = await a.turn()
                old.cut()
                await old_turn.gone()
                await until(lambda: gateway.app.gateway.budget.in_flight == 1)
                assert breakers.peek("a", MODEL, "messages", loop.time()) is not None
                await probe.answer(200, MESSAGE)
                assert (await probing.reply()).status == 200
                assert breakers.peek("a", MODEL, "messages", loop.time()) is None

    run(main())


# Bodies that are streamed


def test_while_a_file_is_being_uploaded() -> None:
    async def main() -> None:
        async with Upstream() as a:
            async with serving(providers(a)) as gateway, await Client.open(gateway) as client:
                await client.write(
                    b"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=x\r\n"
                    b"content-length: 1000000\r\n\r\n--x\r\n"
                )
                turn = await a.raw_turn()
                assert await turn.line.reader.readexactly(5) == b"--x\r\n"
                client.cut()
                await turn.gone()
                await gateway.quiet()
            gone(gateway)

    run(main())


@pytest.mark.parametrize("path", ["/v1/files/file_1/content", "/v1/messages/batches/msgbatch_1/results"])
def test_while_a_file_is_being_downloaded(path: str) -> None:
    async def main() -> None:
        async with Upstream() as a:
            async with serving(providers(a)) as gateway, await Client.open(gateway) as client:
                await client.send(None, path)
                turn = await a.turn()
                await turn.begin(b"application/octet-stream")
                await turn.chunk(b"some of it")
                await (await client.head()).until(b"some of it")
                client.cut()
                await turn.gone()
                await gateway.quiet()
            gone(gateway)

    run(main())


# The other way round


def test_an_upstream_that_goes_away_while_a_client_waits_harms_no_other() -> None:
    async def main() -> None:
        async with (
            Upstream() as a,
            serving(providers(a, max_retries=0)) as gateway,
            await Client.open(gateway) as lost,
            await Client.open(gateway) as kept,
        ):
            await lost.send(asked(stream=True))
            first = await a.turn()
            await kept.send(asked(stream=True))
            second = await a.turn()
            await second.begin()
            first.reset()
            assert (await lost.reply()).status == 504
            await second.chunk(*EVENTS)
            await second.end()
            assert (await kept.reply()).body == b"".join(EVENTS)

    run(main())


def test_a_client_that_pipelines_and_leaves_takes_all_of_it_along() -> None:
    async def main() -> None:
        async with Upstream() as a:
            async with serving(providers(a)) as gateway, await Client.open(gateway) as client:
                await client.write(request(asked(), "/v1/messages") * 3)
                turn = await a.turn()
                client.cut()
                await turn.gone()
                await gateway.quiet()
            gone(gateway)
            assert len(a.seen) == 1

    run(main())


def test_nobody_to_talk_to_and_nobody_left_to_tell() -> None:
    async def main() -> None:
        with Nowhere() as nowhere:
            async with serving(providers(nowhere)) as gateway:
                for _ in range(5):
                    async with await Client.open(gateway) as client:
                        await client.send(asked(stream=True))
                await until(lambda: not gateway.app.service._shared.connections)
                await gateway.quiet()
        assert {record["status"] for record in gateway.records} <= {499, 504}
        assert len({record["request_id"] for record in gateway.records}) == len(gateway.records)

    run(main())
