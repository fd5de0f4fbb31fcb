"""Ids of tool calls go there and back: through the client, into later turns, by any worker."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects import messages
from asbru.dialects.codec import Codec, Context, Quirks
from asbru.dialects.losses import Losses
from asbru.dialects.names import CallIds, client_id, own_id
from asbru.dialects.registry import codec

PLAIN, NINE, KIMI = "^[a-zA-Z0-9_-]{1,64}$", "^[a-zA-Z0-9]{9}$", "functions.{name}:{index}"
Json = dict[str, Any]


@given(st.text(min_size=1, max_size=80), st.sampled_from([PLAIN, NINE]), st.sampled_from([None, KIMI]))
def test_a_providers_id_comes_back_to_it_as_it_was(id: str, pattern: str, form: str | None) -> None:
    shown = client_id(id, "p", pattern, form, "msg_0123456789")
    assert re.fullmatch("[a-zA-Z0-9_-]+", shown)
    assert CallIds("p", pattern, form, [(shown, "f")]).sent(shown) == id.encode("utf-8", "replace").decode()


@given(st.text(max_size=80))
def test_other_ids_are_nobodys(id: str) -> None:
    assert own_id(id, "p") is None
    assert own_id("toolu_as1" + id, "p") is None


def test_an_id_of_another_provider_or_one_that_was_changed_is_foreign() -> None:
    shown = client_id("functions.f:0", "p", PLAIN, None, "msg_1")
    assert own_id(shown, "p") == "functions.f:0"
    assert own_id(shown, "q") is None
    assert own_id(shown + "_1", "p") is None
    assert re.fullmatch("[0-9a-f]{32}", CallIds("q", PLAIN, None, []).sent(shown + "x" * 64))


def test_ids_that_are_used_again_are_told_apart_for_the_client() -> None:
    one, other = (client_id("functions.f:0", "p", PLAIN, None, message) for message in ("msg_1", "msg_2"))
    assert one != other
    assert own_id(one, "p") == own_id(other, "p")


def test_foreign_ids_take_the_targets_form() -> None:
    own = client_id("functions.b:1", "p", PLAIN, KIMI, "msg_1")
    ids = CallIds("p", PLAIN, KIMI, [("toolu_1", "a"), (own, "b"), ("toolu_2", "b"), ("toolu_3", "b")])
    assert [ids.sent(id) for id in ("toolu_1", own, "toolu_2", "toolu_3")] == [
        "functions.a:0",
        "functions.b:1",
        "functions.b:2",
        "functions.b:3",
    ]
    assert re.fullmatch("[0-9a-f]{9}", CallIds("p", NINE, None, []).sent("toolu_01abc"))


def test_a_form_is_never_given_twice() -> None:
    own = client_id("functions.a:0", "p", PLAIN, KIMI, "msg_1")
    ids = CallIds("p", PLAIN, KIMI, [("toolu_1", "a"), (own, "a")])
    assert (ids.sent("toolu_1"), ids.sent(own)) == ("functions.a:1", "functions.a:0")


def _sent_back(dialect: Codec, context: Context, id: str) -> Json:
    call = {"type": "tool_use", "id": id, "name": "get_weather", "input": {}}
    result = {"type": "tool_result", "tool_use_id": id, "content": "rain"}
    turns = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    body = {"model": "m", "max_tokens": 100, "messages": turns}
    request = messages.parse(json.dumps(body).encode())
    made: Json = json.loads(dialect.encode(request, context, Losses(dialect.fidelity)).body)
    return made


def context(**quirks: Any) -> Context:
    return Context(provider="p", model="m", shown_model="m", message_id="msg_1", quirks=Quirks(**quirks))


@pytest.mark.parametrize("id", ["functions.get_weather:0", "call_" + "x" * 80 + "__thought__a+b/c=", "chatcmpl-tool-1"])
@pytest.mark.parametrize("quirks", [{}, {"tool_id_pattern": NINE}, {"tool_id_form": KIMI}])
def test_chat_completions_give_an_id_back(id: str, quirks: Json) -> None:
    chat = codec("openai-chat")
    call = {"id": id, "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    answer = {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    message = json.loads(chat.decode(json.dumps(answer).encode(), context(**quirks)).message())
    body = _sent_back(chat, context(**quirks), message["content"][0]["id"])
    assert body["messages"][1]["tool_calls"][0]["id"] == body["messages"][2]["tool_call_id"] == id


@pytest.mark.parametrize("id", ["functions.get_weather:0", "call_" + "x" * 80])
def test_responses_give_an_id_back(id: str) -> None:
    responses = codec("openai-responses")
    call = {"type": "function_call", "id": "fc_1", "call_id": id, "name": "get_weather", "arguments": "{}"}
    answer = {"status": "completed", "output": [call]}
    message = json.loads(responses.decode(json.dumps(answer).encode(), context()).message())
    body = _sent_back(responses, context(), message["content"][0]["id"])
    assert body["input"][1]["call_id"] == body["input"][2]["call_id"] == id
