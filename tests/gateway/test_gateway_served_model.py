"""The Record, the price and ``x-asbru-model`` follow the model that answered, not the one that was asked for."""

from __future__ import annotations

import json

import pytest

from tests.gateway.provider import (
    BLOCK,
    BLOCK_STOP,
    HELLO,
    MESSAGE,
    STOP,
    Json,
    Play,
    Upstream,
    answers,
    event,
    streams,
)
from tests.gateway.support import Reply, ask, asked, provider, providers, run, serving

streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
PRICES = {"a/m-1": {"input": 1, "output": 1}, "a/m-big": {"input": 100, "output": 100}}
COUNTS = {"input_tokens": 10, "output_tokens": 5}


def answering(model: object, stream: bool, usage: Json, *, first: object = None) -> Play:
    """An answer of a model with a usage; ``first`` is what the stream's first event names instead."""
    message = json.loads(MESSAGE) | {"model": model, "usage": usage}
    if not stream:
        return answers(200, json.dumps(message).encode())
    start = {**message, "model": first or model, "content": [], "stop_reason": None, "usage": {"input_tokens": 1}}
    delta = event("message_delta", delta={"stop_reason": "end_turn"}, usage=usage)
    return streams(event("message_start", message=start), BLOCK, HELLO, BLOCK_STOP, delta, STOP)


async def one(play: Play, stream: bool, **more: object) -> tuple[Reply, Json]:
    """The answer to one request for `m-1`, and its Record."""
    async with Upstream(play) as a:
        async with serving(providers(a) | {"prices": PRICES, **more}) as gateway:
            reply = await ask(gateway, asked("m-1", stream=stream))
        (record,) = gateway.records
    return reply, record


@streamed
def test_another_model_than_asked_for_is_recorded_named_and_priced(stream: bool) -> None:
    async def main() -> None:
        reply, record = await one(answering("m-big", stream, COUNTS), stream)
        assert reply.value(b"x-asbru-model") == reply.value(b"x-bifrost-resolved-model") == "m-big"
        assert reply.attempts == ["a/m-1 200"]
        assert (record["model"], record["served_model"], record["attempts"][0]["model"]) == ("m-1", "m-big", "m-1")
        assert record["cost_usd"] == pytest.approx(15 * 100 / 1e6)
        assert reply.value(b"x-asbru-cost-usd") == (None if stream else "0.001500000")

    run(main())


@streamed
@pytest.mark.parametrize("model", ["m-1-20251001", "who knows"])
def test_a_model_without_a_price_of_its_own_costs_what_was_asked_for(model: str, stream: bool) -> None:
    async def main() -> None:
        reply, record = await one(answering(model, stream, COUNTS), stream)
        assert reply.value(b"x-asbru-model") == record["served_model"] == model
        assert record["cost_usd"] == pytest.approx(15 / 1e6)

    run(main())


@streamed
@pytest.mark.parametrize("model", [None, 5, "", "x" * 300, ["m-big"]])
def test_an_answer_that_does_not_say_is_of_the_model_asked_for(model: object, stream: bool) -> None:
    async def main() -> None:
        reply, record = await one(answering(model, stream, COUNTS), stream)
        assert reply.value(b"x-asbru-model") == record["served_model"] == "m-1"
        assert record["cost_usd"] == pytest.approx(15 / 1e6)

    run(main())


@streamed
def test_an_odd_name_is_made_safe(stream: bool) -> None:
    async def main() -> None:
        reply, record = await one(answering("m\r\nx: y\x9bé", stream, COUNTS), stream)
        assert reply.value(b"x-asbru-model") == "m??x: y?%C3%A9"
        assert record["served_model"] == "m??x: y?é"

    run(main())


@streamed
def test_each_iteration_is_recorded_and_costs_what_its_model_does(stream: bool) -> None:
    iterations = [
        {"type": "message", **COUNTS},
        {"type": "advisor_message", "model": "m-big", "input_tokens": 20, "output_tokens": 2},
        {"type": "compaction", "input_tokens": 100, "output_tokens": 0},
    ]

    async def main() -> None:
        _, record = await one(answering("m-1", stream, {**COUNTS, "iterations": iterations}), stream)
        assert (record["served_model"], record["usage"]["input_tokens"]) == ("m-1", 10)
        named = [(each["type"], each.get("model"), each["usage"]["input_tokens"]) for each in record["iterations"]]
        assert named == [("message", None, 10), ("advisor_message", "m-big", 20), ("compaction", None, 100)]
        assert record["cost_usd"] == pytest.approx((15 + 22 * 100 + 100) / 1e6)

    run(main())


@streamed
def test_a_fallback_of_the_provider_is_what_answered(stream: bool) -> None:
    iterations = [
        {"type": "message", "model": "m-1", "input_tokens": 10, "output_tokens": 1},
        {"type": "fallback_message", "model": "m-big", "input_tokens": 10, "output_tokens": 4},
    ]

    async def main() -> None:
        usage = {**COUNTS, "iterations": iterations}
        reply, record = await one(answering("m-big", stream, usage, first="m-1"), stream)
        assert record["served_model"] == "m-big"
        assert record["cost_usd"] == pytest.approx((11 + 14 * 100) / 1e6)
        # a stream's header went out before the fallback took over
        assert reply.value(b"x-asbru-model") == ("m-1" if stream else "m-big")

    run(main())


def test_a_translated_answer_is_of_the_model_that_was_asked_for() -> None:
    chat = {
        "id": "x",
        "model": "gpt-test-2025-11-13",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }

    async def main() -> None:
        async with Upstream(answers(200, json.dumps(chat).encode())) as a:
            there = provider(a) | {"dialect": "openai-chat"}
            config = {"providers": {"a": there}, "models": {"alias": ["a/m-1"]}, "prices": PRICES}
            async with serving(config) as gateway:
                reply = await ask(gateway, asked("alias"))
                assert (reply.json["model"], reply.value(b"x-asbru-model")) == ("alias", "m-1")
        (record,) = gateway.records
        assert record["served_model"] == "m-1"
        assert record["cost_usd"] == pytest.approx(15 / 1e6)

    run(main())


def test_an_answer_out_of_an_envelope_says_which_model_it_is_of() -> None:
    async def main() -> None:
        message = json.loads(MESSAGE) | {"model": "claude-haiku-4-5-20251001"}
        async with Upstream(answers(200, json.dumps(message).encode())) as a:
            there = provider(a) | {"envelope": "bedrock", "credential": "authorization", "list_models": "none"}
            asked_for = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
            config = {"providers": {"a": there}, "prices": {f"a/{asked_for}": PRICES["a/m-1"]}}
            async with serving(config) as gateway:
                reply = await ask(gateway, asked(asked_for))
                assert reply.value(b"x-asbru-model") == "claude-haiku-4-5-20251001"
        (record,) = gateway.records
        assert record["served_model"] == "claude-haiku-4-5-20251001"
        assert record["cost_usd"] == pytest.approx(15 / 1e6)

    run(main())
