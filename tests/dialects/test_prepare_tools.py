"""prepare: tools, their names and the ids of their calls (contract/translation.md §8.0, 5 to 8)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects.losses import LossyError
from asbru.dialects.messages import Request, Tool, ToolResult, ToolUse
from tests.dialects.preparing import CALL, MARK, assistant, found, prepared, result, said, system, tool, user

Json = dict[str, Any]


# 5: deferred tools


def names(request: Request) -> list[str]:
    return [each.name for each in request.tools]


LOADED = [user("a"), assistant(CALL), user(result({"type": "tool_reference", "tool_name": "B"}))]


def test_deferred_tools_are_sent_once_loaded() -> None:
    tools = [
        tool("A"),
        tool("DeferredToolPlaceholder", defer_loading=True),
        tool("B", defer_loading=True),
        tool("C", defer_loading=True),
    ]
    assert names(prepared(tools=tools)[0]) == ["A"]
    request, _, losses = prepared(LOADED, tools=tools)
    assert names(request) == ["A", "B"]
    assert found(losses) == {"tools.defer_loading", "tool_result.tool_reference"}
    assert said(request)[2] == ("user", ["result: Tool B loaded."])
    assert names(prepared(tools=tools, native=("tools.defer_loading",))[0]) == [each["name"] for each in tools]


def test_with_anthropics_search_all_deferred_tools_are_sent() -> None:
    search = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
    tools = [search, tool("A", defer_loading=True), tool("DeferredToolPlaceholder", defer_loading=True)]
    request, _, losses = prepared(tools=tools)
    assert names(request) == ["A"]
    assert "tools.tool_search" in found(losses)
    assert (
        names(prepared(tools=tools, native=("tools.tool_search", "tools.defer_loading"))[0])[0]
        == "tool_search_tool_bm25"
    )


def change(kind: str, **about: Any) -> Json:
    return {"type": kind, "tool": about}


def test_tools_that_the_conversation_adds_and_removes() -> None:
    added = change("tool_addition", type="tool_definition", definition=tool("D"))
    loaded = change("tool_addition", type="tool_reference", name="B")
    removed = change("tool_removal", type="tool_reference", name="A")
    again = change("tool_addition", type="tool_reference", name="A")
    tools = [tool("A"), tool("B", defer_loading=True)]
    request, _, losses = prepared([user("a"), system(added, loaded, removed)], tools=tools)
    assert (names(request), said(request)) == (["B", "D"], [("user", ["a"])])
    assert "tool_addition" in found(losses)
    assert names(prepared([user("a"), system(removed), user("b"), system(again)], tools=tools)[0]) == ["A"]
    with pytest.raises(LossyError, match=r"messages\.1\.content"):
        prepared([user("a"), system(change("tool_addition", type="tool_definition", definition={"name": 1}))])


# 6: client tools, toolsets, server tools


@pytest.mark.parametrize("kind", ["bash_20250124", "text_editor_20250728", "memory_20250818", "computer_20251124"])
def test_a_client_tool_becomes_a_custom_one_of_the_same_name(kind: str) -> None:
    request, _, losses = prepared(tools=[{"type": kind, "name": "the_tool"}])
    made = request.tools[0]
    assert made.is_custom and made.name == "the_tool" and made.description
    assert made.input_schema is not None and made.input_schema["type"] == "object" and made.input_schema["properties"]
    assert found(losses) == {"tools.client"}


def test_a_tool_of_an_unknown_type_is_refused() -> None:
    with pytest.raises(LossyError, match=r"tools\.1: .*'future_2027'"):
        prepared(tools=[tool("A"), {"type": "future_2027", "name": "x"}])


def test_a_custom_tool_needs_a_name() -> None:
    with pytest.raises(LossyError, match=r"tools\.0\.name"):
        prepared(tools=[{"input_schema": {}}])


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("web_search_20250305", "tools.web_search"),
        ("web_fetch_20250910", "tools.web_fetch"),
        ("code_execution_20250825", "tools.code_execution"),
        ("advisor_20260301", "tools.advisor"),
        ("computer_toolset_20260801", "tools.toolset"),
        ("browser_toolset_20260801", "tools.toolset"),
        ("mcp_toolset", "mcp_servers"),
    ],
)
def test_a_server_tool_is_the_tables_to_decide(kind: str, field: str) -> None:
    request, _, losses = prepared(tools=[{"type": kind, "name": "x"}])
    assert ([each.type for each in request.tools], found(losses)) == ([kind], {field})
    assert prepared(tools=[{"type": kind, "name": "x"}], verdicts={field: "dropped"})[0].tools == []
    with pytest.raises(LossyError, match=r"tools\.0: a note"):
        prepared(tools=[{"type": kind, "name": "x"}], verdicts={field: "refused"})


def test_what_a_custom_tool_may_carry_besides_is_met() -> None:
    more = {
        "input_examples": [{}],
        "allowed_callers": ["direct"],
        "eager_input_streaming": True,
        "strict": True,
        "cache_control": MARK,
    }
    _, _, losses = prepared(tools=[tool("A", **more)])
    assert found(losses) == {
        "tools.input_examples", "tools.allowed_callers", "tools.eager_input_streaming", "tools.strict", "cache_control"
    }  # fmt: skip


# 7: names


def test_names_are_cut_everywhere_and_found_again() -> None:
    long, wide = "n" * 100, "a.name/with signs"
    request, context, losses = prepared(
        [user("a"), assistant({**CALL, "name": long}), user(result("r"))],
        tools=[tool(long), tool(wide), tool("plain")], tool_choice={"type": "tool", "name": wide},
    )  # fmt: skip
    sent = names(request)
    assert all(len(name) <= 64 and name.replace("_", "").replace("-", "").isalnum() for name in sent)
    assert [context.tool_names.get(name, name) for name in sent] == [long, wide, "plain"]
    assert request.tool_choice is not None and request.tool_choice.name == sent[1]
    call = request.messages[1].content[0]
    assert isinstance(call, ToolUse) and call.name == sent[0]
    assert found(losses) == {"tools.name"}
    assert names(prepared(tools=[tool(long)])[0]) == [sent[0]], "the same in every request"


@given(st.lists(st.text("ab._-", min_size=1, max_size=80), unique=True, max_size=6), st.integers(20, 64))
def test_no_two_tools_share_a_name(given_names: list[str], most: int) -> None:
    request, context, _ = prepared(tools=[tool(name) for name in given_names], quirks={"tool_name_max": most})
    sent = names(request)
    assert len(set(sent)) == len(sent)
    assert all(len(name) <= most for name in sent)
    assert [context.tool_names.get(name, name) for name in sent] == given_names


# 8: ids


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [("^[a-zA-Z0-9]{9}$", "D681PevKs"), ("^[a-zA-Z0-9_-]{1,64}$", "call_1"), ("^[a-z0-9]{5,32}$", "abcde")],
)
def test_ids_are_in_the_targets_alphabet_the_same_in_call_and_result(pattern: str, kept: str) -> None:

    odd = "toolu_/" + "x" * 80
    turns = [
        user("a"),
        assistant({**CALL, "id": odd}, {**CALL, "id": kept}),
        user(result("r", id=kept), result("r", id=odd)),
    ]
    request, _, _ = prepared(turns, quirks={"tool_id_pattern": pattern})
    calls = [block.id for block in request.messages[1].content if isinstance(block, ToolUse)]
    results = [block.tool_use_id for block in request.messages[2].content if isinstance(block, ToolResult)]
    assert results == list(reversed(calls))
    assert calls[1] == kept and calls[0] != odd
    assert all(re.fullmatch(pattern, id) for id in calls)


def test_a_custom_tool_keeps_all_it_has() -> None:
    given_tool = tool("A", description="d", strict=False)
    assert prepared(tools=[given_tool])[0].tools == [Tool(**given_tool)]
