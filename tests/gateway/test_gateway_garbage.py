"""What an exchange held is free at its end, whichever way it ends, without the garbage collector.

The collector looks rarely (`app.settle_memory`). A cycle of an error, its traceback and the frames in it, or of a
connection and its parser, would keep a request's body until it does: in an outage, until there is no memory left.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tests.gateway.provider import (
    BLOCK,
    HELLO,
    START,
    Nowhere,
    Play,
    Upstream,
    answers,
    error_body,
    error_event,
    head,
    resets,
    silent,
    streams,
)
from tests.gateway.support import Client, Running, ask, asked, provider, providers, request, run, serving
from tests.upstream.rawserver import until


@asynccontextmanager
async def without_the_collector(running: Running) -> AsyncGenerator[None]:
    """Nothing of Asbru may be left for the collector by what is done meanwhile."""
    gc.collect()
    gc.disable()
    try:
        yield
        await running.quiet()
        await until(lambda: running.app.service.idle)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = [found for found in gc.garbage if type(found).__module__.startswith("asbru.")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []


PLAYS = {
    "an answer": answers(),
    "a stream": streams(),
    "a refusal": answers(400, error_body("invalid_request_error")),
    "a limit": answers(429, error_body("rate_limit_error")),
    "an outage": answers(529, error_body()),
    "no answer": resets(),
    "half a head": resets(b"HTTP/1.1 200 OK\r\n"),
    "half a body": resets(head(200, [(b"content-type", b"application/json"), (b"content-length", b"100")]) + b"{"),
    "half a stream": streams(START, BLOCK, HELLO),
    "nonsense": answers(200, b"nonsense"),
    "an error in a stream": streams(START, BLOCK, HELLO, error_event()),
    "an error first": streams(error_event()),
    "not HTTP": resets(b"nonsense\r\n\r\n"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("play", PLAYS.values(), ids=PLAYS)
def test_nothing_is_left_of_what_an_upstream_does(play: Play, stream: bool) -> None:
    async def main() -> None:
        async with (
            Upstream(*[play] * 8) as a,
            Upstream(*[play] * 8) as b,
            serving(providers(a, b, max_retries=1)) as gateway,
        ):
            async with without_the_collector(gateway):
                for _ in range(2):
                    await ask(gateway, asked(stream=stream, fallbacks=["b/claude-test-2"]))
            a.plays.clear()
            b.plays.clear()

    run(main())


def test_nothing_is_left_of_what_cannot_be_reached() -> None:
    async def main() -> None:
        with Nowhere() as nowhere:
            async with serving(providers(nowhere, max_retries=1)) as gateway, without_the_collector(gateway):
                assert (await ask(gateway, asked())).status == 504

    run(main())


def test_nothing_is_left_of_who_waits_in_vain() -> None:
    async def main() -> None:
        async with Upstream(silent) as a:
            limits = {"max_connections": 1, "wait_s": 0.05, "max_retries": 0}
            async with (
                serving({"providers": {"a": provider(a, **limits)}}) as gateway,
                without_the_collector(gateway),
                await Client.open(gateway) as first,
            ):
                await first.send(asked())
                await until(lambda: len(a.seen) == 1)
                assert (await ask(gateway, asked())).status == 503
                first.cut()

    run(main())


@pytest.mark.parametrize("share", [0.5, 1.0], ids=["half a body", "a whole one"])
def test_nothing_is_left_of_a_client_that_goes_away(share: float) -> None:
    async def main() -> None:
        async with Upstream(silent) as a, serving(providers(a)) as gateway, without_the_collector(gateway):
            if share < 1:
                a.plays.clear()
            data = request(asked(system="x" * 200_000), "/v1/messages")
            async with await Client.open(gateway) as client:
                await client.write(data[: int(len(data) * share)])
                await until(lambda: gateway.app.gateway.budget.in_flight == 1 and len(a.seen) == int(share))
                client.cut()
                await gateway.quiet()

    run(main())
