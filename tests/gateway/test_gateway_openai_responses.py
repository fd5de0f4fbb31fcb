"""Through the gateway to a provider that speaks OpenAI's Responses API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from asbru.dialects import blobs
from tests.gateway.conversations import Conversations, assistant, user
from tests.gateway.translated import Json, Via, text_of, translated


@pytest.fixture(scope="module")
def via() -> Iterator[Via]:
    keys = ({"value": "sk-error-429-a"}, {"value": "sk-invalid-a"})
    limited, refused = ({"keys": [{**key, "weight": 1000}, {"value": "sk-good"}]} for key in keys)
    with translated({"like": "openai"}, "/v1", limited=limited, refused=refused) as made:
        yield made


class TestOpenAIResponses(Conversations):
    model = "gpt-5.6"
    stops = "gpt-4o"

    def test_reasoning_goes_back_unless_it_is_anothers(self, via: Via) -> None:
        thinking = {"type": "adaptive", "display": "summarized"}
        asked: dict[str, Any] = {"model": self.model, "thinking": thinking, "output_config": {"effort": "high"}}
        first = via.both_ways(**asked)
        history = [user("hi"), assistant(first), user("again")]
        assert "again" in text_of(via.both_ways(**asked, messages=history))
        bare = [user("hi"), {"role": "assistant", "content": text_of(first)}, user("again")]
        with_it, without = (via.both_ways(**asked, messages=each).usage.input_tokens for each in (history, bare))
        assert with_it > without  # the reasoning did go back
        foreign = self.resigned(history, "c3RyYW5nZQ==")
        answer = via.ask(**asked, messages=foreign)
        assert (answer.status_code, answer.headers["x-asbru-loss"]) == (200, "dropped: messages.1.content.0")
        state = blobs.unseal(first.content[0].to_dict()["signature"], "there", self.model)  # type: ignore[arg-type]  # a dict of objects
        assert state is not None
        state["reasoning"]["encrypted_content"] = "AAAA" + state["reasoning"]["encrypted_content"][4:]
        altered = via.ask(**asked, messages=self.resigned(history, blobs.seal("there", self.model, state)))
        assert (altered.status_code, altered.json()["error"]["type"]) == (400, "invalid_request_error")
        assert "could not be verified" in altered.json()["error"]["message"]

    def resigned(self, history: list[Json], signature: str) -> list[Json]:
        """The same with another signature of its thinking."""
        said = history[1]
        thought, *others = said["content"]
        return [history[0], {**said, "content": [{**thought, "signature": signature}, *others]}, *history[2:]]

    def test_breakpoints_of_the_cache(self, via: Via) -> None:
        mark = {"cache_control": {"type": "ephemeral"}}
        system = [{"type": "text", "text": "Long. " * 400, **mark}]
        first = via.both_ways(model=self.model, system=system)
        messages = [user("hi"), {"role": "assistant", "content": "yes"}, user("again")]
        later = via.both_ways(model=self.model, system=system, messages=messages)
        assert first.usage.cache_creation_input_tokens == later.usage.cache_read_input_tokens == 600

    def test_counting_is_the_providers(self, via: Via) -> None:
        counted = via.ask("/v1/messages/count_tokens", model=self.model, max_tokens=None)
        assert "x-asbru-estimate" not in counted.headers
        assert counted.json()["input_tokens"] == via.both_ways(model=self.model).usage.input_tokens

    def test_web_search(self, via: Via) -> None:
        tools = [{"type": "web_search_20250305", "name": "web_search"}]
        first = via.both_ways(model=self.model, tools=tools, messages=[user("web_search")])
        assert [block.type for block in first.content][:2] == ["server_tool_use", "web_search_tool_result"]
        again = via.both_ways(
            model=self.model, tools=tools, messages=[user("web_search"), assistant(first), user("again")]
        )
        assert "again" in text_of(again)

    def test_mcp_servers(self, via: Via) -> None:
        server = {"type": "url", "name": "docs", "url": "https://example.com/mcp", "authorization_token": "secret"}
        asked: Json = {
            "model": self.model,
            "mcp_servers": [server],
            "tools": [{"type": "mcp_toolset", "mcp_server_name": "docs"}],
            "headers": {"anthropic-beta": "mcp-client-2025-11-20"},
        }
        answer = via.ask(**asked, messages=[user("docs")])
        assert answer.status_code == 200, answer.text
        content = answer.json()["content"]
        assert [block["type"] for block in content] == ["mcp_tool_use", "mcp_tool_result", "text"]
        assert via.stream(**asked, messages=[user("docs")]).message["content"] == content
        said = {"role": "assistant", "content": content}
        again = via.ask(**asked, messages=[user("docs"), said, user("again")])
        assert again.status_code == 200, again.text
