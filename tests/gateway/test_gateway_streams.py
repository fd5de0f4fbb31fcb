"""Streams through the gateway: every byte, as it comes, however it is cut; pings in silence; backpressure.

Time is never waited for. Where a test needs some to pass, it reads a second stream until that has had its pings.
"""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from tests import grammar
from tests.gateway.provider import (
    BLOCK,
    BLOCK_STOP,
    DELTA,
    EVENTS,
    HELLO,
    MESSAGE,
    PING,
    START,
    STOP,
    WORLD,
    Play,
    Turn,
    Upstream,
    answers,
    event,
    streams,
)
from tests.gateway.support import (
    Client,
    Reply,
    Running,
    ask,
    asked,
    providers,
    run,
    serving,
)
from tests.upstream.rawserver import until

OUR_PING = b'event: ping\ndata: {"type": "ping"}\n\n'
assert OUR_PING == PING  # so they cannot be told apart, and are taken out together
PINGING = {"stream": {"ping_s": 0.01, "idle_s": 10}}


async def open_stream(gateway: Running, upstream: Upstream, client: Client) -> tuple[Turn, Reply]:
    """A stream that the client has read the first two events of; what follows is the test's."""
    await client.send(asked(stream=True))
    turn = await upstream.turn()
    await turn.begin()
    await turn.chunk(START, BLOCK)
    reply = await client.head()
    await reply.until(BLOCK)
    return turn, reply


# Bytes


def cut(data: bytes, rng: random.Random) -> list[bytes]:
    size = rng.choice([1, 7, 60, 400])
    pieces = []
    while data:
        count = rng.randint(1, size)
        pieces.append(data[:count])
        data = data[count:]
    return pieces


VARIANTS = {
    "plain": b"".join(EVENTS),
    "crlf": b"".join(EVENTS).replace(b"\n", b"\r\n"),
    "cr": b"".join(EVENTS).replace(b"\n", b"\r"),
    "bom": b"\xef\xbb\xbf" + b"".join(EVENTS),
    "comments": b": hello\n\n" + b": in between\n\nid: 7\nretry: 10\n".join(EVENTS),
    "two data lines": b"".join(EVENTS).replace(b'data: {"type": "content', b'data: {"type":\ndata: "content'),
    "unknown events": START + event("novelty", a=1) + b"".join(EVENTS[1:]),
    "a tail": b"".join(EVENTS) + b"\n\r\n",
}


@pytest.mark.parametrize("data", VARIANTS.values(), ids=VARIANTS.keys())
def test_the_bytes_of_a_stream_are_relayed_verbatim_for_any_split(data: bytes) -> None:
    async def main() -> None:
        rng = random.Random(1)
        async with Upstream() as a, serving(providers(a)) as gateway:
            for _ in range(8):
                async with await Client.open(gateway) as client:
                    await client.send(asked(stream=True))
                    turn = await a.turn()
                    await turn.begin()
                    await turn.chunk(*cut(data, rng))
                    await turn.end()
                    assert (await client.reply()).body == data
        assert all(record["usage"]["output_tokens"] == 5 for record in gateway.records)
        assert all(record["usage_complete"] for record in gateway.records)

    run(main())


@pytest.mark.parametrize("behind", [event("message_start", message={}), HELLO, b": x\n\n"])
@pytest.mark.parametrize("split", [False, True])
def test_what_comes_behind_the_end_is_cut_and_the_connection_closed(behind: bytes, split: bool) -> None:
    async def main() -> None:
        whole = b"".join(EVENTS)
        async with Upstream() as a, serving(providers(a)) as gateway, await Client.open(gateway) as client:
            await client.send(asked(stream=True))
            turn = await a.turn()
            await turn.begin()
            if split:
                await turn.chunk(whole)
                reply = await client.head()
                await reply.until(STOP)
                await turn.chunk(behind)
            else:
                await turn.chunk(whole + behind)
                reply = await client.head()
            assert (await reply.rest()).body == whole
            await turn.gone()
        assert gateway.records[0]["usage_complete"]

    run(main())


def test_each_event_arrives_before_the_next_is_sent() -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway, await Client.open(gateway) as client:
            turn, reply = await open_stream(gateway, a, client)
            for said in (HELLO, WORLD, BLOCK_STOP, DELTA, STOP):
                await turn.chunk(said)
                await reply.until(said)
            await turn.end()
            assert (await reply.rest()).body == START + BLOCK + HELLO + WORLD + BLOCK_STOP + DELTA + STOP

    run(main())


def test_one_read_of_many_events_is_one_chunk() -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a)) as gateway, await Client.open(gateway) as client:
            turn, reply = await open_stream(gateway, a, client)
            await turn.chunk(HELLO * 50)
            assert await reply.piece() == HELLO * 50
            await turn.chunk(WORLD, BLOCK_STOP, DELTA, STOP)
            await turn.end()
            await reply.rest()

    run(main())


def test_a_whole_answer_is_relayed_verbatim() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a, serving(providers(a)) as gateway:
            assert (await ask(gateway, asked())).body == MESSAGE

    run(main())


# Silence


def test_silence_is_filled_with_pings_before_the_content_and_within_it() -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a) | PINGING) as gateway, await Client.open(gateway) as client:
            await client.send(asked(stream=True))
            turn = await a.turn()
            await turn.begin()
            reply = await client.head()
            await reply.until(OUR_PING * 3)
            await turn.chunk(START)  # not yet content: what is held back is held back
            await reply.until(OUR_PING * 5)
            assert b"message_start" not in reply.body
            for said in EVENTS[1:]:
                await turn.chunk(said)
                await reply.until(said + OUR_PING * 2) if said != STOP else await reply.until(STOP)
            await turn.end()
            await reply.rest()
            stream = grammar.check(reply.body)
            assert stream.text() == "Hello, wörld"
            assert stream.pings > 15
            assert reply.body.replace(OUR_PING, b"") == b"".join(EVENTS).replace(PING, b"")

    run(main())


async def time_passes(gateway: Running, upstream: Upstream) -> None:
    """Returns when a stream that says nothing has had five pings."""
    async with await Client.open(gateway) as client:
        turn, reply = await open_stream(gateway, upstream, client)
        await reply.until(OUR_PING * 5)
    await turn.gone()


def test_no_ping_goes_out_inside_an_event() -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a) | PINGING) as gateway, await Client.open(gateway) as client:
            turn, reply = await open_stream(gateway, a, client)
            await turn.chunk(HELLO[:30])
            await reply.until(OUR_PING * 2)  # the half event is held back
            await turn.chunk(HELLO[30:], WORLD, BLOCK_STOP, DELTA, STOP)
            await turn.end()
            await reply.rest()
            assert reply.body.replace(OUR_PING, b"") == START + BLOCK + HELLO + WORLD + BLOCK_STOP + DELTA + STOP
            grammar.check(reply.body)

    run(main())


def test_no_ping_goes_out_inside_an_event_that_is_too_large_to_hold_back() -> None:
    async def main() -> None:
        large = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x" * 1_500_000})
        async with Upstream() as a, serving(providers(a) | PINGING) as gateway, await Client.open(gateway) as client:
            turn, reply = await open_stream(gateway, a, client)
            await turn.chunk(large[:1_200_000])
            while len(reply.read) < 1_200_000:
                await reply.piece()
            assert b'"text": "xxx' in reply.body  # so its head went out before its end came
            await time_passes(gateway, a)
            await turn.chunk(large[1_200_000:])
            await turn.chunk(WORLD, BLOCK_STOP, DELTA, STOP)
            await turn.end()
            await reply.rest()
            assert large in reply.body
            grammar.check(reply.body)

    run(main())


def test_no_ping_follows_the_end_of_a_message() -> None:
    async def main() -> None:
        async with Upstream() as a, serving(providers(a) | PINGING) as gateway, await Client.open(gateway) as client:
            turn, reply = await open_stream(gateway, a, client)
            await turn.chunk(BLOCK_STOP, DELTA, STOP)  # and the upstream does not end its response
            await reply.until(STOP)
            await time_passes(gateway, a)
            await turn.end()
            assert (await reply.rest()).body.endswith(STOP)

    run(main())


def test_no_ping_follows_the_upstreams_error_event() -> None:
    async def main() -> None:
        late = event("error", error={"type": "api_error", "message": "late"})
        async with Upstream() as a, serving(providers(a) | PINGING) as gateway, await Client.open(gateway) as client:
            turn, reply = await open_stream(gateway, a, client)
            await turn.chunk(late)
            await reply.until(late)
            await time_passes(gateway, a)
            await turn.end()
            assert (await reply.rest()).body.endswith(late)

    run(main())


def test_a_stream_that_is_silent_for_too_long_ends_with_an_error() -> None:
    async def main() -> None:
        limits = {"stream": {"ping_s": 0.02, "idle_s": 0.1}}
        async with Upstream() as a, serving(providers(a) | limits) as gateway, await Client.open(gateway) as client:
            turn, reply = await open_stream(gateway, a, client)
            await reply.rest()
            await turn.gone()
        stream = grammar.check(reply.body, error=True)
        assert (stream.error or {})["type"] == "timeout_error"
        assert stream.pings >= 1
        assert gateway.records[0]["error_kind"] == "upstream_timeout"

    run(main())


# Backpressure


def test_a_slow_client_stops_the_upstream_and_loses_nothing() -> None:
    async def main() -> None:
        big = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x" * 60_000})
        count = 800
        async with Upstream() as a, serving(providers(a)) as gateway, await Client.open(gateway) as client:
            turn, reply = await open_stream(gateway, a, client)

            async def pour() -> None:
                for _ in range(count):
                    await turn.chunk(big)
                await turn.chunk(BLOCK_STOP, DELTA, STOP)
                await turn.end()

            pouring = asyncio.create_task(pour())
            (connection,) = gateway.app.gateway.upstreams["a"].pool._connections
            await until(lambda: connection._reading.paused or pouring.done())
            assert not pouring.done(), f"{count * len(big)} bytes were taken while the client read none"
            await reply.rest()
            await pouring
            assert reply.body == START + BLOCK + big * count + BLOCK_STOP + DELTA + STOP

    run(main())


def test_a_client_that_takes_nothing_is_cut_off_and_its_upstream_let_go() -> None:
    async def main() -> None:
        async with Upstream() as a:
            config = providers(a) | {"server": {"write_timeout_s": 0.05}}
            async with serving(config) as gateway, await Client.open(gateway) as client:
                turn, _ = await open_stream(gateway, a, client)

                async def pour() -> None:
                    while True:
                        await turn.chunk(HELLO * 1000)

                with pytest.raises(ConnectionError):
                    await pour()
                turn.over.set()
                await gateway.quiet()
            assert gateway.records[0]["status"] == 499

    run(main())


# Answers of the other kind


def test_a_provider_that_cannot_stream_is_given_as_a_stream() -> None:
    async def main() -> None:
        async with Upstream(answers()) as a:
            async with serving(providers(a)) as gateway:
                reply = await ask(gateway, asked(stream=True))
            assert reply.value(b"content-type") == "text/event-stream; charset=utf-8"
            stream = grammar.check(reply.body)
            assert stream.message == json.loads(MESSAGE)
            assert gateway.records[0]["usage_complete"] is True

    run(main())


def test_a_provider_that_can_only_stream_is_given_whole() -> None:
    async def main() -> None:
        async with Upstream(streams()) as a:
            async with serving(providers(a)) as gateway:
                reply = await ask(gateway, asked())
            assert reply.value(b"content-type") == "application/json"
            assert reply.json == json.loads(MESSAGE)
            usage = gateway.records[0]["usage"]
            assert {name: count for name, count in usage.items() if count} == {"input_tokens": 10, "output_tokens": 5}

    run(main())


def test_the_error_of_a_provider_that_can_only_stream_has_its_status() -> None:
    async def main() -> None:
        error = event("error", error={"type": "rate_limit_error", "message": "slow down"})
        async with Upstream(streams(START, error)) as a, serving(providers(a, max_retries=0)) as gateway:
            reply = await ask(gateway, asked())
            assert reply.error[:2] == (429, "rate_limit_error")

    run(main())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "play",
    [
        answers(200, b"<html>welcome</html>", (b"content-type", b"text/html")),
        answers(200, b'{"type": "completion"}'),
        answers(200, b"[1, 2"),
        answers(200, b"\xff\xfe"),
        answers(200, b""),
        streams(b"event: message_start\ndata: []\n\n"),
    ],
    ids=["html", "no message", "broken", "no text", "empty", "no stream"],
)
def test_nonsense_with_a_200_is_a_502(play: Play, stream: bool) -> None:
    async def main() -> None:
        async with Upstream(play) as a, serving(providers(a)) as gateway:
            assert (await ask(gateway, asked(stream=stream))).error == (502, "api_error", None)

    run(main())


def test_a_legacy_completions_stream_is_relayed_unseen() -> None:
    async def main() -> None:
        data = b'event: completion\ndata: {"completion": "Hi", "stop_reason": null}\n\n' * 3
        async with Upstream(streams(data)) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, {"model": "m", "prompt": "x", "stream": True}, "/v1/complete")
            assert (reply.status, reply.body) == (200, data)
            assert a.seen[0].target == b"/v1/complete"

    run(main())


@pytest.mark.parametrize("theirs", [(), ((b"cache-control", b"no-store"),)], ids=["neither", "their own"])
def test_proxies_are_told_not_to_hold_a_stream_back(theirs: tuple[tuple[bytes, bytes], ...]) -> None:
    async def main() -> None:
        async with Upstream(streams(headers=[*theirs])) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, asked(stream=True))
        assert reply.value(b"x-accel-buffering") == "no"
        assert reply.value(b"cache-control") == ("no-store" if theirs else "no-cache")

    run(main())
