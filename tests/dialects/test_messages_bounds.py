"""How much of a Messages request a translation goes through, by kind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asbru.dialects import messages
from asbru.dialects.bounds import BoundError
from asbru.limits import Limits

TEXT = {"type": "text", "text": "a"}
DOCUMENT = {"type": "document", "source": {"type": "content", "content": [TEXT] * 4}}
TOOL_USE = {"type": "tool_use", "id": "t", "name": "t"}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": [TEXT, DOCUMENT]}


def parse(limits: Limits, turns: list[Any] | None = None, **fields: Any) -> messages.Request:
    turns = turns or [{"role": "user", "content": "a"}]
    body = {"model": "m", "max_tokens": 1, "messages": turns, **fields}
    return messages.parse(json.dumps(body).encode(), limits)


def turn(*content: Any) -> list[Any]:
    return [{"role": "user", "content": list(content)}]


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"a": value}
    return value


CASES: list[tuple[str, int, dict[str, Any]]] = [
    # setting, how many there are, the request
    ("max_blocks", 3, {"turns": [{"role": "user", "content": "a"}] * 3}),
    ("max_blocks", 3, {"turns": turn(TEXT, TEXT) + turn(TEXT)}),
    ("max_blocks", 7, {"turns": turn(RESULT)}),
    ("max_system_blocks", 4, {"system": [TEXT] * 4}),
    ("max_tools", 3, {"tools": [{"name": "t"}] * 3}),
    ("max_stop_sequences", 5, {"stop_sequences": ["a"] * 5}),
    # the tool, its name, the schema, its type, the properties, a and what is in it
    ("max_schema_values", 7, {"tools": [{"name": "t", "input_schema": {"type": "object", "p": {"a": [1]}}}]}),
    ("max_schema_values", 4, {"output_config": {"format": {"type": "json_schema", "schema": {"a": 1}}}}),
    ("max_schema_values", 3, {"output_format": {"type": "json_schema", "schema": {"a": 1}}}),
    ("max_input_values", 4, {"turns": turn({**TOOL_USE, "input": {"a": [1, {"b": 2}]}})}),
    ("max_input_values", 4, {"turns": turn({"type": "other", "input": [1, 2, 3, 4]})}),
    ("max_depth", 9, {"turns": turn(TEXT), "metadata": nested(8)}),
    ("max_depth", 10, {"turns": turn(RESULT)}),
]


@pytest.mark.parametrize(("setting", "count", "request_"), CASES)
def test_each_kind_is_bounded(setting: str, count: int, request_: dict[str, Any]) -> None:
    allowed = parse(Limits(**{setting: count}), **request_)
    assert allowed.model == "m"
    with pytest.raises(BoundError, match=rf"at most {count - 1} are allowed \(server\.limits\.{setting}\)$"):
        parse(Limits(**{setting: count - 1}), **request_)


def test_the_message_names_the_bound() -> None:
    with pytest.raises(BoundError, match=r"^tools: at most 2000 are allowed \(server\.limits\.max_tools\)$"):
        parse(Limits(), tools=[{"name": "t"}] * 2001)


def test_blocks_are_bounded_together() -> None:
    content = [TEXT] * 500
    with pytest.raises(BoundError, match="content blocks: at most 100000 "):
        parse(Limits(), turn(*content) * 201)
    assert len(parse(Limits(), turn(*content) * 200).messages) == 200


def test_a_large_body_is_read_as_a_small_one_is() -> None:
    turns = turn(RESULT, TEXT) * 100 + [{"role": "assistant", "content": "é" * 200_000}]
    request = parse(Limits(), turns, tools=[{"name": "t", "input_schema": {"type": "object"}}], system="s")
    small = parse(Limits(), [*turns[:100], {"role": "assistant", "content": "é"}], tools=[{"name": "t"}], system="s")
    assert request.messages[:100] == small.messages[:100]
    assert request.messages[100].content == [messages.Text(text="é" * 200_000)]
    assert request.tools[0].input_schema == {"type": "object"}
    assert (request.model, request.max_tokens, request.system) == ("m", 1, small.system)


@pytest.mark.parametrize("wrong", ["[]", "1", '"text"', "{", '{"messages":[1,]}'])
def test_a_large_body_that_is_no_request_is_refused_as_a_small_one_is(wrong: str) -> None:
    with pytest.raises(messages.MessagesError) as small:
        messages.parse(wrong.encode())
    with pytest.raises(messages.MessagesError) as large:
        messages.parse(b" " * 200_000 + wrong.encode())
    assert str(large.value) == str(small.value)
