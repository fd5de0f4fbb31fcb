"""A stream is committed at its first content event: before it another candidate may take over, after it never.

Whatever happens, what the client gets is one valid stream (tests/grammar.py) or one plain error, never a mixture.
"""

from __future__ import annotations

import pytest

from asbru.heartbeat import PING as OUR_PING
from tests import grammar
from tests.gateway.provider import (
    BLOCK,
    EVENT_STREAM,
    EVENTS,
    HELLO,
    MESSAGE,
    MODEL,
    PING,
    START,
    Play,
    Turn,
    Upstream,
    answers,
    error_body,
    error_event,
    event,
    head,
    resets,
    streams,
)
from tests.gateway.support import (
    Client,
    Reply,
    ask,
    asked,
    providers,
    run,
    serving,
)

OPENED = head(200, [(b"content-type", EVENT_STREAM), (b"transfer-encoding", b"chunked")])
FALLBACK = [f"b/{MODEL}"]
BEFORE_CONTENT = {"nothing": (), "start": (START,), "ping": (PING,), "start and ping": (START, PING)}
before_content = pytest.mark.parametrize("said", BEFORE_CONTENT.values(), ids=BEFORE_CONTENT.keys())


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


async def stalled(turn: Turn, *said: bytes) -> None:
    await turn.read()
    await turn.begin()
    await turn.chunk(*said)
    await turn.gone()


def stalls(*said: bytes) -> Play:
    return lambda turn: stalled(turn, *said)


@before_content
@pytest.mark.parametrize(
    ("type", "status"),
    [("overloaded_error", 529), ("rate_limit_error", 429), ("api_error", 500), ("invalid_request_error", 400)],
)
def test_an_early_error_event_leads_to_the_next_candidate(type: str, status: int, said: tuple[bytes, ...]) -> None:
    async def main() -> None:
        async with Upstream(streams(*said, error_event(type))) as a, Upstream(streams()) as b:
            async with serving(providers(a, b, max_retries=0)) as gateway:
                reply = await ask(gateway, asked(stream=True, fallbacks=FALLBACK))
            assert reply.body == b"".join(EVENTS)
            assert grammar.check(reply.body).text() == "Hello, wörld"
            assert reply.attempts == [f"a/{MODEL} {status}", f"b/{MODEL} 200"]

    run(main())


@before_content
def test_an_early_error_event_that_nobody_mends_is_a_plain_error(said: tuple[bytes, ...]) -> None:
    async def main() -> None:
        play = streams(*said, error_event("overloaded_error"), headers=[(b"request-id", b"req_theirs")])
        async with Upstream(play) as a, serving(providers(a, max_retries=0)) as gateway:
            reply = await ask(gateway, asked(stream=True))
            assert (reply.status, reply.body) == (529, error_body("overloaded_error"))
            assert reply.value(b"content-type") == "application/json"
            assert reply.value(b"request-id") == "req_theirs"

    run(main())


@before_content
@pytest.mark.parametrize(("how", "outcome"), [("reset", "reset"), ("end", "protocol"), ("silence", "idle_timeout")])
def test_a_stream_that_breaks_before_its_content_leads_to_the_next_candidate(
    how: str, outcome: str, said: tuple[bytes, ...]
) -> None:
    async def main() -> None:
        plays = {"reset": resets(OPENED, chunks(*said)), "silence": stalls(*said), "end": streams(*(said or (b"\n",)))}
        async with Upstream(plays[how]) as a, Upstream(streams()) as b:
            config = providers(a, b, timeouts={"idle_s": 0.04})
            async with serving(config) as gateway:
                reply = await ask(gateway, asked(stream=True, fallbacks=FALLBACK))
            grammar.check(reply.body)
            assert reply.body.count(b"event: message_start") == 1
            assert reply.attempts == [f"a/{MODEL} {outcome}", f"b/{MODEL} 200"]

    run(main())


@pytest.mark.parametrize("said", [(START, BLOCK), (START, BLOCK, HELLO), EVENTS[:-1]], ids=["block", "delta", "end"])
@pytest.mark.parametrize("how", ["reset", "end", "silence", "garbage", "inside an event"])
def test_after_the_first_content_a_break_is_one_error_event(how: str, said: tuple[bytes, ...]) -> None:
    async def main() -> None:
        plays = {
            "reset": resets(OPENED, chunks(*said)),
            "end": streams(*said),
            "silence": stalls(*said),
            "garbage": resets(OPENED, chunks(*said), b"this is no chunk\r\n"),
            "inside an event": resets(OPENED, chunks(*said, HELLO[:-1])),
        }
        async with Upstream(plays[how]) as a, Upstream() as b:
            config = providers(a, b, timeouts={"idle_s": 0.04})
            async with serving(config) as gateway:
                reply = await ask(gateway, asked(stream=True, fallbacks=FALLBACK))
            assert b.seen == []
            assert reply.status == 200
            assert reply.body.startswith(b"".join(said))
            stream = grammar.check(reply.body, error=True)
            assert len(stream.events) == len(said) + 1
            assert stream.error is not None
            assert stream.error["type"] == ("timeout_error" if how == "silence" else "api_error")
            assert stream.events[-1]["request_id"] == reply.value(b"x-asbru-request-id")
            (record,) = gateway.records
            assert record["error_kind"] == ("upstream_timeout" if how == "silence" else "upstream_invalid")
            assert record["status"] == 200
            assert "usage_complete" not in record  # that is: false

    run(main())


def test_an_error_event_after_content_is_relayed_as_it_came() -> None:
    async def main() -> None:
        late = error_event("rate_limit_error")
        async with Upstream(streams(START, BLOCK, HELLO, late)) as a, Upstream() as b:
            async with serving(providers(a, b)) as gateway:
                reply = await ask(gateway, asked(stream=True, fallbacks=FALLBACK))
            assert reply.body == START + BLOCK + HELLO + late
            grammar.check(reply.body, error=True)
            assert b.seen == []

    run(main())


def test_a_break_after_the_upstreams_own_error_event_adds_nothing() -> None:
    async def main() -> None:
        late = error_event()
        async with Upstream(resets(OPENED, chunks(START, BLOCK, late))) as a, serving(providers(a)) as gateway:
            reply = await ask(gateway, asked(stream=True))
            assert reply.body == START + BLOCK + late

    run(main())


def test_a_break_after_message_stop_is_none() -> None:
    async def main() -> None:
        async with Upstream(resets(OPENED, chunks(*EVENTS))) as a:
            async with serving(providers(a)) as gateway:
                reply = await ask(gateway, asked(stream=True))
            assert reply.body == b"".join(EVENTS)
            assert gateway.records[0]["usage_complete"] is True

    run(main())


# A stream that our own ping had to open, before anything was known


async def opened_by_ping(first: Play, second: Play) -> Reply:
    """The reply to a stream that `a` keeps silent in long enough for a ping, and then loses; `b` takes over."""

    async def quiet_start(turn: Turn) -> None:
        await turn.read()
        await turn.begin()
        await first(turn)

    async with Upstream(quiet_start) as a, Upstream(second) as b:
        config = providers(a, b, max_retries=0, timeouts={"idle_s": 0.1}) | {"stream": {"ping_s": 0.01, "idle_s": 1}}
        async with serving(config) as gateway:
            reply = await ask(gateway, asked(stream=True, fallbacks=FALLBACK))
        assert (reply.status, reply.values(b"x-asbru-attempts")) == (200, [])
        assert reply.value(b"content-type") == "text/event-stream; charset=utf-8"
        assert reply.body.startswith(b"event: ping\n")
        (record,) = gateway.records
        assert record["status"] == 200
        return reply


async def until_idle(turn: Turn) -> None:
    await turn.gone()


def test_a_stream_opened_by_a_ping_still_takes_another_candidates_stream() -> None:
    async def main() -> None:
        reply = await opened_by_ping(until_idle, streams())
        assert grammar.check(reply.body).text() == "Hello, wörld"
        # Our own pings may come between any two events on a slow machine.
        theirs = [event for event in EVENTS if event != PING]
        assert reply.body.replace(PING, b"").replace(OUR_PING, b"") == b"".join(theirs)

    run(main())


def test_a_stream_opened_by_a_ping_still_takes_a_whole_message() -> None:
    async def main() -> None:
        reply = await opened_by_ping(until_idle, answers(200, MESSAGE))
        assert grammar.check(reply.body).text() == "Hello, wörld"

    run(main())


CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{%b},%b}]}\n\n'
CHAT = [
    CHUNK % (b'"role":"assistant","content":"Hello, w\\u00f6rld"', b'"finish_reason":null'),
    CHUNK % (b"", b'"finish_reason":"stop"'),
    b"data: [DONE]\n\n",
]


@pytest.mark.parametrize(
    ("dialects", "answers_first", "header", "comment"),
    [
        (("openai-chat", "anthropic"), True, "dropped: top_k", None),
        (("openai-chat", "anthropic"), False, "dropped: top_k", "none"),
        (("anthropic", "openai-chat"), False, None, "dropped: top_k"),
        (("openai-chat", "openai-chat"), False, "dropped: top_k", None),
    ],
    ids=["first", "relayed after translated", "translated after relayed", "the same loss"],
)
def test_a_stream_opened_by_a_ping_says_what_was_lost(
    dialects: tuple[str, str], answers_first: bool, header: str | None, comment: str | None
) -> None:
    async def main() -> None:
        events = {"openai-chat": CHAT, "anthropic": EVENTS}
        async with Upstream() as a, Upstream(streams(*events[dialects[1]])) as b:
            config = providers(a, b, max_retries=0) | {"stream": {"ping_s": 0.01, "idle_s": 60}}
            for name, dialect in zip("ab", dialects, strict=True):
                config["providers"][name]["dialect"] = dialect
            async with serving(config) as gateway, await Client.open(gateway) as client:
                await client.send(asked(stream=True, top_k=5, fallbacks=FALLBACK))
                turn = await a.turn()
                await turn.begin()
                reply = await client.head()
                assert reply.value(b"x-asbru-loss") == header
                await reply.until(b'{"type": "ping"}\n\n')
                if answers_first:
                    await turn.chunk(*CHAT)
                    await turn.end()
                else:
                    turn.reset()
                await reply.rest()
            lines = [line for line in reply.body.split(b"\n") if line.startswith(b":")]
            body = reply.body.replace(b"".join(line + b"\n" for line in lines), b"") if lines else reply.body
            assert grammar.check(body).text() == "Hello, wörld"
            assert lines == ([] if comment is None else [b": x-asbru-loss: " + comment.encode()])
            if comment is not None:
                assert lines[0] + b"\nevent: message_start\n" in reply.body
            b.plays.clear()  # not asked when `a` answers
        (record,) = gateway.records
        assert record.get("losses", []) == (["dropped: top_k"] if (comment or header) == "dropped: top_k" else [])

    run(main())


def test_a_stream_opened_by_a_ping_ends_with_the_error_of_the_primary() -> None:
    async def main() -> None:
        reply = await opened_by_ping(until_idle, answers(529, error_body()))
        assert grammar.check(reply.body, error=True).error == {
            "type": "timeout_error",
            "message": "a: the response stopped before it was complete",
        }

    run(main())


def test_a_stream_opened_by_a_ping_ends_with_the_primarys_own_error_event() -> None:
    async def main() -> None:
        async with Upstream() as a, Upstream(answers(404, error_body("not_found_error"))) as b:
            config = providers(a, b, max_retries=0) | {"stream": {"ping_s": 0.01, "idle_s": 5}}
            async with (
                serving(config) as gateway,
                await Client.open(gateway) as client,
            ):
                await client.send(asked(stream=True, fallbacks=FALLBACK))
                turn = await a.turn()
                await turn.begin()
                reply = await client.head()
                await reply.until(b'{"type": "ping"}\n\n')
                await turn.chunk(START, error_event("overloaded_error"))
                await reply.rest()
            stream = grammar.check(reply.body, error=True)
            assert stream.error == {"type": "overloaded_error", "message": "as the upstream said it"}
            assert b"message_start" not in reply.body

    run(main())


def test_a_stream_that_never_gets_to_its_content_is_not_held_for_ever() -> None:
    async def main() -> None:
        filler = event("ping", padding="x" * 60_000)
        async with (
            Upstream() as a,
            serving(providers(a)) as gateway,
            await Client.open(gateway) as client,
        ):
            await client.send(asked(stream=True))
            turn = await a.turn()
            await turn.begin()
            await turn.chunk(START, *[filler] * 6)
            reply = await client.head()
            await reply.until(filler)
            await turn.chunk(*EVENTS[1:])
            await turn.end()
            await reply.rest()
            grammar.check(reply.body)

    run(main())
