"""Through the gateway to hosts that have ways of their own: what they are sent, and what becomes of what they say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asbru.dialects.eventstream import encode
from tests import grammar
from tests.gateway.provider import Json, Play, Turn, Upstream, answers, streams
from tests.gateway.support import Reply, ask, asked, provider, run, serving

TOOL: Json = {"name": "look", "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}}}
DONE: Json = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}]}
DONE_BODY = json.dumps(DONE).encode()


def chunks(*deltas: Json) -> Play:
    said = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    said.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return streams(*(b"data: %b\n\n" % json.dumps(each).encode() for each in said), b"data: [DONE]\n\n")


def config(**hosts: Json) -> Json:
    made = {name: {"list_models": "none", "max_retries": 0, **settings} for name, settings in hosts.items()}
    return {"providers": made, "routing": {"default_provider": next(iter(made))}}


def host(upstream: Upstream, like: str, dialect: str = "openai-chat", **settings: Any) -> Json:
    return provider(upstream, "sk-key", like=like, dialect=dialect, credential="authorization", **settings)


def body_of(turn: Turn) -> Json:
    found: Json = json.loads(turn.body)
    return found


def sent(
    like: str, model: str, dialect: str = "openai-chat", answer: bytes = DONE_BODY, **fields: Any
) -> tuple[Json, Reply]:
    """What the host is sent for a request, and what the client gets."""
    found: list[tuple[Json, Reply]] = []

    async def main() -> None:
        async with Upstream(answers(200, answer)) as up:
            async with serving(config(h=host(up, like, dialect))) as gateway:
                reply = await ask(gateway, asked(f"h/{model}", **fields))
            found.append((body_of(up.seen[0]), reply))

    run(main())
    return found[0]


# What is known of a model at its host


@pytest.mark.parametrize(("like", "model"), [("groq", "llama-3.3-70b-versatile"), ("xai", "grok-4-1-fast-reasoning")])
def test_an_effort_that_the_model_does_not_take_is_left_out_and_named(like: str, model: str) -> None:
    body, reply = sent(like, model, output_config={"effort": "high"})
    assert reply.status == 200
    assert "reasoning_effort" not in body
    assert reply.value(b"x-asbru-loss") == "dropped: output_config.effort"


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "look"}])
def test_deepseek_is_forced_to_call_a_tool_without_thinking(choice: Json) -> None:
    body, reply = sent("deepseek", "deepseek-v4-pro", tools=[TOOL], tool_choice=choice)
    assert reply.status == 200
    assert body["thinking"] == {"type": "disabled"}
    assert body["tool_choice"] in ("required", {"type": "function", "function": {"name": "look"}})


def test_structured_output_of_deepseek_by_a_forced_tool_without_thinking() -> None:
    output = {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {}}}}
    body, _ = sent("deepseek", "deepseek-v4-pro", output_config=output)
    assert body["thinking"] == {"type": "disabled"}


# What the model wrote


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("code", ["tool_use_failed", "json_validate_failed"])
@pytest.mark.parametrize("in_stream", [False, True])
def test_what_the_model_wrote_is_tried_elsewhere(code: str, stream: bool, in_stream: bool) -> None:
    error = {"error": {"message": "Failed to call a function.", "type": "invalid_request_error", "code": code}}
    said = json.dumps(error).encode()
    fails = streams(b"event: error\ndata: %b\n\n" % said) if in_stream else answers(400, said)
    if in_stream and not stream:
        fails = answers(200, said)

    async def main() -> None:
        async with (
            Upstream(fails, fails) as a,
            Upstream(chunks({"content": "Hi."}) if stream else answers(200, DONE_BODY)) as b,
        ):
            hosts = config(a=host(a, "groq", breaker={"failures": 1}), b=host(b, "groq"))
            async with serving(hosts) as gateway:
                reply = await ask(gateway, asked("a/m", stream=stream, fallbacks=["b/m"]))
                assert reply.status == 200, reply.body
                assert b"Hi." in reply.body
                alone = await ask(gateway, asked("a/m", stream=stream))
                assert alone.error[:2] == (500, "api_error")
                assert alone.json["error"]["message"] == "Failed to call a function."
            assert (len(a.seen), len(b.seen)) == (2, 1)  # and the breaker has not heard of it

    run(main())


def test_an_image_for_a_server_without_vision_opens_no_breaker() -> None:
    message = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
    fails = answers(500, json.dumps({"error": {"code": 500, "message": message, "type": "server_error"}}).encode())

    async def main() -> None:
        async with Upstream(fails, answers(200, DONE_BODY)) as up:
            hosts = config(h=host(up, "llamacpp", breaker={"failures": 1}, max_retries=2))
            async with serving(hosts) as gateway:
                image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
                reply = await ask(gateway, asked("h/m", messages=[{"role": "user", "content": [image]}]))
                assert reply.error[:2] == (400, "invalid_request_error")
                assert (await ask(gateway, asked("h/m"))).status == 200

    run(main())


def test_an_overflow_inside_a_stream_is_told_as_the_messages_api_does() -> None:
    said = {
        "error": {"message": "The input (345516 tokens) is longer than the model's context length (262144 tokens)."}
    }

    async def main() -> None:
        async with Upstream(streams(b"data: %b\n\n" % json.dumps({**said, "code": 400}).encode())) as up:
            hosts = config(h=host(up, "together"))
            async with serving(hosts) as gateway:
                reply = await ask(gateway, asked("h/m", stream=True))
                assert reply.error[:2] == (400, "invalid_request_error")
                assert reply.json["error"]["message"] == "prompt is too long: 345516 tokens > 262144 maximum"

    run(main())


# Hosts that only stream, or only answer whole


def test_a_large_answer_of_fireworks_is_streamed_and_joined() -> None:
    async def main() -> None:
        plays = [chunks({"content": "Hi"}, {"content": " there."}), answers(200, DONE_BODY)]
        async with Upstream(*plays) as up:
            async with serving(config(h=host(up, "fireworks"))) as gateway:
                reply = await ask(gateway, asked("h/m", max_tokens=8192))
                assert (reply.status, reply.value(b"content-type")) == (200, "application/json")
                assert reply.json["content"] == [{"type": "text", "text": "Hi there."}]
                small = await ask(gateway, asked("h/m", max_tokens=4096))
                assert small.json["content"] == [{"type": "text", "text": "Hi."}]
            large_body, small_body = map(body_of, up.seen)
            assert large_body["stream"] is True
            assert "stream" not in small_body

    run(main())


def test_a_joined_stream_that_breaks_is_no_answer() -> None:
    cut = streams(b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n')

    async def main() -> None:
        async with Upstream(cut) as up, serving(config(h=host(up, "fireworks"))) as gateway:
            reply = await ask(gateway, asked("h/m", max_tokens=8192))
            assert reply.error[:2] == (502, "api_error")

    run(main())


def test_a_host_that_streams_no_tools_is_asked_for_all_of_it() -> None:
    async def main() -> None:
        async with Upstream(answers(200, DONE_BODY), chunks({"content": "Hi."})) as up:
            async with serving(config(h=host(up, "vllm", quirks={"stream_tools": False}))) as gateway:
                reply = await ask(gateway, asked("h/m", stream=True, tools=[TOOL]))
                assert grammar.check(reply.body, error=False).message["content"] == [{"type": "text", "text": "Hi."}]
                plain = await ask(gateway, asked("h/m", stream=True))
                assert grammar.check(plain.body, error=False).message["content"] == [{"type": "text", "text": "Hi."}]
            assert ["stream" in body_of(turn) for turn in up.seen] == [False, True]

    run(main())


def test_a_stream_that_was_not_asked_for_is_joined() -> None:
    async def main() -> None:
        async with Upstream(chunks({"content": "Hi."})) as up, serving(config(h=host(up, "vllm"))) as gateway:
            reply = await ask(gateway, asked("h/m"))
            assert reply.json["content"] == [{"type": "text", "text": "Hi."}]

    run(main())


LLAMA = "us.meta.llama4-maverick-17b-instruct-v1:0"
CONVERSED: Json = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hi."}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "look"}])
def test_llama_on_bedrock_chooses_by_itself_and_answers_whole(choice: Json, stream: bool) -> None:
    async def main() -> None:
        async with Upstream(answers(200, json.dumps(CONVERSED).encode())) as up:
            bedrock = host(up, "bedrock", "bedrock-converse", region="us-east-1")
            async with serving(config(h=bedrock)) as gateway:
                reply = await ask(gateway, asked(f"h/{LLAMA}", tools=[TOOL], tool_choice=choice, stream=stream))
                assert reply.status == 200, reply.body
                said = grammar.check(reply.body, error=False).message if stream else reply.json
                assert said["content"] == [{"type": "text", "text": "Hi."}]
                assert reply.value(b"x-asbru-loss") == "dropped: tool_choice"
            assert "toolChoice" not in body_of(up.seen[0])["toolConfig"]
            assert up.seen[0].head.split(b" ")[1].endswith(b"/converse")

    run(main())


def test_structured_output_of_llama_on_bedrock_is_an_instruction() -> None:
    async def main() -> None:
        async with Upstream(answers(200, json.dumps(CONVERSED).encode())) as up:
            bedrock = host(up, "bedrock", "bedrock-converse", region="us-east-1")
            output = {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {}}}}
            async with serving(config(h=bedrock)) as gateway:
                reply = await ask(gateway, asked(f"h/{LLAMA}", output_config=output))
                assert reply.value(b"x-asbru-loss") == "emulated: output_config.format"
            assert body_of(up.seen[0]).keys() & {"toolConfig", "outputConfig"} == set()

    run(main())


def converse(model: str, **fields: Any) -> tuple[Json, str, str]:
    """What Bedrock is sent, by which operation, and what the client is told of losses."""
    found: list[tuple[Json, str, str]] = []

    async def main() -> None:
        async with Upstream(answers(200, json.dumps(CONVERSED).encode())) as up:
            bedrock = host(up, "bedrock", "bedrock-converse", region="us-east-1")
            async with serving(config(h=bedrock)) as gateway:
                reply = await ask(gateway, asked(f"h/{model}", **fields))
            operation = up.seen[0].head.split(b" ")[1].rpartition(b"/")[2].decode()
            found.append((body_of(up.seen[0]), operation, reply.value(b"x-asbru-loss") or ""))

    run(main())
    return found[0]


PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123def456"
FORCED = {"tool": {"name": "look"}}


@pytest.mark.parametrize(
    ("model", "choice", "sent"),
    [
        ("us.anthropic.claude-sonnet-4-6", {"type": "tool", "name": "look"}, FORCED),
        ("us.amazon.nova-pro-v1:0", {"type": "tool", "name": "look"}, FORCED),
        (PROFILE, {"type": "tool", "name": "look"}, FORCED),
        ("mistral.mistral-large-2407-v1:0", {"type": "any"}, {"any": {}}),
        ("mistral.mistral-large-2407-v1:0", {"type": "tool", "name": "look"}, {"any": {}}),
        ("deepseek.v3-v1:0", {"type": "any"}, None),
        ("openai.gpt-oss-120b-1:0", {"type": "tool", "name": "look"}, None),
        ("qwen.qwen3-coder-480b-a35b-v1:0", {"type": "any"}, None),
    ],
)
def test_bedrock_is_sent_a_forced_choice_where_the_family_takes_one(
    model: str, choice: Json, sent: Json | None
) -> None:
    other = {"name": "other", "input_schema": {"type": "object"}}
    body, _, losses = converse(model, tools=[TOOL, other], tool_choice=choice)
    assert body["toolConfig"].get("toolChoice") == sent
    named = [each["toolSpec"]["name"] for each in body["toolConfig"]["tools"]]
    narrowed = sent == {"any": {}} and choice["type"] == "tool"
    assert named == (["look"] if narrowed else ["look", "other"])
    said = next((each.partition(":")[0] for each in losses.split("; ") if "tool_choice" in each), None)
    assert said == ("approximated" if narrowed else None if sent else "dropped")


@pytest.mark.parametrize(
    ("model", "operation"),
    [
        ("us.anthropic.claude-sonnet-4-6", "converse-stream"),
        ("us.amazon.nova-pro-v1:0", "converse-stream"),
        (PROFILE, "converse-stream"),
        ("ai21.jamba-1-5-large-v1:0", "converse-stream"),
        ("us.meta.llama3-3-70b-instruct-v1:0", "converse"),
        ("some.new-model-v1:0", "converse"),
    ],
)
def test_tools_are_streamed_by_bedrocks_families_that_are_known_to(model: str, operation: str) -> None:
    assert converse(model, tools=[TOOL], stream=True)[1] == operation


@pytest.mark.parametrize(
    ("model", "sent", "losses"),
    [
        ("us.anthropic.claude-opus-4-7", "high", "none"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", None, "dropped: output_config.effort"),
        (PROFILE, None, "dropped: output_config.effort"),
    ],
)
def test_claude_on_bedrock_gets_an_effort_that_it_is_known_to_take(model: str, sent: str | None, losses: str) -> None:
    body, _, told = converse(model, output_config={"effort": "high"})
    assert (body.get("outputConfig", {}).get("effort"), told) == (sent, losses)


def test_a_schema_goes_to_bedrocks_models_that_are_known_to_be_held_to_it() -> None:
    output = {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {}}}}
    body, _, losses = converse("us.anthropic.claude-sonnet-4-5-20250929-v1:0", output_config=output)
    assert (body["outputConfig"]["textFormat"]["type"], losses) == ("json_schema", "none")
    for model in ("us.amazon.nova-pro-v1:0", "us.anthropic.claude-sonnet-4-20250514-v1:0"):
        body, _, losses = converse(model, output_config=output)
        assert body["toolConfig"]["toolChoice"] == {"tool": {"name": "structured_output"}}
        assert losses == "emulated: output_config.format"


def test_strict_is_left_out_for_a_family_that_is_not_known_to_take_it() -> None:
    strict = {**TOOL, "strict": True}
    body, _, losses = converse("us.amazon.nova-pro-v1:0", tools=[strict])
    assert "strict" not in body["toolConfig"]["tools"][0]["toolSpec"]
    assert losses == "dropped: tools.strict"


def test_mistral_on_bedrock_has_an_assistant_turn_between_results_and_text() -> None:
    call = {"type": "tool_use", "id": "abcdefghi", "name": "look", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "abcdefghi", "content": "r"}
    turns = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result, {"type": "text", "text": "And?"}]},
    ]
    body, _, losses = converse("mistral.mistral-large-2407-v1:0", tools=[TOOL], messages=turns)
    said = [(turn["role"], next(iter(turn["content"][0]))) for turn in body["messages"][2:]]
    assert said == [("user", "toolResult"), ("assistant", "text"), ("user", "text")]
    assert losses == "approximated: tool_result"


def test_a_bedrock_model_that_thinks_unasked_gets_room_for_it() -> None:
    body, _, losses = converse("openai.gpt-oss-120b-1:0", max_tokens=100)
    assert body["inferenceConfig"]["maxTokens"] == 8292
    assert losses == "approximated: max_tokens"


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_nova_wrote_badly_goes_to_the_fallback(stream: bool) -> None:
    words = b'{"message":"Model produced invalid sequence as part of ToolUse."}'
    kind = b"ModelErrorException"
    frame = encode({":message-type": "exception", ":exception-type": "modelStreamErrorException"}, words)
    event_stream = (b"content-type", b"application/vnd.amazon.eventstream")
    broken = answers(200, frame, event_stream) if stream else answers(424, words, (b"x-amzn-errortype", kind))

    async def main() -> None:
        async with (
            Upstream(broken) as up,
            Upstream(chunks({"content": "Hi."}) if stream else answers(200, DONE_BODY)) as other,
        ):
            hosts = {"h": host(up, "bedrock", "bedrock-converse", region="us-east-1"), "o": host(other, "groq")}
            async with serving(config(**hosts)) as gateway:
                body = asked("h/us.amazon.nova-pro-v1:0", tools=[TOOL], stream=stream, fallbacks=["o/m"])
                reply = await ask(gateway, body)
            assert reply.status == 200
            said = grammar.check(reply.body, error=False).message if stream else reply.json
            assert said["content"] == [{"type": "text", "text": "Hi."}]

    run(main())
