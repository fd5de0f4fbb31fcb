"""Streams of the sandbox: the exact events, pacing, deltas of every kind of block, and the same message as without."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asbru.sandbox.stream import parameters, pieces
from tests.sandbox.calling import CITY, USER, Json, Sandbox, content, text, usage

sandbox = Sandbox()


def test_the_events_of_a_simple_stream_are_exactly_these() -> None:
    asked = sandbox.message(stream=True, model="claude-sandbox:chunks=2,tokens=2")
    assert asked.response_headers["content-type"] == "text/event-stream; charset=utf-8"
    assert asked.response_headers["cache-control"] == "no-cache"
    assert asked.response_headers["request-id"].startswith("req_01")
    events = asked.stream().events
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    start = events[0]["message"]
    assert isinstance(start, dict)
    assert (start["content"], start["stop_reason"], start["stop_sequence"]) == ([], None, None)
    assert usage(start)["output_tokens"] == 1
    assert events[1]["content_block"] == {"type": "text", "text": ""}
    assert [event["delta"] for event in events[3:5]] == [
        {"type": "text_delta", "text": "You "},
        {"type": "text_delta", "text": "said"},
    ]
    counted = usage(start)
    assert events[6] == {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None},
        "usage": {
            "input_tokens": counted["input_tokens"],
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 2,
        },
    }


@pytest.mark.parametrize("chunks", [1, 2, 100, 333])
def test_chunks_is_the_number_of_text_deltas(chunks: int) -> None:
    stream = sandbox.message(stream=True, model=f"claude-sandbox:chunks={chunks}", max_tokens=4096).stream()
    assert len(stream.texts()) == chunks
    lengths = {len(piece) for piece in stream.texts()}
    assert max(lengths) - min(lengths) <= 1


def test_chunks_does_not_change_the_answer_otherwise() -> None:
    assert text(sandbox.answer(model="claude-sandbox:chunks=7")) == text(sandbox.answer())


def test_max_tokens_bounds_the_chunks() -> None:
    stream = sandbox.message(stream=True, model="claude-sandbox:chunks=100", max_tokens=2).stream()
    assert "".join(stream.texts()) == "You said"
    assert len(stream.texts()) == 8


@settings(deadline=None)
@given(st.text(max_size=60), st.integers(1, 80))
def test_pieces_join_to_the_text(said: str, count: int) -> None:
    made = pieces(said, count)
    assert "".join(made) == said
    assert len(made) == min(count, len(said))
    assert all(made)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=5))
def test_parameters_join_to_the_input(value: Json) -> None:
    assert json.loads("".join(parameters(value))) == value
    assert len(parameters(value)) == max(1, len(value))


TWO: Json = {
    "name": "plan_trip",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}},
        "required": ["city", "days"],
    },
}


def partial_json(**tool: object) -> list[object]:
    stream = sandbox.message(stream=True, tools=[{**TWO, **tool}], tool_choice={"type": "any"}).stream()
    assert content(stream.message)[0]["input"] == {"city": "Paris", "days": 3}
    return [delta["partial_json"] for delta in stream.deltas if delta["type"] == "input_json_delta"]


def test_tool_input_is_streamed_parameter_by_parameter_after_an_empty_delta() -> None:
    assert partial_json() == ["", '{"city": "Paris"', ', "days": 3}']


def test_eager_tool_input_is_streamed_in_small_pieces() -> None:
    found = partial_json(eager_input_streaming=True)
    assert found[0] == ""
    assert len(found) > 4
    assert all(len(str(piece)) <= 8 for piece in found)


def test_a_tool_without_parameters_gets_an_empty_object() -> None:
    tool = {"name": "ping", "input_schema": {"type": "object", "properties": {}}}
    stream = sandbox.message(stream=True, tools=[tool], tool_choice={"type": "any"}).stream()
    assert content(stream.message)[0]["input"] == {}


def test_thinking_comes_first_and_its_signature_last_in_its_block() -> None:
    stream = sandbox.message(stream=True, thinking={"type": "adaptive", "display": "summarized"}).stream()
    assert [block["type"] for block in content(stream.message)] == ["thinking", "text"]
    thinking = [delta for delta in stream.deltas if delta["type"] in ("thinking_delta", "signature_delta")]
    assert [delta["type"] for delta in thinking].index("signature_delta") == len(thinking) - 1 > 1


def test_omitted_thinking_has_no_delta_but_its_signature() -> None:
    fields = {"type": "adaptive", "display": "omitted"}
    stream = sandbox.message(stream=True, thinking=fields).stream()
    assert stream.deltas[0]["type"] == "signature_delta"
    assert content(stream.message)[0]["thinking"] == ""


def test_thinking_tokens_are_estimated_for_who_asks() -> None:
    fields = {"type": "adaptive", "display": "omitted"}
    stream = sandbox.message(stream=True, thinking=fields, betas="thinking-token-count-2026-05-13").stream()
    first = stream.deltas[0]
    assert (first["type"], first["thinking"]) == ("thinking_delta", "")
    details = usage(stream.message)["output_tokens_details"]
    assert isinstance(details, dict)
    assert first["estimated_tokens"] == details["thinking_tokens"] > 0


def test_blocks_without_deltas_come_whole() -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    stream = sandbox.message(stream=True, tools=tools, messages=[{"role": "user", "content": "web_search"}]).stream()
    starts = [event["content_block"] for event in stream.events if event["type"] == "content_block_start"]
    results = [block for block in starts if isinstance(block, dict) and block["type"] == "web_search_tool_result"]
    assert len(results) == 1
    assert len(results[0]["content"]) == 2


def test_extras_of_the_message_come_with_its_end() -> None:
    stream = sandbox.message(
        stream=True,
        betas="context-management-2025-06-27",
        context_management={"edits": []},
        diagnostics={"previous_message_id": None},
        tools=[{"type": "code_execution_20250825", "name": "code_execution"}],
        messages=[{"role": "user", "content": "code_execution"}],
    ).stream()
    ends = [event for event in stream.events if event["type"] == "message_delta"]
    assert ends[0]["context_management"] == {"applied_edits": []}
    delta = ends[0]["delta"]
    assert isinstance(delta, dict)
    assert str(delta["container"]["id"]).startswith("container_01")
    start = stream.events[0]["message"]
    assert isinstance(start, dict)
    assert start["container"] is None
    assert "context_management" not in start


def test_an_empty_answer_is_a_stream_too() -> None:
    stream = sandbox.message(stream=True, max_tokens=0).stream()
    assert [event["type"] for event in stream.events] == ["message_start", "message_delta", "message_stop"]
    assert usage(stream.message)["output_tokens"] == 0


def test_every_event_is_written_by_itself() -> None:
    asked = sandbox.message(stream=True, messages=USER, tools=[CITY])
    assert len(asked.writes) == len(asked.stream().events)
