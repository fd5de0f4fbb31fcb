"""Providers that fail in every way at once, by chance (seeded): whatever comes together, the promises hold.

Every client gets one valid stream or one whole JSON answer, there is one Record of every exchange with no attempt that
was not made, and nothing is left.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter

import pytest

from tests import grammar
from tests.gateway.provider import (
    EVENT_STREAM,
    EVENTS,
    MESSAGE,
    START,
    Json,
    Turn,
    Upstream,
    error_body,
    error_event,
    event,
    head,
    whole,
)
from tests.gateway.support import Client, Running, asked, provider, run, serving

ROUNDS = 12
AT_ONCE = 12
ERRORS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}
ERRORS |= {429: "rate_limit_error", 500: "api_error", 529: "overloaded_error"}
SOON = (b"retry-after-ms", b"1")


class Chance:
    """A provider whose every answer is drawn."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    async def __call__(self, turn: Turn) -> None:
        await turn.read()
        asked_for = json.loads(turn.body)
        data = self._error() if self.rng.random() < 0.25 else self._answer(bool(asked_for.get("stream")))
        fate = self.rng.random()
        if fate < 0.3:  # it breaks off somewhere
            data = data[: self.rng.randrange(len(data) + 1)]
        for piece in self._cut(data):
            await turn.say(piece)
        if fate < 0.15:
            turn.reset()
        elif fate < 0.2:
            await turn.gone()  # silence, until the gateway has had enough
        elif fate < 0.3:
            turn.line.close()
        turn.over.set()

    def _cut(self, data: bytes) -> list[bytes]:
        at = sorted(self.rng.randrange(len(data) + 1) for _ in range(self.rng.randrange(4)))
        return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True) if start < end]

    def _error(self) -> bytes:
        status = self.rng.choice(list(ERRORS))
        return whole(status, error_body(ERRORS[status]), [SOON])

    def _answer(self, stream: bool) -> bytes:
        if self.rng.random() < 0.1:
            stream = not stream
        if not stream:
            return whole(200, MESSAGE)
        events = [START, *(event("ping") for _ in range(self.rng.randrange(3))), *EVENTS[2:]]
        if self.rng.random() < 0.2:  # an error event at any place, and then the end
            events = [*events[: self.rng.randrange(len(events))], error_event(self.rng.choice(list(ERRORS.values())))]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in events)
        fields = [(b"content-type", EVENT_STREAM), (b"transfer-encoding", b"chunked")]
        return head(200, fields) + chunks + b"0\r\n\r\n"


async def one(gateway: Running, body: Json, leaves: bool) -> str:
    """One client; what became of it, in a word."""
    async with await Client.open(gateway) as client:
        await client.send(body)
        if leaves:
            return "left"
        reply = await client.reply()
        if reply.value(b"content-type") == EVENT_STREAM.decode():
            assert reply.status == 200
            assert body["stream"] is True
            ended = grammar.check(reply.body, error=None)
            assert ended.error is not None or ended.text() == "Hello, wörld"
            return "stream" if ended.error is None else "broken stream"
        if reply.status == 200:
            assert body["stream"] is False
            assert reply.json["content"] == [{"type": "text", "text": "Hello, wörld"}]
            return "message"
        assert reply.json["error"]["type"] in grammar.ERROR_TYPES
        return "error"


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_together_every_client_is_told_one_thing(seed: int) -> None:
    async def main() -> None:
        rng = random.Random(seed)
        outcomes: Counter[str] = Counter()
        async with Upstream() as a, Upstream() as b, Upstream() as c:
            upstreams = {"a": a, "b": b, "c": c}
            for upstream in upstreams.values():
                upstream.plays = [Chance(rng)] * 2000
            limits = {"timeouts": {"first_byte_s": 0.05, "idle_s": 0.05}, "breaker": {"failures": 4, "pause_s": 0.01}}
            made = {
                name: provider(upstream, f"sk-{name}1", f"sk-{name}2", **limits) for name, upstream in upstreams.items()
            }
            config = {
                "providers": made,
                "routing": {"default_provider": "a"},
                "stream": {"ping_s": 0.01, "idle_s": 0.05},
            }
            async with serving(config) as gateway:
                for _ in range(ROUNDS):
                    bodies = [
                        asked(stream=rng.random() < 0.6, fallbacks=["b/m-1", "c/m-1", "m-2"][: rng.randrange(4)])
                        for _ in range(AT_ONCE)
                    ]
                    leaving = [rng.random() < 0.1 for _ in bodies]
                    outcomes.update(await asyncio.gather(*map(one, [gateway] * AT_ONCE, bodies, leaving)))
            for upstream in upstreams.values():
                upstream.plays.clear()
        assert outcomes.keys() == {"stream", "broken stream", "message", "error", "left"}
        total = ROUNDS * AT_ONCE
        assert total - outcomes["left"] <= len(gateway.records) <= total
        assert len({record["request_id"] for record in gateway.records}) == len(gateway.records)
        noted = Counter(tried["provider"] for record in gateway.records for tried in record.get("attempts", ()))
        # Who left may have been noted before anything was sent; what was sent once more after a stale connection is
        # one attempt.
        assert all(noted[name] <= len(upstream.seen) + outcomes["left"] for name, upstream in upstreams.items())

    run(main())
