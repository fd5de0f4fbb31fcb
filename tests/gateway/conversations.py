"""What every translated dialect must carry: the conversations of an Anthropic client, through the gateway and back.

A test class of a dialect inherits `Conversations` and says which models to ask; what is special of it it tests itself.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

import anthropic
import pytest
from anthropic import beta_tool
from anthropic.types import Message
from pydantic import BaseModel

from tests.gateway.translated import Json, Via, text_of

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE: Json = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
PDF: Json = {
    "type": "document",
    "title": "report",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK"},
}
NOTE: Json = {
    "type": "document",
    "title": "Note",
    "source": {"type": "text", "media_type": "text/plain", "data": "The bridge is open."},
}


def tool(name: str, **schema: Any) -> Json:
    properties = schema or {"city": {"type": "string"}}
    return {
        "name": name,
        "description": f"Use it to {name}",
        "input_schema": {"type": "object", "properties": properties, "required": list(properties)},
    }


def user(*content: Json | str) -> Json:
    return {"role": "user", "content": [{"type": "text", "text": it} if isinstance(it, str) else it for it in content]}


def assistant(message: Message) -> Json:
    return {"role": "assistant", "content": [block.to_dict() for block in message.content]}


def calls(message: Message) -> list[anthropic.types.ToolUseBlock]:
    return [block for block in message.content if block.type == "tool_use"]


def result(call_id: str, content: Any, **fields: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **fields}


class Bridge(BaseModel):
    """What a structured answer is asked to be."""

    name: str
    arches: list[str]
    is_open: bool


ERRORS: dict[int, tuple[int, str]] = {
    400: (400, "invalid_request_error"),
    401: (502, "api_error"),
    402: (502, "api_error"),
    404: (404, "not_found_error"),
    413: (413, "request_too_large"),
    422: (400, "invalid_request_error"),
    429: (429, "rate_limit_error"),
    500: (500, "api_error"),
    503: (529, "overloaded_error"),
    504: (504, "timeout_error"),
}
"""The provider's status -> what the client gets."""


class Conversations:
    """The tests; ``via`` is a fixture of the module that inherits them."""

    model = ""
    """A model that reasons, and takes images, documents and tools."""
    stops = ""
    """A model that takes stop sequences and temperature."""
    shows_thinking = True
    counts_thinking = True
    exact: ClassVar[Json] = {}
    """What a request must say for nothing to be lost."""

    def test_text(self, via: Via) -> None:
        asked: Json = {"system": "Be brief.", "messages": [user("hello")]}
        answer = via.both_ways(model=self.model, **asked)
        assert (answer.stop_reason, answer.model) == ("end_turn", self.model)
        assert text_of(answer) == text_of(via.both_ways(model="claude/any", **asked))
        assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0

    def test_a_conversation(self, via: Via) -> None:
        messages = [user("one"), {"role": "assistant", "content": "two"}, user("three", "four")]
        answer = via.both_ways(model=self.model, messages=messages)
        assert "four" in text_of(answer)

    def test_tools_over_turns(self, via: Via) -> None:
        tools = [tool("get_weather"), tool("get_tides", port={"type": "string"}, day={"type": "integer"})]
        messages = [user("get_weather and get_tides")]
        asked: Json = {"model": self.model, "tools": tools}
        first = via.both_ways(**asked, messages=messages)
        assert first.stop_reason == "tool_use"
        assert [(call.name, set(call.input)) for call in calls(first)] == [
            ("get_weather", {"city"}),
            ("get_tides", {"port", "day"}),
        ]
        one, two = calls(first)
        results = [result(two.id, "Low."), result(one.id, [{"type": "text", "text": "Rain."}], is_error=True)]
        messages += [assistant(first), user(*results, "and now?")]
        second = via.both_ways(**asked, messages=messages)
        assert second.stop_reason == "end_turn"
        assert "Rain." in text_of(second) and "Low." in text_of(second)

    def test_results_that_are_empty_or_pictures(self, via: Via) -> None:
        messages = [user("look")]
        first = via.both_ways(model=self.model, tools=[tool("look")], messages=messages)
        (call,) = calls(first)
        for content in ([], "", [IMAGE], [{"type": "text", "text": "See."}, IMAGE], [PDF]):
            answered = [*messages, assistant(first), user(result(call.id, content))]
            assert via.both_ways(model=self.model, tools=[tool("look")], messages=answered).stop_reason == "end_turn"

    def test_tool_choice(self, via: Via) -> None:
        tools = [tool("first"), tool("second")]

        def called(**choice: Any) -> list[str]:
            answer = via.both_ways(model=self.model, tools=tools, tool_choice=choice, messages=[user("first second")])
            assert (answer.stop_reason == "tool_use") == bool(calls(answer))
            return [call.name for call in calls(answer)]

        assert called(type="any") == ["first", "second"]
        assert called(type="tool", name="second") == ["second"]
        assert called(type="none") == []
        if self.takes_one_at_a_time:
            assert called(type="auto", disable_parallel_tool_use=True) == ["first"]

    def test_the_tool_runner(self, via: Via) -> None:
        asked_for: list[str] = []

        @beta_tool
        def get_weather(city: str) -> str:
            """The weather in a city.

            Args:
                city: Where.
            """
            asked_for.append(city)
            return f"It rains in {city}."

        runner = via.client.beta.messages.tool_runner(
            model=self.model, max_tokens=400, tools=[get_weather], messages=[{"role": "user", "content": "get_weather"}]
        )
        last = runner.until_done()
        assert len(asked_for) == 1
        assert f"It rains in {asked_for[0]}." in "".join(block.text for block in last.content if block.type == "text")

    def test_thinking_goes_back_and_forth(self, via: Via) -> None:
        asked: Json = {
            "model": self.model,
            "thinking": {"type": "adaptive", "display": "summarized"},
            "output_config": {"effort": "high"},
            "tools": [tool("get_weather")],
        }
        messages = [user("get_weather")]
        first = via.both_ways(**asked, messages=messages)
        if self.counts_thinking:
            assert first.usage.output_tokens_details is not None and first.usage.output_tokens_details.thinking_tokens
        thought = [block for block in first.content if block.type == "thinking"]
        assert any(block.thinking for block in thought) == self.shows_thinking
        assert all(block.signature for block in thought)
        messages += [assistant(first), user(result(calls(first)[0].id, "Rain."))]
        second = via.both_ways(**asked, messages=messages)
        assert "Rain." in text_of(second)
        silent = {**asked, "thinking": {"type": "adaptive", "display": "omitted"}}
        assert not any(block.type == "thinking" and block.thinking for block in via.both_ways(**silent).content)

    def test_images_and_documents(self, via: Via) -> None:
        url = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
        plain = via.both_ways(model=self.model, messages=[user("look")])
        seen = via.both_ways(model=self.model, messages=[user("look", IMAGE, *([url] if self.takes_urls else []))])
        assert seen.usage.input_tokens >= plain.usage.input_tokens + 1_500
        read = via.both_ways(model=self.model, messages=[user(PDF, NOTE, "read")])
        assert read.usage.input_tokens >= plain.usage.input_tokens + 1_500
        assert "read" in text_of(read)

    says_when = True
    """How long to wait, when its limits are reached."""
    takes_one_at_a_time = True
    """Parallel calls can be switched off."""
    takes_urls = True
    """Images by URL."""

    def test_structured_output(self, via: Via) -> None:
        parsed = via.client.messages.parse(
            model=self.model,
            max_tokens=400,
            messages=[{"role": "user", "content": "a bridge"}],
            output_format=Bridge,
        )
        assert isinstance(parsed.parsed_output, Bridge)
        schema = {**Bridge.model_json_schema(), "additionalProperties": False}
        form = {"format": {"type": "json_schema", "schema": schema}}
        answer = via.both_ways(model=self.model, messages=[user("a bridge")], output_config=form)
        Bridge.model_validate(json.loads(text_of(answer)))

    def test_the_end(self, via: Via) -> None:
        assert via.both_ways(model=self.stops, max_tokens=20).stop_reason == "max_tokens"
        stopped = via.both_ways(model=self.stops, stop_sequences=["sandbox"], temperature=0.5)
        assert text_of(stopped).endswith("This is the Asbru ")
        assert stopped.stop_reason in ("end_turn", "stop_sequence")
        refusal = via.both_ways(model=f"{self.stops}:stop_reason=refusal")
        assert refusal.stop_reason == "refusal"

    def test_many_deltas(self, via: Via) -> None:
        stream = via.stream(model=f"{self.model}:chunks=100", max_tokens=4_000)
        assert len(stream.texts()) == 100

    @pytest.mark.parametrize("status", ERRORS)
    def test_errors(self, via: Via, status: int) -> None:
        for stream in (False, True):
            answer = via.ask(model=f"errors/error-{status}", stream=stream)
            assert (answer.status_code, answer.json()["error"]["type"]) == ERRORS[status]
            assert answer.json()["request_id"] == answer.headers["x-asbru-request-id"]
            reason = "upstream_credentials" if status in (401, 402) else None
            assert answer.headers.get("x-asbru-reason") == reason
            assert answer.headers.get("retry-after") == ("1" if status == 429 and self.says_when else None)

    @pytest.mark.parametrize("model", ["die-before-head", "error-first-event", "garbage", "error-503", "error-404"])
    def test_before_the_first_content_the_next_candidate_answers(self, via: Via, model: str) -> None:
        fallbacks = ["claude/any"]
        stream = via.stream(model=model, fallbacks=fallbacks)
        assert stream.text().startswith("You said: “hi”.")
        whole = via.ask(model=model, fallbacks=fallbacks)
        assert (whole.status_code, whole.headers["x-asbru-provider"]) == (200, "claude")

    def test_nonsense_is_told_as_nonsense(self, via: Via) -> None:
        """Not as an error that the provider made, and not asked for again."""
        for stream in (False, True):
            answer = via.ask(model="garbage", stream=stream)
            assert (answer.status_code, answer.json()["error"]["type"]) == (502, "api_error")
            assert answer.json()["request_id"] == answer.headers["x-asbru-request-id"]
            assert "protocol" in answer.headers["x-asbru-attempts"]

    @pytest.mark.parametrize("model", ["die-mid-stream", "end-mid-stream", "error-mid-stream"])
    def test_after_the_first_content_there_is_an_error(self, via: Via, model: str) -> None:
        stream = via.stream(model=model, fallbacks=["claude/any"], error=True)
        assert stream.text() and stream.error is not None

    def test_a_fallback_in_mid_conversation(self, via: Via) -> None:
        """From the dialect to Anthropic's own and back, with the reasoning of each left out for the other."""
        asked: Json = {"thinking": {"type": "adaptive", "display": "summarized"}, "tools": [tool("get_weather")]}
        messages = [user("get_weather")]
        names = (self.model, "claude/claude-opus-5", self.model)
        for name in names:
            fallbacks = [name] if name != self.model else []
            answer = via.both_ways(
                model="error-503" if fallbacks else name, fallbacks=fallbacks, **asked, messages=messages
            )
            (call,) = calls(answer)
            messages += [assistant(answer), user(result(call.id, "Rain."))]
            said = via.both_ways(model=name, **asked, messages=messages)
            assert "Rain." in text_of(said)
            messages += [assistant(said), user("get_weather again")]

    def test_two_keys(self, via: Via) -> None:
        """A key that is limited or refused is passed over."""
        for provider in ("limited", "refused"):
            answer = via.ask(model=f"{provider}/{self.model}")
            assert answer.status_code == 200
            assert len(answer.headers["x-asbru-attempts"].split("; ")) <= 2

    def test_counting(self, via: Via) -> None:
        answer = via.ask("/v1/messages/count_tokens", model=self.model, max_tokens=None)
        assert answer.status_code == 200 and answer.json()["input_tokens"] > 0

    def test_losses_are_named(self, via: Via) -> None:
        exact = via.ask(model=self.model, **self.exact)
        assert exact.headers["x-asbru-loss"] == "none"
        lossy: Json = {"model": self.model, "inference_geo": "eu", **self.exact}
        assert via.ask(**lossy).headers["x-asbru-loss"] == "dropped: inference_geo"
        strict = via.ask(**lossy, headers={"x-asbru-strict": "true"})
        assert (strict.status_code, strict.json()["error"]["type"]) == (400, "invalid_request_error")
        assert "inference_geo" in strict.json()["error"]["message"]
        (candidate,) = via.ask(**lossy, headers={"x-asbru-dry-run": "true"}).json()["candidates"]
        assert [(loss["verdict"], loss["field"]) for loss in candidate["losses"]] == [("dropped", "inference_geo")]
        impossible = via.ask(model=self.model, container="c", headers={"x-asbru-dry-run": "true"}).json()["candidates"]
        assert "container" in impossible[0]["refused"]
