"""Whatever is sent in OpenAI's dialects, the sandbox answers it or refuses it in OpenAI's shape; nothing crashes it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from asbru.sandbox.thinking import sign
from tests.sandbox.calling import Sandbox
from tests.sandbox.openai_calling import PDF, PIXEL, STRICT, WEATHER

Json = dict[str, Any]
Place = tuple[str | int, ...]

sandbox = Sandbox()
MARK: Json = {"prompt_cache_breakpoint": {"mode": "explicit"}}
CHAT: Json = {
    "model": "any:chunks=3",
    "max_completion_tokens": 300,
    "messages": [
        {"role": "developer", "content": [{"type": "text", "text": "Answer in json.", **MARK}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "get_weather"},
                {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "x"}, {"type": "refusal", "refusal": "y"}],
            "reasoning_content": "z",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "Rain."},
        {"role": "user", "content": "again"},
    ],
    "metadata": {"a": "b"},
    "parallel_tool_calls": True,
    "prompt_cache_options": {"mode": "explicit", "ttl": "30m"},
    "reasoning_effort": "low",
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": STRICT, "strict": True}},
    "stop": ["STOP"],
    "stream_options": {"include_usage": True},
    "stream": True,
    "temperature": 1,
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "get_weather"}}]},
    },
    "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER, "strict": False}}],
    "web_search_options": {"user_location": {"type": "approximate", "approximate": {"city": "Oslo"}}},
}
RESPONSES: Json = {
    "model": "any:chunks=3",
    "max_output_tokens": 300,
    "instructions": "Answer in json.",
    "include": ["reasoning.encrypted_content", "web_search_call.action.sources"],
    "input": [
        {"role": "developer", "content": [{"type": "input_text", "text": "x", **MARK}]},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "get_weather"},
                {"type": "input_image", "image_url": PIXEL, "detail": "auto"},
                {"type": "input_file", "filename": "a.pdf", "file_data": PDF},
                {"type": "input_file", "file_url": "https://example.com/a.pdf"},
            ],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": sign("reasoning", b"x" * 16, "rs_1"),
        },
        {"role": "assistant", "content": [{"type": "output_text", "text": "y"}], "phase": "commentary"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}},
        {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "Rain."}]},
    ],
    "metadata": {"a": "b"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "store": False,
    "text": {"format": {"type": "json_schema", "name": "a", "schema": STRICT, "strict": True}},
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_weather"}]},
    "tools": [
        {"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": False},
        {"type": "web_search", "filters": {"allowed_domains": ["example.com"]}},
        {
            "type": "mcp",
            "server_label": "docs",
            "server_url": "https://example.com",
            "require_approval": "never",
            "allowed_tools": {"tool_names": ["a"]},
        },
    ],
}
RICH = {"/v1/chat/completions": CHAT, "/v1/responses": RESPONSES}
TYPES: dict[str, type[ChatCompletion] | type[Response]] = {
    "/v1/chat/completions": ChatCompletion,
    "/v1/responses": Response,
}
VALUES: list[object] = [None, True, 0, 1, -1, 1.0, 2.5, 10**30, "", "x", "none", "a" * 300]
VALUES += [[], [None], [[]], {}, {"type": "text"}, {"type": "function"}, {"type": None}]


def places(value: object, path: Place = ()) -> list[Place]:
    """The path of every value inside."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


PLACES = [(path, place) for path, body in RICH.items() for place in places(body) if place]


def changed(body: Json, changes: list[tuple[Place, object]]) -> Json:
    """The body with these values at these places, as far as earlier changes have left them there."""
    made = copy.deepcopy(body)
    for place, value in changes:
        holder: Any = made
        try:
            for step in place[:-1]:
                holder = holder[step]
            holder[place[-1]] = value
        except (LookupError, TypeError):
            continue
    return made


def answered(path: str, body: Json) -> int:
    """The status of an answer, which must be a valid one."""
    asked = sandbox.ask("POST", path, body, headers={"authorization": "Bearer any"})
    assert asked.finished
    if asked.status != 200:
        assert asked.status in (400, 404)
        assert asked.json()["error"].keys() == {"message", "type", "param", "code"}  # type: ignore[attr-defined]  # JSON
    elif body.get("stream"):
        datas = [line[6:] for line in asked.response.split(b"\n") if line.startswith(b"data: ")]
        assert all(isinstance(json.loads(data), dict) for data in datas if data != b"[DONE]")
    else:
        TYPES[path].model_validate(asked.json())
    return asked.status


@pytest.mark.parametrize("path", RICH)
def test_the_rich_requests_are_answered(path: str) -> None:
    assert answered(path, RICH[path]) == 200
    assert answered(path, {key: value for key, value in RICH[path].items() if not key.startswith("stream")}) == 200


@pytest.mark.parametrize("path", RICH)
def test_any_value_at_any_place_is_answered_or_refused(path: str) -> None:
    for place in places(RICH[path])[1:]:
        for value in VALUES:
            answered(path, changed(RICH[path], [(place, value)]))


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(VALUES)), min_size=2, max_size=4), st.booleans())
def test_any_changes_are_answered_or_refused(changes: list[tuple[tuple[str, Place], object]], stream: bool) -> None:
    path = changes[0][0][0]
    answered(path, {**changed(RICH[path], [(at, value) for (_, at), value in changes]), "stream": stream})
