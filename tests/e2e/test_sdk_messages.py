"""What can be in a message: tools, thinking, citations, caching, structured output, MCP, with the official Python SDK.

Where an answer can be whole or streamed, it is asked for in both ways and must be the same.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from anthropic import Anthropic, BadRequestError, beta_async_tool, beta_tool
from anthropic.types import DocumentBlockParam, Message, MessageParam, TextBlockParam
from pydantic import BaseModel

from tests.e2e.clients import MODEL, WEATHER, connect_async, overheard, text_of, user
from tests.e2e.running import Gateway

THINKER = "claude-opus-5"


class Bridge(BaseModel):
    """What a structured answer is asked to be."""

    name: str
    length_m: int
    arches: list[str]
    is_open: bool


def both_ways(client: Anthropic, **asked: Any) -> Message:
    """The answer, asked for whole and as a stream."""
    whole: Message = client.messages.create(**asked)
    with client.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    assert [block.to_dict() for block in streamed.content] == [block.to_dict() for block in whole.content]
    assert streamed.stop_reason == whole.stop_reason
    assert streamed.usage.to_dict() == whole.usage.to_dict()
    return whole


def test_tool_call_and_result(via: Anthropic) -> None:
    messages: list[MessageParam] = [user("Call get_weather")]
    asked = both_ways(via, model=MODEL, max_tokens=300, tools=[WEATHER], messages=messages)
    assert asked.stop_reason == "tool_use"
    call = asked.content[-1]
    assert call.type == "tool_use" and call.input == {"city": "Paris"}
    messages += [
        {"role": "assistant", "content": asked.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "21 °C, sunny"}]},
    ]
    answer = both_ways(via, model=MODEL, max_tokens=300, tools=[WEATHER], messages=messages)
    assert answer.stop_reason == "end_turn"
    assert "21 °C, sunny" in text_of(answer)


def test_parallel_tool_calls(via: Anthropic) -> None:
    tools = [WEATHER, {**WEATHER, "name": "get_tides"}]
    asked: dict[str, Any] = {"model": MODEL, "max_tokens": 300, "tools": tools}
    answer = both_ways(via, **asked, messages=[user("Call get_weather and get_tides")])
    assert [block.name for block in answer.content if block.type == "tool_use"] == ["get_weather", "get_tides"]
    single = both_ways(
        via,
        **asked,
        messages=[user("Call get_weather and get_tides")],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
    )
    assert len([block for block in single.content if block.type == "tool_use"]) == 1


@beta_tool
def get_weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: Where.
    """
    return f"It rains in {city}."


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_tool_runner_on_a_thread(via: Anthropic, streamed: bool) -> None:
    """The second request holds the new turn alone; the gateway leads it to where the thread lives."""
    client, sent = overheard(str(via.base_url))
    asked: dict[str, Any] = {"model": MODEL, "max_tokens": 300, "tools": [get_weather]}
    with client:
        runner = client.beta.messages.tool_runner(
            **asked, messages=[{"role": "user", "content": "Use get_weather"}], stream=streamed
        )
        final = runner.until_done()
    assert final.stop_reason == "end_turn"
    assert "It rains in Paris." in "".join(block.text for block in final.content if block.type == "text")
    first, second = sent
    assert first["thread"] == {"type": "create"}
    assert isinstance(second["thread"], dict) and second["thread"]["type"] == "continue"
    assert "tools" not in second and isinstance(second["messages"], list) and len(second["messages"]) == 1


def test_tool_runner_where_threads_are_refused(via: Anthropic) -> None:
    """The provider refuses threads together with thinking; its error goes through and the SDK does without them."""
    client, sent = overheard(str(via.base_url))
    with client:
        runner = client.beta.messages.tool_runner(
            model=THINKER,
            max_tokens=1000,
            tools=[get_weather],
            thinking={"type": "adaptive"},
            messages=[{"role": "user", "content": "Use get_weather"}],
        )
        final = runner.until_done()
    assert "It rains in Paris." in "".join(block.text for block in final.content if block.type == "text")
    assert "thread" in sent[0]
    assert all(not body.get("thread") for body in sent[1:])
    assert len(sent) == 3


def test_thinking_replayed(via: Anthropic) -> None:
    asked: dict[str, Any] = {
        "model": THINKER,
        "max_tokens": 2000,
        "thinking": {"type": "adaptive", "display": "summarized"},
        "tools": [WEATHER],
    }
    messages: list[MessageParam] = [user("Call get_weather")]
    first = both_ways(via, **asked, messages=messages)
    thought = first.content[0]
    assert thought.type == "thinking" and thought.thinking and thought.signature
    assert first.usage.output_tokens_details is not None and first.usage.output_tokens_details.thinking_tokens > 0
    call = first.content[-1]
    assert call.type == "tool_use"
    messages += [
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "fog"}]},
    ]
    assert "fog" in text_of(both_ways(via, **asked, messages=messages))
    thought.thinking += " And yet."
    messages[1] = {"role": "assistant", "content": first.content}
    with pytest.raises(BadRequestError, match="signature"):
        via.messages.create(**asked, messages=messages, extra_headers={"x-asbru-strict": "true"})
    raw = via.messages.with_raw_response.create(**asked, messages=messages)
    assert raw.headers["x-asbru-loss"] == "dropped: messages"


def test_redacted_and_omitted_thinking(via: Anthropic) -> None:
    for model, kind in ((THINKER, "thinking"), (f"{MODEL}:thinking=redacted", "redacted_thinking")):
        asked: dict[str, Any] = {"model": model, "max_tokens": 2000, "thinking": {"type": "adaptive"}}
        first = both_ways(via, **asked, messages=[user("Think")])
        assert first.content[0].type == kind
        history: list[MessageParam] = [
            user("Think"),
            {"role": "assistant", "content": first.content},
            user("Think again"),
        ]
        assert "Think again" in text_of(both_ways(via, **asked, messages=history))


def test_citations(via: Anthropic) -> None:
    document: DocumentBlockParam = {
        "type": "document",
        "title": "The bridge",
        "source": {"type": "text", "media_type": "text/plain", "data": "It has three arches. It burns."},
        "citations": {"enabled": True},
    }
    asked: MessageParam = {"role": "user", "content": [document, {"type": "text", "text": "What of it?"}]}
    answer = both_ways(via, model=MODEL, max_tokens=300, messages=[asked])
    cited = [citation for block in answer.content if block.type == "text" for citation in block.citations or ()]
    assert len(cited) == 1
    assert cited[0].type == "char_location"
    assert cited[0].cited_text.strip() == "It has three arches."


def test_cache_usage(via: Anthropic, gateway: Gateway) -> None:
    system: list[TextBlockParam] = [
        {"type": "text", "text": "Keep the bridge. " * 200, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    ]
    first = both_ways(via, model=MODEL, max_tokens=50, system=system, messages=[user("One")])
    assert first.usage.cache_creation is not None
    assert first.usage.cache_creation.ephemeral_1h_input_tokens == first.usage.cache_creation_input_tokens
    assert first.usage.cache_creation_input_tokens and not first.usage.cache_read_input_tokens
    history: list[MessageParam] = [
        user("One"),
        {"role": "assistant", "content": first.content},
        user(f"At {via.base_url}"),
    ]
    second = both_ways(via, model=MODEL, max_tokens=50, system=system, messages=history)
    assert second.usage.cache_read_input_tokens == first.usage.cache_creation_input_tokens
    usage = gateway.record(second._request_id)["usage"]
    assert usage["cache_read_input_tokens"] == second.usage.cache_read_input_tokens
    assert usage["output_tokens"] == second.usage.output_tokens


def test_structured_output(via: Anthropic) -> None:
    parsed = via.messages.parse(model=MODEL, max_tokens=500, messages=[user("Describe it")], output_format=Bridge)
    assert isinstance(parsed.parsed_output, Bridge)
    with via.messages.stream(
        model=MODEL, max_tokens=500, messages=[user("Describe it")], output_format=Bridge
    ) as stream:
        assert stream.get_final_message().parsed_output == parsed.parsed_output


def test_mcp_servers(via: Anthropic) -> None:
    answer = via.beta.messages.create(
        model=MODEL,
        max_tokens=500,
        messages=[{"role": "user", "content": "Ask the server keeper"}],
        mcp_servers=[{"type": "url", "name": "keeper", "url": "https://mcp.example.com/", "authorization_token": "t"}],
        tools=[{"type": "mcp_toolset", "mcp_server_name": "keeper"}],
        betas=["mcp-client-2025-11-20"],
    )
    use, result = answer.content[:2]
    assert use.type == "mcp_tool_use" and use.server_name == "keeper"
    assert result.type == "mcp_tool_result" and result.tool_use_id == use.id


def test_server_tools(via: Anthropic) -> None:
    answer = both_ways(
        via,
        model=MODEL,
        max_tokens=900,
        messages=[user("web_search for bridges")],
        tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}],
    )
    assert [block.type for block in answer.content[:2]] == ["server_tool_use", "web_search_tool_result"]
    assert answer.usage.server_tool_use is not None and answer.usage.server_tool_use.web_search_requests == 1


def test_stop_sequence_and_truncation(via: Anthropic) -> None:
    stopped = both_ways(via, model=MODEL, max_tokens=300, messages=[user("Halt")], stop_sequences=["sandbox"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "sandbox")
    assert both_ways(via, model=MODEL, max_tokens=3, messages=[user("Cut")]).stop_reason == "max_tokens"


def test_system_message_in_the_middle(via: Anthropic) -> None:
    messages: list[MessageParam] = [user("First"), {"role": "system", "content": "Whisper."}]
    assert "First" in text_of(both_ways(via, model=THINKER, max_tokens=300, messages=messages))


def test_async_tool_runner_on_a_thread(via: Anthropic) -> None:
    @beta_async_tool
    async def get_tides(city: str) -> str:
        """The tides at a city.

        Args:
            city: Where.
        """
        return f"Low in {city}."

    async def run() -> None:
        async with connect_async(str(via.base_url)) as client:
            final = await client.beta.messages.tool_runner(
                model=MODEL,
                max_tokens=300,
                tools=[get_tides],
                messages=[{"role": "user", "content": "Use get_tides"}],
            ).until_done()
        assert "Low in Paris." in "".join(block.text for block in final.content if block.type == "text")

    asyncio.run(run())


def test_headers(via: Anthropic, direct: Anthropic) -> None:
    """The provider's own go through; the gateway's say what it did."""
    asked: dict[str, Any] = {"model": f"{MODEL}:priced", "max_tokens": 40, "messages": [user("Whence?")]}
    raw = via.messages.with_raw_response.create(**asked)
    expected = direct.messages.with_raw_response.create(**asked)
    got = dict(raw.headers)
    assert {name: got.get(name) for name in expected.headers} == dict(expected.headers)
    assert raw.request_id == expected.request_id
    assert got["x-asbru-request-id"] == got["x-bifrost-request-id"] != got["request-id"]
    assert got["x-asbru-provider"] == got["x-bifrost-provider"] == "sandbox"
    assert got["x-asbru-model"] == got["x-bifrost-resolved-model"] == f"{MODEL}:priced"
    assert re.fullmatch(rf"sandbox/{MODEL}:priced 200 \d+ms", got["x-asbru-attempts"])
    assert got["x-asbru-upstream-ms"] == got["x-bifrost-upstream-latency-ms"]
    assert int(got["x-asbru-overhead-us"]) >= 0
    assert "x-bifrost-fallback-index" not in got
    usage = raw.parse().usage
    assert float(got["x-asbru-cost-usd"]) == pytest.approx((usage.input_tokens * 3 + usage.output_tokens * 15) / 1e6)
    with via.messages.stream(**asked) as stream:
        stream.until_done()
    streamed = set(stream.response.headers)
    assert set(got) - streamed == {"x-asbru-cost-usd", "content-length"}
    assert {"transfer-encoding", "cache-control"} <= streamed


def test_alias(via: Anthropic) -> None:
    raw = via.messages.with_raw_response.create(model="fast", max_tokens=50, messages=[user("Hi")])
    assert raw.headers["x-asbru-model"] == MODEL
    assert raw.parse().model == MODEL


def test_record_of_a_stream(via: Anthropic, gateway: Gateway) -> None:
    """What went by is what stands in the Record."""
    with via.messages.stream(model=f"{MODEL}:chunks=9", max_tokens=300, messages=[user("Note this")]) as stream:
        final = stream.get_final_message()
        record = gateway.record(stream.response.headers["x-asbru-request-id"])
    assert (record["route"], record["stream"], record["status"]) == ("messages", True, 200)
    assert (record["provider"], record["served_model"]) == ("sandbox", f"{MODEL}:chunks=9")
    assert record["stop_reason"] == final.stop_reason == "end_turn"
    assert record["usage_complete"] is True
    assert record["usage"]["input_tokens"] == final.usage.input_tokens
    assert record["usage"]["output_tokens"] == final.usage.output_tokens
    assert record["response_bytes"] > len(text_of(final))
