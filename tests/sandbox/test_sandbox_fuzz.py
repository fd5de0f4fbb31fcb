"""Whatever is sent, the sandbox answers it or refuses it in the API's shape; nothing crashes it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asbru.sandbox.thinking import sign
from tests.sandbox.calling import Json, Sandbox

sandbox = Sandbox()
MARK = {"type": "ephemeral", "ttl": "5m"}
BETAS = (
    "mcp-client-2025-11-20,context-management-2025-06-27,per-turn-control-2026-07-01,thinking-token-count-2026-05-13"
)
RICH: Json = {
    "model": "claude-sandbox:chunks=3",
    "max_tokens": 3000,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": MARK}],
    "metadata": {"user_id": "u"},
    "stop_sequences": ["STOP"],
    "temperature": 1,
    "service_tier": "auto",
    "thinking": {"type": "enabled", "budget_tokens": 2000, "display": "summarized"},
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": False},
    "output_config": {
        "effort": "low",
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {"a": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
                "required": ["a"],
                "additionalProperties": False,
            },
        },
    },
    "context_management": {"edits": [{"type": "clear_tool_uses_20250919", "keep": {"type": "tool_uses", "value": 3}}]},
    "mcp_servers": [{"type": "url", "name": "ex", "url": "http://x", "tool_configuration": {"allowed_tools": ["a"]}}],
    "tools": [
        {
            "name": "get_weather",
            "input_schema": {
                "type": "object",
                "properties": {"city": {"type": "string", "pattern": "^[A-Z]+$", "minLength": 2}, "n": {"minimum": 1}},
                "required": ["city"],
            },
            "eager_input_streaming": True,
            "defer_loading": False,
        },
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
        {"type": "tool_search_tool_bm25", "name": "tool_search_tool_bm25"},
        {"type": "computer_toolset_20260801", "configs": {"zoom": {"enabled": False}}},
        {"type": "mcp_toolset", "mcp_server_name": "ex", "default_config": {"enabled": True}, "configs": {"a": {}}},
    ],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                {
                    "type": "document",
                    "title": "t",
                    "source": {"type": "content", "content": [{"type": "text", "text": "chunk"}]},
                },
                {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "r"}]},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": sign("thinking", b"x" * 16, "hm")},
                {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
                {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
                {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "A"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "is_error": False,
                    "content": [{"type": "text", "text": "12C"}, {"type": "tool_reference", "tool_name": "f"}],
                    "cache_control": MARK,
                }
            ],
        },
        {"role": "system", "content": "Be kind.", "output_config": {"effort": "low"}},
    ],
}


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value inside."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


PLACES = [place for place in places(RICH) if place]
VALUES: list[object] = [None, True, 0, 1, -1, 1.0, 2.5, 10**30, "", "x", "object", "a" * 300]
VALUES += [[], [None], [[]], {}, {"type": "text"}, {"type": None}]


def has(holder: object, step: str | int) -> bool:
    if isinstance(holder, dict):
        return step in holder
    return isinstance(holder, list) and isinstance(step, int) and step < len(holder)


def changed(changes: list[tuple[tuple[str | int, ...], object]]) -> Json:
    """The rich request with these values at these places, as far as earlier changes have left them there."""
    body = copy.deepcopy(RICH)
    for place, value in changes:
        holder: Any = body
        for step in place[:-1]:
            holder = holder[step] if has(holder, step) else None
        if has(holder, place[-1]):
            holder[place[-1]] = value
    return body


def test_the_rich_request_is_answered() -> None:
    assert sandbox.ask("POST", "/v1/messages", RICH, betas=BETAS).status == 200


def answered(body: Json) -> int:
    """The status of an answer, which must be a valid one."""
    asked = sandbox.ask("POST", "/v1/messages", body, betas=BETAS)
    assert asked.finished
    if asked.status != 200:
        assert asked.status in (400, 404)
        assert asked.error()["message"]
    elif body.get("stream"):
        asked.stream()
    else:
        assert asked.json()["type"] == "message"
    return asked.status


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_any_value_at_any_place_is_answered_or_refused(place: tuple[str | int, ...]) -> None:
    for value in VALUES:
        answered(changed([(place, value)]))


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(VALUES)), min_size=2, max_size=4), st.booleans())
def test_any_changes_are_answered_or_refused(changes: list[tuple[tuple[str | int, ...], object]], stream: bool) -> None:
    answered({**changed(changes), "stream": stream})


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60), st.sampled_from(["POST", "GET", "DELETE", "PATCH"]))
def test_any_bytes_anywhere_are_answered(body: bytes, method: str) -> None:
    for path in ("/v1/messages", "/v1/messages/batches", "/v1/files", "/v1/complete", "/v1/models/%ff%00", "//", ""):
        headers = {"content-type": "multipart/form-data; boundary=x"}
        asked = sandbox.ask(method, path, body, headers=headers)
        assert asked.finished
        assert asked.status in (200, 400, 404, 405)


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=40), st.text(alphabet="abcdefghijklmnopqrstuvwxyz_=,:0123456789 ", max_size=30))
def test_any_model_name_is_answered(name: str, options: str) -> None:
    # Not the names that hang, and no pauses.
    assume("wait_ms" not in options)
    body = json.dumps({"model": f"x{name}:{options}", "max_tokens": 50, "messages": RICH["messages"]})
    asked = sandbox.ask("POST", "/v1/messages", body.encode(), betas=BETAS)
    assert asked.finished
    assert asked.status in (200, 400)
