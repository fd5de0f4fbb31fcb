"""Requests as structs: nothing a client says vanishes, and what is wrong is named by its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects import messages
from asbru.dialects.messages import MessagesError, Request, Text, ToolResult, Turn, Unknown

Json = dict[str, Any]

CAPTURES = Path(__file__).resolve().parent.parent / "captures"
HELLO: Json = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
RESULT: Json = {"type": "tool_result", "tool_use_id": "a"}
STRUCTS = {"text", "image", "document", "search_result", "thinking", "redacted_thinking", "tool_use", "tool_result"}

# Top-level fields with a place of their own in `Request`; all others must be in `Request.unknown`.
PLACES = {
    "model", "max_tokens", "messages", "system", "stream", "tools", "tool_choice", "thinking", "output_config",
    "output_format", "stop_sequences", "temperature", "top_p", "top_k", "metadata", "service_tier", "speed",
    "cache_control", "mcp_servers",
}  # fmt: skip


def parse(**fields: Any) -> Request:
    return messages.parse(json.dumps({**HELLO, **fields}).encode())


def captures() -> list[Path]:
    """Those that are Messages requests, with or without the `count_tokens` in the path."""
    found = []
    for path in sorted(CAPTURES.glob("*.json")):
        capture = json.loads(path.read_text())
        where = capture["path"].split("?")[0]
        if capture.get("body_raw") and where in ("/v1/messages", "/v1/messages/count_tokens"):
            found.append(path)
    return found


@pytest.mark.parametrize("path", captures(), ids=lambda path: path.stem)
def test_all_of_a_real_clients_request_is_there(path: Path) -> None:
    capture = json.loads(path.read_text())
    said = json.loads(capture["body_raw"])
    request = messages.parse(capture["body_raw"].encode(), counting="count_tokens" in capture["path"])
    assert request.model == said["model"]
    assert request.unknown == {name: value for name, value in said.items() if name not in PLACES and value is not None}
    assert [turn.role for turn in request.messages] == [turn["role"] for turn in said["messages"]]
    for turn, message in zip(request.messages, said["messages"], strict=True):
        content = message.get("content") or []
        if isinstance(content, str):
            assert (turn.was_text, turn.content) == (True, [Text(text=content)])
            continue
        assert [block.type for block in turn.content] == [block["type"] for block in content]
        for block, original in zip(turn.content, content, strict=True):
            assert (original["type"] in STRUCTS) != isinstance(block, Unknown)
            if isinstance(block, Unknown):
                assert block.raw == original
        assert turn.output_config == message.get("output_config")
    assert [tool.name for tool in request.tools] == [tool.get("name", "") for tool in said.get("tools", [])]
    assert [tool.type for tool in request.tools] == [tool.get("type") for tool in said.get("tools", [])]
    system = said.get("system") or []
    assert "".join(block.text for block in request.system) == (
        system if isinstance(system, str) else "".join(block["text"] for block in system)
    )


def test_there_are_captures() -> None:
    assert len(captures()) > 50


def test_every_field_has_its_place() -> None:
    request = parse(
        system="S",
        stream=True,
        tools=[{"name": "t", "input_schema": {}}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        thinking={"type": "enabled", "budget_tokens": 5, "display": "omitted"},
        output_config={"effort": "low", "task_budget": {"total": 1}},
        output_format={"type": "json_schema", "schema": {"type": "object"}},
        stop_sequences=["x"],
        temperature=1,
        top_p=0.5,
        top_k=3,
        metadata={"user_id": "u"},
        service_tier="auto",
        speed="fast",
        cache_control={"type": "ephemeral"},
        mcp_servers=[{"name": "a"}],
        future={"a": 1},
        nothing=None,
    )
    assert (request.system, request.stream) == ([Text(text="S")], True)
    assert request.tools[0].is_custom and request.tools[0].input_schema == {}
    assert request.tool_choice is not None and request.tool_choice.disable_parallel_tool_use
    assert request.thinking is not None and (request.thinking.budget_tokens, request.thinking.display) == (5, "omitted")
    assert request.output_config is not None and request.output_config.format is not None
    assert (request.output_config.effort, request.output_config.task_budget) == ("low", {"total": 1})
    assert request.output_config.format.schema == {"type": "object"}
    assert (request.stop_sequences, request.temperature, request.top_p, request.top_k) == (["x"], 1.0, 0.5, 3)
    assert (request.user_id, request.service_tier, request.speed) == ("u", "auto", "fast")
    assert (request.cache_control, request.mcp_servers) == ({"type": "ephemeral"}, [{"name": "a"}])
    assert request.unknown == {"future": {"a": 1}}


def test_null_is_as_good_as_nothing() -> None:
    request = parse(**dict.fromkeys(PLACES - {"model", "max_tokens", "messages"}))
    assert request == parse()


def test_the_content_of_a_result_in_every_form() -> None:
    def result(**fields: Any) -> ToolResult:
        turn = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", **fields}]}
        block = parse(messages=[turn]).messages[0].content[0]
        assert isinstance(block, ToolResult)
        return block

    assert (
        result().content
        == result(content=None).content
        == result(content="").content
        == result(content=[]).content
        == []
    )
    assert result(content="x").content == result(content=[{"type": "text", "text": "x"}]).content == [Text(text="x")]
    assert result(is_error=True).is_error and not result(is_error=None).is_error
    assert result(content=[{"type": "tool_reference", "tool_name": "n"}]).content[0].type == "tool_reference"


def test_a_system_message_may_have_no_content() -> None:
    turn = {"role": "system", "output_config": {"effort": "low"}}
    assert parse(messages=[*HELLO["messages"], turn]).messages[1] == Turn("system", [], False, {"effort": "low"})


def test_counting_needs_no_max_tokens() -> None:
    body = json.dumps({"model": "m", "messages": HELLO["messages"]}).encode()
    assert messages.parse(body, counting=True).messages == parse().messages
    with pytest.raises(MessagesError, match=r"^max_tokens: Field required$"):
        messages.parse(body)


def user(content: object, **more: object) -> Json:
    return {"messages": [{"role": "user", "content": content, **more}]}


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"model": 1}, "model"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"messages": {}}, "messages"),
        ({"messages": ["x"]}, "messages.0"),
        ({"messages": [{"role": "tool", "content": ""}]}, "messages.0.role"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        (user(7), "messages.0.content"),
        (user("x", output_config=1), "messages.0.output_config"),
        (user(["x"]), "messages.0.content.0.type"),
        (user([{"text": "x"}]), "messages.0.content.0.type"),
        (user([{"type": "text", "text": 1}]), "messages.0.content.0.text"),
        (user([{"type": "text"}]), "messages.0.content.0"),
        (user([{"type": "image", "source": {"type": 1}}]), "messages.0.content.0.source.type"),
        (user([{"type": "tool_result"}]), "messages.0.content.0"),
        (user([{"type": "tool_result", "tool_use_id": 1}]), "messages.0.content.0.tool_use_id"),
        (user([{**RESULT, "content": 0}]), "messages.0.content.0.content"),
        (user([{**RESULT, "content": [{}]}]), "messages.0.content.0.content.0.type"),
        (user([{**RESULT, "is_error": "yes"}]), "messages.0.content.0.is_error"),
        (user([{**RESULT, "cache_control": []}]), "messages.0.content.0.cache_control"),
        ({"system": [{"type": "text", "text": None}]}, "system.0.text"),
        ({"tools": [{"name": "a"}, {"name": 3}]}, "tools.1.name"),
        ({"tool_choice": {"type": "all"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "tool", "name": ""}}, "tool_choice.name"),
        ({"messages": []}, "messages"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id"),
        ({"stop_sequences": [1]}, "stop_sequences.0"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(fields: Json, place: str) -> None:
    with pytest.raises(MessagesError) as caught:
        parse(**fields)
    assert str(caught.value).split(": ")[0] == place


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_what_is_missing_is_named(missing: str) -> None:
    with pytest.raises(MessagesError, match=f"`{missing}`"):
        messages.parse(json.dumps({name: value for name, value in HELLO.items() if name != missing}).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b'"x"',
        b"{",
        b'{"model":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"a":' + b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_object(body: bytes) -> None:
    with pytest.raises(MessagesError, match="request body"):
        messages.parse(body)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "role", "content", "source", "name", "id", "input", "tool_use_id"]), inner
        )
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(sorted(PLACES)), JUNK), JUNK)
def test_anything_is_a_request_or_an_error_of_its_own(fields: Json, turn: Json) -> None:
    body = {**HELLO, "messages": [{"role": "user", "content": [turn]}], **fields}
    try:
        messages.parse(json.dumps(body).encode())
    except MessagesError as error:
        assert str(error)
