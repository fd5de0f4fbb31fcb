"""Through the gateway to a provider that speaks Bedrock's Converse, and to Claude on Bedrock by InvokeModel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from tests.gateway.conversations import IMAGE, NOTE, PDF, Conversations, assistant, calls, result, tool, user
from tests.gateway.translated import Json, Via, text_of, translated

KEYS = ({"value": "sk-error-429-a"}, {"value": "sk-invalid-a"})
SIGNED = [{"name": "signed", "aws": {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret"}}]
CLAUDE = "us.anthropic.claude-opus-4-6-v1"
HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
THINKING: Json = {"thinking": {"type": "adaptive", "display": "summarized"}}


@pytest.fixture(scope="module")
def via() -> Iterator[Via]:
    limited, refused = ({"keys": [{**key, "weight": 1000}, {"value": "sk-good"}]} for key in KEYS)
    there: Json = {"like": "bedrock", "region": "us-east-1", "list_models": "none"}
    invoke: Json = {"like": "bedrock-anthropic", "dialect": "anthropic", "envelope": "bedrock"}
    with translated(
        there,
        limited=limited,
        refused=refused,
        signed={"keys": SIGNED},
        invoke=invoke,
        invoke_errors=invoke,
        signed_invoke={**invoke, "keys": SIGNED},
    ) as made:
        yield made


class Bedrock(Conversations):
    takes_urls = False
    counts_thinking = False
    says_when = False
    """Bedrock does not say how long to wait."""


class TestClaude(Bedrock):
    model = CLAUDE
    stops = HAIKU

    def test_breakpoints_of_the_cache(self, via: Via) -> None:
        mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
        system = [{"type": "text", "text": "Long. " * 400, **mark}]
        tools = [{**tool("one"), **mark}]
        first = via.both_ways(model=self.model, system=system, tools=tools)
        messages = [user("hi"), {"role": "assistant", "content": "yes"}, user("again")]
        later = via.both_ways(model=self.model, system=system, tools=tools, messages=messages)
        assert first.usage.cache_creation is not None
        assert first.usage.cache_creation.ephemeral_1h_input_tokens == first.usage.cache_creation_input_tokens
        assert later.usage.cache_read_input_tokens == first.usage.cache_creation_input_tokens > 600

    def test_redacted_thinking_goes_back(self, via: Via) -> None:
        model = f"{self.model}:thinking=redacted"
        first = via.both_ways(model=model, **THINKING)
        assert first.content[0].type == "redacted_thinking"
        again = via.both_ways(model=model, **THINKING, messages=[user("hi"), assistant(first), user("again")])
        assert "again" in text_of(again)

    def test_documents_are_cited(self, via: Via) -> None:
        cited = {"citations": {"enabled": True}}
        found = {"type": "search_result", "source": "https://example.com", "title": "Found"}
        result = {**found, "content": [{"type": "text", "text": "It rains."}], **cited}
        answer = via.both_ways(model=self.model, messages=[user({**NOTE, **cited}, {**PDF, **cited}, result, "read")])
        citations = [each for block in answer.content if block.type == "text" for each in block.citations or ()]
        assert [(each.type, each.cited_text) for each in citations] == [
            ("char_location", "The bridge is open."),
            ("page_location", "The sandbox does not read this kind of document."),
            ("search_result_location", "It rains."),
        ]
        assert [getattr(each, "document_title", None) for each in citations] == ["Note", "report", None]

    def test_a_stop_sequence_is_named(self, via: Via) -> None:
        answer = via.both_ways(model=self.stops, stop_sequences=["never", "sandbox"])
        assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "sandbox")

    def test_a_signed_request(self, via: Via) -> None:
        answer = via.both_ways(model=f"signed/{HAIKU}")
        assert "“hi”" in text_of(answer)

    def test_the_models_own_refusal_comes_through(self, via: Via) -> None:
        body: Json = {"model": HAIKU, "thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 1024}
        answer = via.ask(**body)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"] == "`max_tokens` must be greater than `thinking.budget_tokens`."


class TestNova(Bedrock):
    model = "us.amazon.nova-2-lite-v1:0"
    stops = "us.amazon.nova-lite-v1:0"
    takes_one_at_a_time = False

    def test_a_search(self, via: Via) -> None:
        search = {"type": "web_search_20250305", "name": "web_search"}
        answer = via.both_ways(model=self.model, tools=[search], messages=[user("web_search bridges")])
        assert "Sandbox result 1" in text_of(answer)


def test_other_families_think_by_effort(via: Via) -> None:
    for model in ("openai.gpt-oss-120b-1:0", "openai.gpt-5.6"):
        answer = via.both_ways(model=model, **THINKING, output_config={"effort": "high"})
        assert answer.content[0].type == "thinking" and answer.content[0].thinking


class TestInvoke:
    """The client's own dialect in an envelope: what comes is what Anthropic's API would have said."""

    model: ClassVar[str] = f"invoke/{HAIKU}"

    @pytest.mark.parametrize("provider", ["invoke", "signed_invoke"])
    def test_text(self, via: Via, provider: str) -> None:
        answer = via.both_ways(model=f"{provider}/{HAIKU}", system="Be brief.")
        assert "“hi”" in text_of(answer) and answer.stop_reason == "end_turn"

    def test_tools_and_thinking_over_turns(self, via: Via) -> None:
        thinking = {"type": "enabled", "budget_tokens": 1024}
        asked: Json = {"model": self.model, "max_tokens": 2_000, "tools": [tool("one")], "thinking": thinking}
        first = via.both_ways(**asked, messages=[user("one", IMAGE)])
        assert [block.type for block in first.content] == ["thinking", "text", "tool_use"]
        turns = [user("one", IMAGE), assistant(first), user(result(calls(first)[0].id, [IMAGE]))]
        assert via.both_ways(**asked, messages=turns).stop_reason == "end_turn"

    def test_counting(self, via: Via) -> None:
        counted = via.ask("/v1/messages/count_tokens", model=self.model).json()["input_tokens"]
        assert counted == via.both_ways(model=self.model).usage.input_tokens

    @pytest.mark.parametrize("status", [400, 429, 503])
    def test_errors(self, via: Via, status: int) -> None:
        kinds = {400: (400, "invalid_request_error"), 429: (429, "rate_limit_error"), 503: (529, "overloaded_error")}
        for stream in (False, True):
            answer = via.ask(model=f"invoke_errors/error-{status}", stream=stream)
            assert (answer.status_code, answer.json()["error"]["type"]) == kinds[status]

    @pytest.mark.parametrize("model", ["die-mid-stream", "end-mid-stream", "error-mid-stream"])
    def test_a_broken_stream(self, via: Via, model: str) -> None:
        stream = via.stream(model=f"invoke/{model}:after=4", fallbacks=["claude/any"], error=True)
        assert stream.text() and stream.error is not None

    def test_a_fallback(self, via: Via) -> None:
        stream = via.stream(model="invoke/error-first-event", fallbacks=["claude/any"])
        assert "“hi”" in stream.text()
