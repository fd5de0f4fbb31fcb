"""Through the gateway to a provider that speaks Gemini, by API key and on Vertex AI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from tests.gateway.conversations import Conversations, assistant, calls, result, tool, user
from tests.gateway.translated import Json, Via, text_of, translated

KEYS = ({"value": "sk-error-429-a"}, {"value": "sk-invalid-a"})
VERTEX = "/v1beta1/projects/p/locations/global/publishers/google"
ANEW = ("signature", "id", "tool_use_id")
"""A signature on text comes too late in a stream; searches, and calls of Gemini 2.5, have no ids."""
THINKING: Json = {"thinking": {"type": "adaptive", "display": "summarized"}}


@pytest.fixture(scope="module")
def via() -> Iterator[Via]:
    limited, refused = ({"keys": [{**key, "weight": 1000}, {"value": "sk-good"}]} for key in KEYS)
    with translated({"like": "gemini"}, "/v1beta", limited=limited, refused=refused) as made:
        made.anew = ANEW
        yield made


@pytest.fixture(scope="module")
def on_vertex() -> Iterator[Via]:
    with translated({"dialect": "gemini", "credential": "authorization", "quirks": {"vertex": True}}, VERTEX) as made:
        made.anew = ANEW
        yield made


class Gemini(Conversations):
    exact: ClassVar[Json] = {"max_tokens": 16_384}
    """Room for the thinking that counts in it."""
    stops = "gemini-2.5-flash-lite"
    takes_one_at_a_time = False


class TestGemini3(Gemini):
    model = "gemini-3-flash-preview"

    def test_a_signature_goes_back_to_its_call(self, via: Via) -> None:
        """Also where nothing was asked of thinking; the sandbox refuses the call without, or with another's."""
        asked: Json = {"model": self.model, "tools": [tool("one"), tool("two")]}
        messages = [user("one and two")]
        for _ in range(3):
            answer = via.both_ways(**asked, messages=messages)
            assert [block.type for block in answer.content] == ["text", "thinking", "tool_use", "tool_use"]
            results = [result(call.id, "Done.") for call in calls(answer)]
            messages += [assistant(answer), user(*results)]
            said = via.both_ways(**asked, messages=messages)
            assert text_of(said).count("Done.") == 2
            messages += [assistant(said), user("one and two")]

    def test_calls_of_nobody_get_the_stand_in(self, via: Via) -> None:
        call = {"type": "tool_use", "id": "toolu_1", "name": "one", "input": {}}
        messages = [user("one"), {"role": "assistant", "content": [call]}, user(result("toolu_1", "Done."))]
        answer = via.both_ways(model=self.model, tools=[tool("one")], messages=messages)
        assert "Done." in text_of(answer)

    def test_an_altered_signature_is_another_models(self, via: Via) -> None:
        """The gateway's seal does not open, so that what it held is left out."""
        asked: Json = {"model": self.model, "tools": [tool("one")], **THINKING}
        first = via.both_ways(**asked, messages=[user("one")])
        said = assistant(first)
        for block in said["content"]:
            if block["type"] == "thinking":
                block["signature"] = block["signature"][:-6] + "AAAAAA"
        turns = [user("one"), said, user(result(calls(first)[0].id, "Done."))]
        response = via.ask(**asked, messages=turns)
        assert response.status_code == 200
        assert "dropped: messages.1.content.0" in response.headers["x-asbru-loss"]

    def test_a_search_is_cited_and_goes_back(self, via: Via) -> None:
        search = {"type": "web_search_20250305", "name": "web_search"}
        answer = via.both_ways(model=self.model, tools=[search], messages=[user("web_search bridges")])
        kinds = [block.type for block in answer.content if block.type != "thinking"]
        assert kinds[-2:] == ["server_tool_use", "web_search_tool_result"]
        cited = [block for block in answer.content if block.type == "text" and block.citations]
        assert cited
        again = via.both_ways(
            model=self.model, tools=[search], messages=[user("web_search bridges"), assistant(answer), user("and more")]
        )
        assert "and more" in text_of(again)

    def test_a_search_beside_functions(self, via: Via) -> None:
        tools = [{"type": "web_search_20250305", "name": "web_search"}, tool("one")]
        messages = [user("web_search and one")]
        first = via.both_ways(model=self.model, tools=tools, messages=messages)
        (call,) = calls(first)
        messages += [assistant(first), user(result(call.id, "Done."))]
        assert "Done." in text_of(via.both_ways(model=self.model, tools=tools, messages=messages))

    def test_code_that_gemini_runs(self, via: Via) -> None:
        code = {"type": "code_execution_20250522", "name": "code_execution"}
        asked: Json = {"model": self.model, "tools": [code]}
        first = via.both_ways(**asked, messages=[user("code_execution")])
        assert "Hello from the sandbox." in text_of(first)
        again = via.both_ways(**asked, messages=[user("code_execution"), assistant(first), user("again")])
        assert "again" in text_of(again)


class TestGemini25(Gemini):
    model = "gemini-2.5-flash"

    def test_calls_without_ids_get_some(self, via: Via) -> None:
        tools = [tool("one"), tool("two")]
        first = via.both_ways(model=self.model, tools=tools, messages=[user("one and two")])
        ids = {call.id for call in calls(first)}
        assert len(ids) == 2


class TestUnknownModel(Gemini):
    model = "some-tuned-model"


def both(via: Via, **asked: Any) -> str:
    return text_of(via.both_ways(model="gemini-3-flash-preview", **asked))


def test_vertex(on_vertex: Via) -> None:
    assert "hello" in both(on_vertex, messages=[user("hello")])
    asked: Json = {"model": "gemini-3-flash-preview", "tools": [tool("one")], **THINKING}
    first = on_vertex.both_ways(**asked, messages=[user("one")])
    turns = [user("one"), assistant(first), user(result(calls(first)[0].id, "Done."))]
    assert "Done." in text_of(on_vertex.both_ways(**asked, messages=turns))
    counted = on_vertex.ask("/v1/messages/count_tokens", model="gemini-3-flash-preview", max_tokens=None)
    assert counted.json()["input_tokens"] > 0
    tools = [{"type": "web_search_20250305", "name": "web_search"}, tool("one")]
    assert "Done." not in both(on_vertex, tools=tools, messages=[user("web_search and one")])
