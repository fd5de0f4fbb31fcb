"""The retry table of contract/gateway.md §3, row by row, through a running gateway: asked for plainly and for a stream.

Each row is played by upstream `a`; `b` is the fallback. What `a` is asked, what `b` is asked, and what the client is
told in the end are the three things that the table says.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest

from tests.gateway.provider import (
    EVENTS,
    MESSAGE,
    MODEL,
    Nowhere,
    Play,
    Upstream,
    answers,
    error_body,
    resets,
    silent,
    streams,
)
from tests.gateway.support import (
    Reply,
    ask,
    asked,
    provider,
    providers,
    run,
    serving,
)
from tests.upstream.rawserver import Line, RawServer

SOON = (b"retry-after-ms", b"1")
FALLBACK = [f"b/{MODEL}"]
TWO_KEYS = ("sk-one", "sk-two")

streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def served(reply: Reply, stream: bool) -> bool:
    """Whether this is the answer of `good`."""
    return reply.status == 200 and reply.body == (b"".join(EVENTS) if stream else MESSAGE)


def good(stream: bool) -> Play:
    return streams() if stream else answers()


def failing(status: int, *headers: tuple[bytes, bytes]) -> Play:
    return answers(status, error_body(message=f"this is the {status}"), *headers)


class Row(NamedTuple):
    """One row: how `a` fails, as what it is noted, how often it is asked, and what the client is told at last."""

    name: str
    play: Callable[[], Play]
    outcome: str
    asked: int
    next: bool
    told: tuple[int, str, str | None] | None
    """An error of the gateway's own; None: the upstream's answer as it came."""


ROWS = [
    Row("reset", resets, "reset", 2, True, (504, "timeout_error", None)),
    Row("silence", lambda: silent, "first_byte_timeout", 1, True, (504, "timeout_error", None)),
    Row("garbage", lambda: resets(b"SSH-2.0-x\r\n\r\n"), "protocol", 1, True, (502, "api_error", None)),
    *(
        Row(str(status), partial(failing, status, SOON), str(status), 2, True, None)
        for status in (408, 500, 502, 503, 504, 529)
    ),
    Row("429", lambda: failing(429, SOON), "429", 1, True, None),
    *(
        Row(
            str(status),
            partial(failing, status),
            str(status),
            1,
            True,
            (502, "api_error", "upstream_credentials"),
        )
        for status in (401, 402, 403)
    ),
    Row("404", lambda: failing(404), "404", 1, True, None),
    *(Row(str(status), partial(failing, status), str(status), 1, False, None) for status in (400, 413, 422)),
    Row("redirect", lambda: answers(307, b"", (b"location", b"/elsewhere")), "307", 1, True, (502, "api_error", None)),
]
rows = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
QUICK = {"timeouts": {"first_byte_s": 0.03}}


@streamed
@rows
def test_the_next_candidate_takes_over_where_the_row_says_so(row: Row, stream: bool) -> None:
    async def main() -> None:
        plays_b = [good(stream)] if row.next else []
        async with Upstream(*[row.play()] * row.asked) as a, Upstream(*plays_b) as b:
            async with serving(providers(a, b, **QUICK)) as gateway:
                reply = await ask(gateway, asked(stream=stream, fallbacks=FALLBACK))
            assert len(a.seen) == row.asked
            assert len(b.seen) == row.next
            tries = [f"a/{MODEL} {row.outcome}"] * row.asked
            if row.next:
                assert served(reply, stream)
                assert reply.attempts == [*tries, f"b/{MODEL} 200"]
                assert (reply.value(b"x-asbru-provider"), reply.value(b"x-bifrost-fallback-index")) == ("b", "1")
            else:
                assert reply.status == int(row.outcome)
                assert reply.body == error_body(message=f"this is the {row.outcome}")
                assert reply.attempts == tries

    run(main())


@streamed
@rows
def test_when_nothing_is_left_the_client_is_told_the_last_of_it(row: Row, stream: bool) -> None:
    async def main() -> None:
        async with Upstream(*[row.play()] * row.asked) as a:
            async with serving(providers(a, **QUICK)) as gateway:
                reply = await ask(gateway, asked(stream=stream))
            if row.told is None:
                assert reply.status == int(row.outcome)
                assert reply.body == error_body(message=f"this is the {row.outcome}")
                assert reply.value(b"content-type") == "application/json"
            else:
                assert reply.error == row.told
            lines = reply.values(b"x-asbru-attempts")
            assert len(lines) == row.asked  # one line per attempt
            assert reply.attempts == [f"a/{MODEL} {row.outcome}"] * row.asked
            (record,) = gateway.records
            assert record["status"] == reply.status
            assert [attempt["outcome"] for attempt in record["attempts"]] == [row.outcome] * row.asked

    run(main())


@streamed
@pytest.mark.parametrize("row", [row for row in ROWS if row.asked == 2], ids=lambda row: row.name)
def test_the_same_key_again_may_serve(row: Row, stream: bool) -> None:
    async def main() -> None:
        async with Upstream(row.play(), good(stream)) as a:
            async with serving(providers(a)) as gateway:
                reply = await ask(gateway, asked(stream=stream))
            assert served(reply, stream)
            assert reply.attempts == [f"a/{MODEL} {row.outcome}", f"a/{MODEL} 200"]
            assert reply.value(b"x-bifrost-fallback-index") is None
            assert a.seen[0].body == a.seen[1].body
            assert a.seen[0].head == a.seen[1].head

    run(main())


@streamed
def test_a_provider_that_says_not_to_retry_is_not_asked_again(stream: bool) -> None:
    async def main() -> None:
        refused = failing(529, (b"x-should-retry", b"false"))
        async with Upstream(refused) as a, Upstream(good(stream)) as b, serving(providers(a, b)) as gateway:
            reply = await ask(gateway, asked(stream=stream, fallbacks=FALLBACK))
            assert reply.attempts == [f"a/{MODEL} 529", f"b/{MODEL} 200"]

    run(main())


@streamed
def test_max_retries_bounds_the_tries_of_a_failure_that_may_pass(stream: bool) -> None:
    async def main() -> None:
        async with Upstream(*[failing(529, SOON)] * 4) as a, serving(providers(a, max_retries=3)) as gateway:
            reply = await ask(gateway, asked(stream=stream))
            assert reply.attempts == [f"a/{MODEL} 529"] * 4

    run(main())


@streamed
def test_what_refuses_connections_is_tried_twice_and_left(stream: bool) -> None:
    async def main() -> None:
        with Nowhere() as a:
            async with Upstream(good(stream)) as b, serving(providers(a, b)) as gateway:
                reply = await ask(gateway, asked(stream=stream, fallbacks=FALLBACK))
                assert served(reply, stream)
                assert reply.attempts == [f"a/{MODEL} connect", f"a/{MODEL} connect", f"b/{MODEL} 200"]
                alone = await ask(gateway, asked(stream=stream))
                assert alone.error == (504, "timeout_error", None)
                assert alone.attempts == [f"a/{MODEL} connect"] * 2

    run(main())


@streamed
def test_what_speaks_no_tls_is_tried_twice_and_left(stream: bool) -> None:
    async def no_tls(line: Line) -> None:
        await line.reader.read(1)
        await line.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def main() -> None:
        async with RawServer(no_tls) as plain, Upstream(good(stream)) as b:
            config = providers(b)
            config["providers"]["a"] = provider(f"https://127.0.0.1:{plain.port}")
            config["providers"]["b"] = provider(b)
            async with serving(config) as gateway:
                reply = await ask(gateway, asked(stream=stream, fallbacks=FALLBACK))
                assert served(reply, stream)
                assert reply.attempts == [f"a/{MODEL} tls", f"a/{MODEL} tls", f"b/{MODEL} 200"]

    run(main())


# Keys


@streamed
def test_another_key_answers_at_once_and_the_limited_one_rests(stream: bool) -> None:
    async def main() -> None:
        async with Upstream(failing(429, (b"retry-after", b"3000")), *[good(stream)] * 6) as a:
            async with serving({"providers": {"a": provider(a, *TWO_KEYS)}}) as gateway:
                replies = [await ask(gateway, asked(stream=stream)) for _ in range(6)]
            assert all(served(reply, stream) for reply in replies)
            limited, other = a.seen[0].key, a.seen[1].key
            assert {limited, other} == set(TWO_KEYS)
            assert [turn.key for turn in a.seen[1:]] == [other] * 6
            assert [try_["key"] for try_ in gateway.records[0]["attempts"]] == [limited[3:], other[3:]]

    run(main())


@streamed
def test_when_every_key_is_limited_the_client_is_told_so_as_the_provider_said_it(stream: bool) -> None:
    async def main() -> None:
        async with Upstream(*[failing(429, (b"retry-after", b"3000"))] * 3) as a:
            async with serving({"providers": {"a": provider(a, *TWO_KEYS)}}) as gateway:
                reply = await ask(gateway, asked(stream=stream))
                assert (reply.status, reply.value(b"retry-after")) == (429, "3000")
                assert len(reply.values(b"x-asbru-attempts")) == 2
                # Both rest; the provider's own word is worth more than a guess, so one of them asks again.
                assert (await ask(gateway, asked(stream=stream))).status == 429
            assert len(a.seen) == 3

    run(main())


@streamed
@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refused_stored_key_gives_way_to_the_next_and_never_makes_the_client_log_in(
    status: int, stream: bool
) -> None:
    async def main() -> None:
        async with Upstream(*[failing(status)] * 2, good(stream)) as a, Upstream(good(stream)) as b:
            config = {
                "providers": {"a": provider(a, *TWO_KEYS), "b": provider(b)},
                "routing": {"default_provider": "a"},
            }
            async with serving(config) as gateway:
                reply = await ask(gateway, asked(stream=stream, fallbacks=FALLBACK))
                assert served(reply, stream)
                assert reply.attempts == [f"a/{MODEL} {status}"] * 2 + [f"b/{MODEL} 200"]
                assert {turn.key for turn in a.seen} == set(TWO_KEYS)
                assert served(await ask(gateway, asked(stream=stream)), stream)  # both rest, one is asked all the same

    run(main())


@streamed
def test_one_refused_and_one_limited_key_are_a_limited_provider(stream: bool) -> None:
    async def main() -> None:
        async with (
            Upstream(failing(429, SOON), failing(401)) as a,
            serving({"providers": {"a": provider(a, *TWO_KEYS)}}) as gateway,
        ):
            reply = await ask(gateway, asked(stream=stream))
            assert (reply.status, reply.json["error"]["message"]) == (429, "this is the 429")

    run(main())


@streamed
@pytest.mark.parametrize("status", [401, 403])
def test_the_refusal_of_the_callers_own_key_is_the_callers_as_it_came(status: int, stream: bool) -> None:
    async def main() -> None:
        async with Upstream(failing(status, (b"x-mine", b"yes"))) as a, Upstream(good(stream)) as b:
            config = providers(a, b) | {"auth": {"allow_direct_keys": True}}
            async with serving(config) as gateway:
                reply = await ask(gateway, asked(stream=stream, fallbacks=FALLBACK), x_api_key="sk-ant-own")
                assert (reply.status, reply.value(b"x-mine")) == (status, "yes")
                assert reply.body == error_body(message=f"this is the {status}")
                assert reply.value(b"x-asbru-reason") is None
                assert (a.seen[0].key, b.seen) == ("sk-ant-own", [])
                # It says nothing of the gateway's own key, which serves on.
                a.plays.append(good(stream))
                assert served(await ask(gateway, asked(stream=stream)), stream)
                assert a.seen[1].key == "sk-a"
            b.plays.clear()

    run(main())


@streamed
def test_the_callers_own_key_never_reaches_a_fallback(stream: bool) -> None:
    async def main() -> None:
        async with Upstream(*[failing(529, SOON)] * 2) as a, Upstream(good(stream)) as b:
            async with serving(providers(a, b) | {"auth": {"allow_direct_keys": True}}) as gateway:
                body = asked(stream=stream, fallbacks=FALLBACK)
                reply = await ask(gateway, body, authorization="Bearer sk-ant-own")
                assert served(reply, stream)
            assert [turn.values(b"authorization") for turn in a.seen] == [[b"Bearer sk-ant-own"]] * 2
            assert (b.seen[0].values(b"authorization"), b.seen[0].values(b"x-api-key")) == ([], [b"sk-b"])

    run(main())


# All failed


@streamed
def test_when_all_failed_the_answer_is_the_primarys(stream: bool) -> None:
    async def main() -> None:
        async with (
            Upstream(*[failing(529, SOON)] * 2) as a,
            Upstream(failing(404)) as b,
            Upstream(failing(400)) as c,
            serving(providers(a, b, c)) as gateway,
        ):
            reply = await ask(gateway, asked(stream=stream, fallbacks=[*FALLBACK, "c/other"]))
            assert reply.status == 529
            assert reply.body == error_body(message="this is the 529")
            lines = [line.rpartition(b" ")[0].decode() for line in reply.values(b"x-asbru-attempts")]
            assert lines == [f"a/{MODEL} 529", f"a/{MODEL} 529", f"b/{MODEL} 404", "c/other 400"]
            assert json.loads(c.seen[0].body)["model"] == "other"

    run(main())


@streamed
def test_a_fallbacks_own_mistake_ends_the_search_with_the_primarys_error(stream: bool) -> None:
    async def main() -> None:
        async with (
            Upstream(failing(404)) as a,
            Upstream(failing(400)) as b,
            Upstream() as c,
            serving(providers(a, b, c)) as gateway,
        ):
            reply = await ask(gateway, asked(stream=stream, fallbacks=[*FALLBACK, f"c/{MODEL}"]))
            assert (reply.status, c.seen) == (404, [])

    run(main())


def test_a_fallback_that_cannot_read_the_request_does_not_hide_the_primarys_error() -> None:
    async def main() -> None:
        async with Upstream(answers(529, error_body())) as a, Upstream() as b:
            config = providers(a, b, max_retries=0)
            config["providers"]["b"]["dialect"] = "openai-chat"
            async with serving(config) as gateway:
                body = asked(fallbacks=["b/m"], tool_choice={"type": "of the future"})
                reply = await ask(gateway, body)
                assert reply.error == (529, "overloaded_error", None)

    run(main())


def test_a_body_that_cannot_be_translated_is_noted_as_what_it_is() -> None:
    async def main() -> None:
        async with Upstream() as a:
            async with serving(providers(a, dialect="openai-chat")) as gateway:
                reply = await ask(gateway, asked(messages=[{"role": "user", "content": [{"type": "text"}]}]))
                assert reply.error == (400, "invalid_request_error", None)
            (record,) = gateway.records
            assert [attempt["outcome"] for attempt in record["attempts"]] == ["invalid_request"]
            assert a.seen == []

    run(main())
