"""Tool calls of the sandbox: which, when, with what input; the API's own tools and MCP; what comes after results."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from tests.sandbox.calling import CITY, USER, Json, Sandbox, content, kinds, text, usage

sandbox = Sandbox()
TIME: Json = {"name": "get_time", "input_schema": {"type": "object", "properties": {"zone": {"type": "string"}}}}
MCP = "mcp-client-2025-11-20"
SERVER: Json = {"type": "url", "name": "ex", "url": "http://127.0.0.1:1/sse"}


def said(words: str) -> list[Json]:
    return [{"role": "user", "content": words}]


def naming(*tools: Mapping[str, object]) -> list[Json]:
    """A user message that names the tools, so that they are called."""
    return said(" ".join(str(tool.get("name") or tool.get("mcp_server_name") or tool["type"]) for tool in tools))


def calls(message: Json) -> list[object]:
    return [block["name"] for block in content(message) if block["type"] == "tool_use"]


def test_a_tool_is_called_with_an_input_that_fits() -> None:
    message = sandbox.answer(tools=[CITY, TIME], messages=naming(CITY))
    assert message["stop_reason"] == "tool_use"
    assert kinds(message) == ["text", "tool_use"]
    call = content(message)[1]
    assert (call["name"], call["input"]) == ("get_weather", {"city": "Paris"})
    assert re.fullmatch(r"toolu_01[0-9A-Za-z]{22}", str(call["id"]))


def test_the_tools_the_user_names_are_called_in_parallel() -> None:
    assert calls(sandbox.answer(tools=[CITY, TIME], messages=said("please get_time"))) == ["get_time"]
    both = sandbox.answer(tools=[CITY, TIME], messages=said("get_time and get_weather"))
    assert calls(both) == ["get_weather", "get_time"]
    assert calls(sandbox.answer(tools=[CITY, TIME], messages=said("get weather, please"))) == ["get_weather"]
    ids = [block["id"] for block in content(both) if block["type"] == "tool_use"]
    assert len(set(ids)) == 2
    assert calls(sandbox.answer(tools=[CITY, TIME], messages=said("my_get_time"))) == []


def test_a_text_that_names_no_tool_is_answered_in_text() -> None:
    for choice in (None, {"type": "auto"}):
        assert kinds(sandbox.answer(tools=[CITY, TIME], tool_choice=choice)) == ["text"]
        assert kinds(sandbox.answer(tools=[SERVER_TOOLS[0][0]], tool_choice=choice)) == ["text"]


@pytest.mark.parametrize("name", ["Agent", "Task"])
def test_an_agent_is_started_only_when_the_choice_leaves_nothing_else(name: str) -> None:
    agent = {**CITY, "name": name}
    words = said(f"Use {name} now")
    assert kinds(sandbox.answer(tools=[agent, CITY], messages=words)) == ["text"]
    forced: Json = {"type": "any"}
    assert calls(sandbox.answer(tools=[agent, TIME, CITY], messages=words, tool_choice=forced)) == ["get_time"]
    assert calls(sandbox.answer(tools=[agent], messages=words, tool_choice=forced)) == [name]
    named = {"type": "tool", "name": name}
    assert calls(sandbox.answer(tools=[CITY, agent], tool_choice=named)) == [name]


def test_only_the_last_text_names_tools() -> None:
    blocks: list[Json] = [{"type": "text", "text": "You have get_time."}, {"type": "text", "text": "go"}]
    message = sandbox.answer(tools=[CITY, TIME], messages=[{"role": "user", "content": blocks}])
    assert calls(message) == []


def test_a_reminder_behind_the_users_text_names_none() -> None:
    """Unless the user said nothing else."""
    reminder: Json = {"type": "text", "text": "<system-reminder>\nYou have get_time.\n</system-reminder>"}
    for before, called in (([{"type": "text", "text": "get_weather"}], "get_weather"), ([], "get_time")):
        message = sandbox.answer(tools=[CITY, TIME], messages=[{"role": "user", "content": [*before, reminder]}])
        assert calls(message) == [called]


def test_parallel_calls_can_be_switched_off() -> None:
    for kind in ("auto", "any"):
        choice = {"type": kind, "disable_parallel_tool_use": True}
        message = sandbox.answer(tools=[CITY, TIME], tool_choice=choice, messages=said("get_time get_weather"))
        assert calls(message) == ["get_weather"]


def test_tool_choice_is_obeyed() -> None:
    named = sandbox.answer(tools=[CITY, TIME], tool_choice={"type": "tool", "name": "get_time"})
    assert (calls(named), kinds(named)) == (["get_time"], ["tool_use"])
    assert kinds(sandbox.answer(tools=[CITY], tool_choice={"type": "any"})) == ["tool_use"]
    assert kinds(sandbox.answer(tools=[CITY], tool_choice={"type": "none"})) == ["text"]


def test_the_models_name_can_switch_tools_off() -> None:
    quiet = "claude-sandbox:tools=never"
    assert kinds(sandbox.answer(tools=[CITY], model=quiet)) == ["text"]
    assert calls(sandbox.answer(tools=[CITY], model=quiet, tool_choice={"type": "any"})) == ["get_weather"]


def after(message: Json, *results: Json) -> list[Json]:
    """The conversation that goes on after this answer with these results, one for each call."""
    ids = [block["id"] for block in content(message) if block["type"] == "tool_use"]
    answers: list[Json] = [
        {"type": "tool_result", "tool_use_id": use, **result} for use, result in zip(ids, results, strict=True)
    ]
    return [*USER, {"role": "assistant", "content": message["content"]}, {"role": "user", "content": answers}]


def test_after_the_results_it_says_what_they_were() -> None:
    first = sandbox.answer(tools=[CITY, TIME], messages=said("get_time get_weather"))
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    mixed: list[Json] = [{"type": "text", "text": "boom"}, {**image}]
    last = sandbox.answer(
        tools=[CITY, TIME], messages=after(first, {"content": "12C"}, {"content": mixed, "is_error": True})
    )
    assert last["stop_reason"] == "end_turn"
    assert "returned: 12C" in text(last)
    assert "failed with: boom [image]" in text(last)


def test_an_empty_result_is_a_result() -> None:
    first = sandbox.answer(tools=[CITY], messages=naming(CITY))
    assert "returned: nothing" in text(sandbox.answer(tools=[CITY], messages=after(first, {})))


def test_a_forced_tool_is_called_again_after_results() -> None:
    first = sandbox.answer(tools=[CITY], messages=naming(CITY))
    last = sandbox.answer(tools=[CITY], messages=after(first, {"content": "12C"}), tool_choice={"type": "any"})
    assert calls(last) == ["get_weather"]


def test_a_call_that_does_not_fit_into_max_tokens_is_left_out() -> None:
    message = sandbox.answer(tools=[CITY], max_tokens=8, messages=naming(CITY))
    assert (kinds(message), message["stop_reason"]) == (["text"], "max_tokens")
    assert usage(message)["output_tokens"] == 8


@pytest.mark.parametrize(
    ("tool", "name", "arguments", "betas"),
    [
        ({"type": "bash_20250124", "name": "bash"}, "bash", {"command": "echo sandbox"}, ""),
        (
            {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
            "str_replace_based_edit_tool",
            {"command": "view", "path": "/tmp/sandbox.txt"},
            "",
        ),
        (
            {"type": "text_editor_20250124", "name": "str_replace_editor"},
            "str_replace_editor",
            {"command": "view", "path": "/tmp/sandbox.txt"},
            "",
        ),
        ({"type": "memory_20250818", "name": "memory"}, "memory", {"command": "view", "path": "/memories"}, ""),
        (
            {"type": "computer_20250124", "name": "computer", "display_width_px": 800, "display_height_px": 600},
            "computer",
            {"action": "screenshot"},
            "computer-use-2025-01-24",
        ),
    ],
)
def test_tools_that_the_api_defines_get_sensible_inputs(tool: Json, name: str, arguments: Json, betas: str) -> None:
    call = content(sandbox.answer(tools=[tool], messages=naming(tool), betas=betas))[1]
    assert (call["type"], call["name"], call["input"]) == ("tool_use", name, arguments)


@pytest.mark.parametrize("kind", ["computer", "browser"])
def test_toolsets_are_called_by_member(kind: str) -> None:
    call = content(sandbox.answer(tools=[{"type": f"{kind}_toolset_20260801"}], messages=said(f"the {kind}")))[1]
    assert (call["name"], call["toolset_name"], call["input"]) == ("screenshot", kind, {})
    off = {"type": f"{kind}_toolset_20260801", "configs": {"screenshot": {"enabled": False}}}
    assert content(sandbox.answer(tools=[off], messages=said(f"the {kind}")))[1]["name"] in (
        "cursor_position",
        "list_tabs",
    )


SERVER_TOOLS: list[tuple[Json, str, str, str]] = [
    ({"type": "web_search_20250305", "name": "web_search"}, "web_search", "web_search_tool_result", ""),
    ({"type": "web_fetch_20250910", "name": "web_fetch"}, "web_fetch", "web_fetch_tool_result", ""),
    (
        {"type": "code_execution_20250522", "name": "code_execution"},
        "code_execution",
        "code_execution_tool_result",
        "",
    ),
    (
        {"type": "code_execution_20250825", "name": "code_execution"},
        "bash_code_execution",
        "bash_code_execution_tool_result",
        "",
    ),
    (
        {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5"},
        "advisor",
        "advisor_tool_result",
        "advisor-tool-2026-03-01",
    ),
]


@pytest.mark.parametrize(("tool", "name", "result", "betas"), SERVER_TOOLS)
def test_the_apis_own_tools_run_in_the_same_answer(tool: Json, name: str, result: str, betas: str) -> None:
    message = sandbox.answer(tools=[tool], messages=naming(tool), betas=betas)
    use, done = content(message)[:2]
    assert (use["type"], use["name"], done["type"]) == ("server_tool_use", name, result)
    assert re.fullmatch(r"srvtoolu_01[0-9A-Za-z]{22}", str(use["id"]))
    assert done["tool_use_id"] == use["id"]
    assert message["stop_reason"] == "end_turn"
    assert text(message).startswith("You said")
    # What the answer holds can be sent back.
    messages = [*USER, {"role": "assistant", "content": message["content"]}, *USER]
    assert sandbox.message(messages=messages, tools=[tool], betas=betas).status == 200


def test_searches_and_fetches_are_counted_and_cited() -> None:
    searched = sandbox.answer(tools=[SERVER_TOOLS[0][0]], messages=naming(SERVER_TOOLS[0][0]))
    assert usage(searched)["server_tool_use"] == {"web_search_requests": 1, "web_fetch_requests": 0}
    cited = content(searched)[-1]["citations"]
    assert isinstance(cited, list)
    results = content(searched)[1]["content"]
    assert isinstance(results, list)
    assert (cited[0]["type"], cited[0]["url"]) == ("web_search_result_location", results[0]["url"])
    fetched = sandbox.answer(tools=[SERVER_TOOLS[1][0]], messages=said("web_fetch http://127.0.0.1/x please"))
    assert usage(fetched)["server_tool_use"] == {"web_search_requests": 0, "web_fetch_requests": 1}
    assert content(fetched)[0]["input"] == {"url": "http://127.0.0.1/x"}


def test_code_execution_names_its_container() -> None:
    container = sandbox.answer(tools=[SERVER_TOOLS[3][0]], messages=naming(SERVER_TOOLS[3][0]))["container"]
    assert isinstance(container, dict)
    assert set(container) == {"id", "expires_at", "skills"}


def test_the_apis_tools_and_the_callers_can_be_called_at_once() -> None:
    message = sandbox.answer(tools=[CITY, SERVER_TOOLS[0][0]], messages=said("web_search then get_weather"))
    assert kinds(message) == ["server_tool_use", "web_search_tool_result", "text", "tool_use"]
    assert message["stop_reason"] == "tool_use"


@pytest.mark.parametrize("kind", ["regex", "bm25"])
def test_a_tool_search_finds_a_deferred_tool_and_calls_it(kind: str) -> None:
    search = {"type": f"tool_search_tool_{kind}_20251119", "name": f"tool_search_tool_{kind}"}
    message = sandbox.answer(tools=[search, {**CITY, "defer_loading": True}], messages=naming(search))
    assert kinds(message) == ["server_tool_use", "tool_search_tool_result", "text", "tool_use"]
    found = content(message)[1]["content"]
    assert isinstance(found, dict)
    assert found["tool_references"] == [{"type": "tool_reference", "tool_name": "get_weather"}]
    assert calls(message) == ["get_weather"]


def test_deferred_tools_are_called_only_once_referred_to() -> None:
    deferred = {**TIME, "defer_loading": True}
    first = sandbox.answer(tools=[CITY, deferred], messages=naming(CITY))
    reference = [{"type": "tool_reference", "tool_name": "get_time"}]
    messages = [*after(first, {"content": reference}), {"role": "assistant", "content": "Loaded."}, *said("get_time")]
    assert calls(sandbox.answer(tools=[CITY, deferred], messages=said("get_time"))) == []
    assert calls(sandbox.answer(tools=[CITY, deferred], messages=messages)) == ["get_time"]


def test_tools_found_by_a_search_stay_loaded() -> None:
    search = {"type": "tool_search_tool_bm25", "name": "tool_search_tool_bm25"}
    tools = [search, {**TIME, "defer_loading": True}]
    first = sandbox.answer(tools=tools, messages=naming(search))
    messages = [*after(first, {"content": "noon"}), {"role": "assistant", "content": "Noon."}, *said("get_time again")]
    assert kinds(sandbox.answer(tools=tools, messages=messages)) == ["text", "tool_use"]


def test_without_room_not_even_the_apis_own_tools_run() -> None:
    message = sandbox.answer(tools=[SERVER_TOOLS[0][0]], messages=naming(SERVER_TOOLS[0][0]), max_tokens=3)
    assert (message["content"], message["stop_reason"]) == ([], "max_tokens")
    message = sandbox.answer(thinking={"type": "adaptive"}, max_tokens=0)
    assert (message["content"], message["stop_reason"]) == ([], "max_tokens")


def test_mcp_servers_answer_in_the_same_message() -> None:
    toolset = {"type": "mcp_toolset", "mcp_server_name": "ex"}
    message = sandbox.answer(mcp_servers=[SERVER], tools=[toolset], messages=naming(toolset), betas=MCP)
    use, done = content(message)[:2]
    assert use == {
        "type": "mcp_tool_use",
        "id": use["id"],
        "name": "echo",
        "input": {"message": "sandbox"},
        "server_name": "ex",
    }
    assert (done["type"], done["tool_use_id"], done["is_error"]) == ("mcp_tool_result", use["id"], False)
    messages = [*USER, {"role": "assistant", "content": message["content"]}, *USER]
    assert sandbox.message(messages=messages, mcp_servers=[SERVER], tools=[toolset], betas=MCP).status == 200


def test_an_mcp_toolset_says_which_of_its_tools_are_on() -> None:
    configs = {"delete": {"enabled": False}, "list": {"enabled": True}}
    toolset: Json = {"type": "mcp_toolset", "mcp_server_name": "ex", "configs": configs}
    message = sandbox.answer(mcp_servers=[SERVER], tools=[toolset], messages=naming(toolset), betas=MCP)
    assert content(message)[0]["name"] == "list"
    listed = {**toolset, "configs": None, "tools": [{"name": "add", "input_schema": CITY["input_schema"]}]}
    message = sandbox.answer(mcp_servers=[SERVER], tools=[listed], messages=naming(listed), betas=MCP)
    assert (content(message)[0]["name"], content(message)[0]["input"]) == ("add", {"city": "Paris"})
    off = {**toolset, "default_config": {"enabled": False}, "configs": {"list": {}}}
    assert kinds(sandbox.answer(mcp_servers=[SERVER], tools=[off], messages=naming(off), betas=MCP)) == ["text"]


def test_the_first_mcp_beta_needs_no_toolset() -> None:
    server = {**SERVER, "tool_configuration": {"allowed_tools": ["list"], "enabled": True}}
    message = sandbox.answer(mcp_servers=[server], messages=said("ex"), betas="mcp-client-2025-04-04")
    assert content(message)[0]["name"] == "list"
