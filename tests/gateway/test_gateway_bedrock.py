"""Bedrock and Vertex AI behind a running gateway: Claude in its envelopes, and Converse. A client cannot tell."""

from __future__ import annotations

import base64
import json

import pytest

from asbru.dialects import sse
from tests import grammar
from tests.dialects import bedrock_aws
from tests.gateway.provider import EVENTS, MESSAGE, Json, Play, Turn, Upstream, answers, error_body, streams
from tests.gateway.support import ask, asked, provider, run, serving

CLAUDE = "anthropic.claude-opus-4-8"
FRAMES = (b"content-type", b"application/vnd.amazon.eventstream")
IDS = (b"x-amzn-requestid", b"aws-1")


def bedrock(up: Upstream, **settings: object) -> Json:
    return {**provider(up), "envelope": "bedrock", "credential": "authorization", "list_models": "none", **settings}


def vertex(up: Upstream, **settings: object) -> Json:
    base = f"{up.url}/v1/projects/p/locations/global/publishers/anthropic"
    more = {"envelope": "vertex", "credential": "authorization", "list_models": "none", "base_url": base}
    return {**provider(up), **more, **settings}


def converse(up: Upstream, **settings: object) -> Json:
    more = {"dialect": "bedrock-converse", "credential": "authorization", "list_models": "none"}
    return {**provider(up), **more, **settings}


def config(**made: Json) -> Json:
    return {"providers": made, "routing": {"default_provider": next(iter(made))}}


def framed(*pieces: bytes) -> Play:
    """An answer in frames, each piece a chunk of the body."""

    async def play(turn: Turn) -> None:
        await turn.read()
        await turn.begin(FRAMES[1], IDS)
        await turn.chunk(*pieces)
        await turn.end()

    return play


def chunks(*events: bytes) -> list[bytes]:
    """The Anthropic events in Bedrock's frames."""
    blocks = [sse.parse(event) for event in events]
    return [
        bedrock_aws.frame("chunk", {"bytes": base64.b64encode(block.data).decode()})
        for block in blocks
        if block is not None
    ]


def test_claude_on_bedrock_answers_byte_for_byte() -> None:
    async def main() -> None:
        async with Upstream(answers(200, MESSAGE, IDS)) as up:
            async with serving(config(a=bedrock(up))) as gateway:
                body = asked(CLAUDE, unknown={"1": 1})
                reply = await ask(gateway, body, anthropic_version="2026-10-21", anthropic_beta="context-1m-2025-08-07")
                assert (reply.status, reply.body) == (200, MESSAGE)
                assert reply.value(b"request-id") == reply.value(b"x-amzn-requestid") == "aws-1"
                assert reply.value(b"x-asbru-loss") == "none"
                assert reply.value(b"content-type") == "application/json"
            (turn,) = up.seen
            assert turn.target == b"/model/anthropic.claude-opus-4-8/invoke"
            assert turn.values(b"accept") == [b"application/json"]
            assert turn.values(b"authorization") == [b"Bearer sk-stored"]
            assert turn.values(b"anthropic-version") + turn.values(b"anthropic-beta") == []
            assert json.loads(turn.body) == {
                "max_tokens": 64,
                "messages": [{"role": "user", "content": "hi"}],
                "unknown": {"1": 1},
                "anthropic_version": "2026-10-21",
                "anthropic_beta": ["context-1m-2025-08-07"],
            }
        (record,) = gateway.records
        assert record["usage"]["input_tokens"] == 10
        assert record["attempts"][0]["upstream_request_id"] == "aws-1"

    run(main())


def test_claude_on_bedrock_streams_as_it_does_elsewhere() -> None:
    async def main() -> None:
        async with Upstream(framed(*chunks(*EVENTS))) as up:
            async with serving(config(a=bedrock(up))) as gateway:
                reply = await ask(gateway, asked(CLAUDE, stream=True))
                assert reply.value(b"content-type") == "text/event-stream; charset=utf-8"
                assert reply.body == b"".join(EVENTS)
                assert reply.value(b"request-id") == "aws-1"
            (turn,) = up.seen
            assert turn.target == b"/model/anthropic.claude-opus-4-8/invoke-with-response-stream"
            assert turn.values(b"accept") == [FRAMES[1]]
        (record,) = gateway.records
        assert (record["stop_reason"], record["usage_complete"]) == ("end_turn", True)

    run(main())


def test_a_stream_that_fails_at_once_goes_to_the_next_candidate() -> None:
    async def main() -> None:
        throttled = bedrock_aws.frame("throttlingException", {"message": "Slow down"})
        async with Upstream(framed(throttled)) as up, Upstream(streams()) as other:
            async with serving(config(a=bedrock(up), b=provider(other))) as gateway:
                reply = await ask(gateway, asked(CLAUDE, stream=True, fallbacks=["b/claude-x"]))
                assert reply.body == b"".join(EVENTS)
                assert reply.attempts == ["a/anthropic.claude-opus-4-8 429", "b/claude-x 200"]
            assert b"fallbacks" not in up.seen[0].body

    run(main())


def test_a_stream_that_breaks_ends_with_a_valid_error() -> None:
    async def main() -> None:
        broken = bedrock_aws.frame("modelStreamErrorException", {"message": "Broke", "originalStatusCode": 500})
        cut = chunks(*EVENTS[:4])
        async with Upstream(framed(*cut, broken), framed(*cut)) as up, serving(config(a=bedrock(up))) as gateway:
            for message in ("Broke", "The upstream's stream ended before the message was complete"):
                reply = await ask(gateway, asked(CLAUDE, stream=True))
                read = grammar.check(reply.body, error=True)
                assert read.error is not None
                assert read.error["message"] == message

    run(main())


@pytest.mark.parametrize(
    ("status", "errortype", "body", "expected"),
    [
        (400, b"ValidationException", b'{"message":"Input is too long."}', (400, "invalid_request_error", None)),
        (429, b"ThrottlingException", b'{"message":"Too many tokens"}', (429, "rate_limit_error", None)),
        (424, b"ModelErrorException", b'{"message":"Oops"}', (500, "api_error", None)),
        (403, b"AccessDeniedException", b'{"message":"No"}', (502, "api_error", "upstream_credentials")),
    ],
)
def test_bedrocks_errors_are_the_apis(
    status: int, errortype: bytes, body: bytes, expected: tuple[int, str, str | None]
) -> None:
    async def main() -> None:
        play = answers(status, body, (b"x-amzn-errortype", errortype), IDS)
        async with Upstream(play) as up, serving(config(a=bedrock(up, max_retries=0))) as gateway:
            reply = await ask(gateway, asked(CLAUDE))
            assert reply.error == expected
            if reply.error[2] is None:
                said = json.loads(body)["message"]
                words = f"prompt is too long: {said}" if "too long" in said else said
                assert reply.json["error"]["message"] == words
                assert reply.json["request_id"] == reply.value(b"x-asbru-request-id")

    run(main())


def test_what_bedrock_does_not_have_goes_to_who_has_it() -> None:
    async def main() -> None:
        async with Upstream() as up, Upstream(answers()) as other:
            async with serving(config(a=bedrock(up), b=provider(other))) as gateway:
                search = [{"type": "web_search_20250305", "name": "web_search"}]
                reply = await ask(gateway, asked(CLAUDE, tools=search, fallbacks=["b/claude-x"]))
                assert reply.status == 200
                assert reply.attempts == ["a/anthropic.claude-opus-4-8 lossy", "b/claude-x 200"]
                reply = await ask(gateway, asked(CLAUDE, tools=search))
                assert reply.error == (400, "invalid_request_error", None)
                assert "tools.0: Web search" in reply.json["error"]["message"]
                reply = await ask(gateway, asked(CLAUDE, thread={"type": "create"}))
                assert reply.json["error"]["details"] == {"error_code": "thread_unsupported_request"}
            assert up.seen == []

    run(main())


def test_losses_are_named_and_under_strict_refused() -> None:
    async def main() -> None:
        async with Upstream(answers()) as up, serving(config(a=bedrock(up))) as gateway:
            reply = await ask(gateway, asked(CLAUDE, tags={"a": "b"}))
            assert reply.value(b"x-asbru-loss") == "dropped: tags"
            reply = await ask(gateway, asked(CLAUDE, tags={"a": "b"}), x_asbru_strict="true")
            assert reply.error == (400, "invalid_request_error", None)
            assert reply.value(b"x-asbru-loss") == "dropped: tags"

    run(main())


def test_foreign_reasoning_does_not_get_to_claude() -> None:
    async def main() -> None:
        thought = {"type": "thinking", "thinking": "x", "signature": "asbru1.other.e30="}
        own = {"type": "thinking", "thinking": "y", "signature": "EqoBCkgIARAB"}
        turns = [{"role": "assistant", "content": [thought, own]}, {"role": "user", "content": "go on"}]
        async with Upstream(answers()) as up:
            async with serving(config(a=bedrock(up))) as gateway:
                assert (await ask(gateway, asked(CLAUDE, messages=turns))).status == 200
            assert json.loads(up.seen[0].body)["messages"][0]["content"] == [own]

    run(main())


def test_tokens_are_counted_there() -> None:
    async def main() -> None:
        count = {"model": "us." + CLAUDE, "messages": [{"role": "user", "content": "hi"}]}
        async with Upstream(answers(200, b'{"inputTokens":9}')) as up:
            async with serving(config(a=bedrock(up))) as gateway:
                reply = await ask(gateway, count, "/v1/messages/count_tokens")
                assert (reply.status, reply.json) == (200, {"input_tokens": 9})
            assert up.seen[0].target == b"/model/anthropic.claude-opus-4-8/count-tokens"
        async with Upstream(answers(200, b'{"inputTokens":9}')) as up:
            async with serving(config(a=converse(up))) as gateway:
                reply = await ask(gateway, count, "/v1/messages/count_tokens")
                assert (reply.status, reply.json) == (200, {"input_tokens": 9})
            assert up.seen[0].target == b"/model/anthropic.claude-opus-4-8/count-tokens"
        async with Upstream(answers(200, b'{"input_tokens": 9}')) as up:
            async with serving(config(a=vertex(up))) as gateway:
                reply = await ask(gateway, {**count, "model": "claude-opus-4-8"}, "/v1/messages/count_tokens")
                assert (reply.status, reply.body) == (200, b'{"input_tokens": 9}')
            target = b"/v1/projects/p/locations/global/publishers/anthropic/models/count-tokens:rawPredict"
            assert up.seen[0].target == target

    run(main())


def test_claude_on_vertex() -> None:
    async def main() -> None:
        limits = (b"anthropic-ratelimit-requests-remaining", b"7")
        refusal = error_body("invalid_request_error")
        google = b'[{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED"}}]'
        plays = (answers(200, MESSAGE, limits), streams(), answers(400, refusal), answers(429, google))
        async with Upstream(*plays) as up:
            async with serving(config(a=vertex(up, max_retries=0))) as gateway:
                reply = await ask(gateway, asked("claude-opus-4-8@default"), anthropic_beta="context-1m-2025-08-07")
                assert reply.body == MESSAGE
                assert reply.value(limits[0]) == "7"
                reply = await ask(gateway, asked("claude-opus-4-8@default", stream=True))
                assert reply.body == b"".join(EVENTS)
                reply = await ask(gateway, asked("claude-opus-4-8@default"))
                assert (reply.status, reply.body) == (400, refusal)
                reply = await ask(gateway, asked("claude-opus-4-8@default"))
                assert reply.error == (429, "rate_limit_error", None)
                assert reply.json["error"]["message"] == "Quota exceeded"
            base = b"/v1/projects/p/locations/global/publishers/anthropic/models/claude-opus-4-8%40default:"
            assert [turn.target for turn in up.seen[:2]] == [base + b"rawPredict", base + b"streamRawPredict"]
            assert up.seen[0].values(b"anthropic-beta") == [b"context-1m-2025-08-07"]
            assert json.loads(up.seen[0].body)["anthropic_version"] == "vertex-2023-10-16"

    run(main())


CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9},
    "metrics": {"latencyMs": 1},
}
CONVERSED_FRAMES = [
    bedrock_aws.frame(name, data)
    for name, data in (
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hello"}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": CONVERSED["usage"], "metrics": {"latencyMs": 1}}),
    )
]


def test_converse() -> None:
    async def main() -> None:
        whole = answers(200, json.dumps(CONVERSED).encode(), IDS)
        async with Upstream(whole, framed(*CONVERSED_FRAMES)) as up:
            async with serving(config(a=converse(up))) as gateway:
                reply = await ask(gateway, asked(CLAUDE, top_k=3))
                assert reply.json["content"] == [{"type": "text", "text": "Hello"}]
                assert reply.json["model"] == CLAUDE
                assert reply.value(b"request-id") == "aws-1"
                assert reply.value(b"x-amzn-requestid") is None
                reply = await ask(gateway, asked(CLAUDE, stream=True))
                assert grammar.check(reply.body).message["stop_reason"] == "end_turn"
            assert [turn.target for turn in up.seen] == [
                b"/model/anthropic.claude-opus-4-8/converse",
                b"/model/anthropic.claude-opus-4-8/converse-stream",
            ]
            assert up.seen[1].values(b"accept") == [FRAMES[1]]
        assert [record["usage"]["input_tokens"] for record in gateway.records] == [7, 7]

    run(main())


def test_legacy_completions_are_refused_before_they_cost_anything() -> None:
    async def main() -> None:
        async with Upstream() as up:
            async with serving(config(a=bedrock(up), b=converse(up))) as gateway:
                for model in (CLAUDE, "b/" + CLAUDE):
                    body: Json = {"model": model, "prompt": "\n\nHuman: hi\n\nAssistant:", "max_tokens_to_sample": 5}
                    reply = await ask(gateway, body, "/v1/complete")
                    assert reply.error == (400, "invalid_request_error", None)
            assert up.seen == []

    run(main())
