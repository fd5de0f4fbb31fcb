"""What every client does, with the official Python SDK, under every route prefix.

The oracle is the provider itself: the same call without a gateway.
"""

from __future__ import annotations

import asyncio

import pytest
from anthropic import Anthropic

from tests.e2e.clients import MODEL, PREFIXES, WEATHER, connect_async, text_of, user
from tests.e2e.running import Gateway, Server

SYSTEM = "Answer in the words of a bridge keeper. Ünïcödé: 桥 🌉 \\u0000 <&>\"'"


def test_create(client: Anthropic, direct: Anthropic) -> None:
    got, expected = (
        asked.messages.create(model=MODEL, max_tokens=200, system=SYSTEM, messages=[user("Who goes there? 🌉")])
        for asked in (client, direct)
    )
    assert got.to_json() == expected.to_json()
    assert "Who goes there? 🌉" in text_of(got)
    assert got.usage.output_tokens > 0


def test_raw_events(client: Anthropic, direct: Anthropic) -> None:
    model = f"{MODEL}:chunks=7"
    got, expected = (
        list(asked.messages.create(model=model, max_tokens=200, messages=[user("Count")], stream=True))
        for asked in (client, direct)
    )
    assert got == expected
    types = [event.type for event in got]
    assert types[0] == "message_start"
    assert types.count("content_block_delta") == 7
    assert types[-2:] == ["message_delta", "message_stop"]


def test_stream_helper(client: Anthropic, direct: Anthropic) -> None:
    with client.messages.stream(model=MODEL, max_tokens=300, messages=[user("Tell me")]) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    whole = direct.messages.create(model=MODEL, max_tokens=300, messages=[user("Tell me")])
    assert text == text_of(final) == text_of(whole)
    assert (final.id, final.stop_reason, final.usage.output_tokens) == (
        whole.id,
        whole.stop_reason,
        whole.usage.output_tokens,
    )


def test_streamed_tool_call(client: Anthropic, direct: Anthropic) -> None:
    with client.messages.stream(
        model=MODEL, max_tokens=300, tools=[WEATHER], messages=[user("get_weather please")]
    ) as stream:
        final = stream.get_final_message()
    whole = direct.messages.create(model=MODEL, max_tokens=300, tools=[WEATHER], messages=[user("get_weather please")])
    assert final.stop_reason == "tool_use"
    assert [block.to_dict() for block in final.content] == [block.to_dict() for block in whole.content]


def test_count_tokens_is_not_a_message(client: Anthropic, direct: Anthropic, gateway: Gateway) -> None:
    raw = client.messages.with_raw_response.count_tokens(model=MODEL, system=SYSTEM, messages=[user("How many?")])
    expected = direct.messages.count_tokens(model=MODEL, system=SYSTEM, messages=[user("How many?")])
    assert raw.parse().input_tokens == expected.input_tokens > 0
    assert raw.http_response.json() == {"input_tokens": expected.input_tokens}
    assert gateway.record(raw.headers["x-asbru-request-id"])["route"] == "count_tokens"


def test_models_page_by_page(client: Anthropic, direct: Anthropic) -> None:
    got = [model.id for model in client.models.list(limit=7)]
    expected = [model.id for model in direct.models.list(limit=1000)]
    assert len(got) == len(set(got))
    assert set(got) == {*expected, "fast"}
    with_lifecycle = client.models.list(limit=1000).data
    assert all(model.lifecycle == "active" and model.type == "model" for model in with_lifecycle)


def test_one_model(client: Anthropic, direct: Anthropic) -> None:
    assert client.models.retrieve("claude-opus-5").to_json() == direct.models.retrieve("claude-opus-5").to_json()
    assert client.models.retrieve("sandbox/claude-opus-5").id == "sandbox/claude-opus-5"
    assert client.models.retrieve("fast").id == "fast"


@pytest.mark.parametrize("prefix", PREFIXES, ids=lambda prefix: prefix or "root")
def test_async_client(gateway: Gateway, sandbox: Server, prefix: str) -> None:
    """Many at once on one client: each gets its own answer."""
    model = f"{MODEL}:chunks=5"

    async def run() -> None:
        async with connect_async(gateway.url + prefix) as client, connect_async(sandbox.url) as direct:

            async def one(number: int) -> str:
                asked = [user(f"This is number {number}")]
                async with client.messages.stream(model=model, max_tokens=100, messages=asked) as stream:
                    return "".join([text async for text in stream.text_stream])

            texts = await asyncio.gather(*map(one, range(10)))
            assert all(f"This is number {number}”" in text for number, text in enumerate(texts))
            got = await client.messages.create(model=MODEL, max_tokens=50, messages=[user("Once more")])
            expected = await direct.messages.create(model=MODEL, max_tokens=50, messages=[user("Once more")])
            assert got.to_json() == expected.to_json()
            counted = await client.messages.count_tokens(model=MODEL, messages=[user("Once more")])
            assert counted.input_tokens == expected.usage.input_tokens
            assert "fast" in [model.id async for model in client.models.list(limit=30)]

    asyncio.run(run())
