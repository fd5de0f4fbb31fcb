"""openai-chat requests where hosts and models differ: each quirk and each fact by itself, beside the golden files."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from asbru.dialects import blobs, messages
from asbru.dialects.codec import Context, Model, Quirks
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.openai_chat import CODEC

Json = dict[str, Any]

HELLO: Json = {"model": "claude", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}]}
TOOL: Json = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
SCHEMA: Json = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
FORMAT: Json = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
PNG: Json = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}
PDF: Json = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}


def encode(
    request: Json, quirks: Json | None = None, facts: Json | None = None, **context: Any
) -> tuple[Json, Losses, Context]:
    spoken = Context(
        provider="p",
        model="gpt-upstream",
        shown_model="claude",
        message_id="msg_1",
        quirks=Quirks(**quirks or {}),
        facts=Model(**facts or {}),
        **context,
    )
    losses = Losses(CODEC.fidelity)
    sent = CODEC.encode(messages.parse(json.dumps({**HELLO, **request}).encode()), spoken, losses)
    return json.loads(sent.body), losses, spoken


def user(*content: Json) -> Json:
    return {"messages": [{"role": "user", "content": list(content)}]}


def text(said: str) -> Json:
    return {"type": "text", "text": said}


def called(*results: Json) -> Json:
    call = {"type": "tool_use", "id": "call_1", "name": "look", "input": {}}
    return {
        "messages": [
            {"role": "user", "content": "Go"},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": list(results)},
        ]
    }


def result(*content: Json, **more: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": "call_1", "content": list(content), **more}


# What is refused, with the client's own path

BY_URL: Json = {"type": "image", "source": {"type": "url", "url": "https://e.com/a"}}
BY_FILE: Json = {"type": "image", "source": {"type": "file", "file_id": "f"}}
PDF_BY_URL: Json = {"type": "document", "source": {"type": "url", "url": "https://e.com/a"}}
SEARCH: Json = {"type": "web_search_20250305", "name": "web_search"}
PREFILL: Json = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well,"}]}


@pytest.mark.parametrize(
    ("asked", "quirks", "facts", "path"),
    [
        (user(BY_URL), {"image_url": False}, {}, "messages.0.content.0"),
        (called(result(text("t"), BY_URL)), {"image_url": False}, {}, "messages.2.content.0.content.1"),
        (user(PDF), {"files": False}, {}, "messages.0.content.0"),
        (user(PDF), {"files": True}, {"documents": False}, "messages.0.content.0"),
        (called(result(PDF)), {}, {}, "messages.2.content.0.content.0"),
        (user(PDF_BY_URL), {"files": True}, {}, "messages.0.content.0"),
        (user(BY_FILE), {}, {}, "messages.0.content.0"),
        ({"tools": [TOOL, SEARCH]}, {}, {}, "tools.1"),
        ({"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}, {}, {}, "tools.0"),
        ({"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}, {}, {}, "tools.0"),
        ({"tools": [{"type": "computer_toolset_20260801"}]}, {}, {}, "tools.0"),
        ({"tools": [{"type": "future_tool_2027", "name": "x"}]}, {}, {}, "tools.0"),
        ({"mcp_servers": [{"type": "url", "name": "a", "url": "u"}]}, {}, {}, "mcp_servers"),
        ({"container": "c"}, {}, {}, "container"),
        ({"safeguards": [{"type": "dangerous_tool_use"}]}, {}, {}, "safeguards"),
        ({"max_tokens": 0}, {}, {}, "max_tokens"),
        (PREFILL, {}, {}, "messages.1"),
        (user({"type": "container_upload", "file_id": "f"}), {}, {}, "messages.0.content.0"),
        (user({"type": "future_block", "x": 1}), {}, {}, "messages.0.content.0"),
        ({"stop_sequences": ["x" * 1001]}, {"max_stop_sequences": 0}, {}, "stop_sequences"),
    ],
)
def test_what_would_be_wrong_without_it_is_refused_by_name(asked: Json, quirks: Json, facts: Json, path: str) -> None:
    with pytest.raises(LossyError) as caught:
        encode(asked, quirks, facts)
    assert caught.value.path == path
    assert caught.value.message.startswith(f"{path}: ")


def test_a_thread_is_refused_so_that_clients_send_the_whole_conversation() -> None:
    with pytest.raises(LossyError) as caught:
        encode({"thread": {"type": "create"}})
    assert caught.value.details == {"error_code": "thread_unsupported_request"}


# Fields that depend on host and model


def effort(level: str) -> Json:
    return {"output_config": {"effort": level}}


def budget(tokens: int) -> Json:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


def identity(user_id: str) -> Json:
    return {"metadata": {"user_id": user_id}}


def hashed(text: str) -> Json:
    return {"user": hashlib.sha256(text.encode()).hexdigest()}


LOW, HIGH = {"reasoning_effort": "low"}, {"reasoning_effort": "high"}
OFF: Json = {"thinking": {"type": "disabled"}}
BETWEEN: Json = {"thinking": {"type": "between_tools"}}
ADAPTIVE: Json = {"thinking": {"type": "adaptive"}}
OBJECT, NO_FIELD, SWITCH = {"reasoning_object": True}, {"reasoning_effort": False}, {"thinking_switch": True}
USER = {"user_field": "user"}
KNOWN: Json = {"efforts": ("low", "medium", "high")}
EFFORT, NO_EFFORT = "approximated: output_config.effort", "dropped: output_config.effort"
BUDGET, NO_BUDGET = "approximated: thinking.budget_tokens", "dropped: thinking.budget_tokens"
NOT_OFF, NO_OFF = "approximated: thinking.disabled", "dropped: thinking.disabled"
HASHED = "approximated: metadata.user_id"
STRICT: Json = {"tools": [{**TOOL, "strict": True, "input_schema": SCHEMA}]}
LOOSE: Json = {"tools": [{"type": "function", "function": {"name": "look", "parameters": SCHEMA}}]}


@pytest.mark.parametrize(
    ("asked", "quirks", "facts", "fields", "header"),
    [
        ({"service_tier": "auto"}, {}, {}, {}, "none"),
        ({"service_tier": "auto"}, {"service_tier": True}, {}, {"service_tier": "auto"}, "none"),
        ({"temperature": 0.0}, {}, {"reasoning": True, "sampling": True}, {"temperature": 0.0}, "none"),
        ({"temperature": 0.0}, {}, {"sampling": False}, {}, "dropped: temperature"),
        (effort("low"), NO_FIELD, {}, {}, NO_EFFORT),
        (effort("low"), OBJECT, {}, {"reasoning": {"effort": "low"}}, "none"),
        (effort("low"), {}, {"efforts": ("medium", "high")}, {"reasoning_effort": "medium"}, EFFORT),
        (effort("none"), {}, {"efforts": ("high",)}, HIGH, EFFORT),
        (effort("max"), {}, {"efforts": ("none", "low", "high")}, HIGH, EFFORT),
        (effort("minimal"), {}, {"efforts": ("none", "low")}, LOW, EFFORT),
        (effort("low"), {}, {"efforts": ("none",)}, {}, NO_EFFORT),
        (effort("high"), {}, {"efforts": ("none", "default")}, {}, NO_EFFORT),
        (effort("high"), {}, {"efforts": ("low", "medium", "xhigh")}, {"reasoning_effort": "medium"}, EFFORT),
        (effort("high"), {}, {}, {}, NO_EFFORT),
        (effort("high"), {}, {"reasoning": True}, {}, NO_EFFORT),
        (budget(4096), {}, {}, {}, NO_BUDGET),
        (budget(9000), {}, {"efforts": ("low",)}, LOW, BUDGET),
        (effort("future"), {}, {"efforts": ("low", "high")}, HIGH, EFFORT),
        ({**effort("low"), **budget(9000)}, {}, KNOWN, LOW, BUDGET),
        ({**effort("low"), **budget(9000)}, OBJECT, {}, {"reasoning": {"effort": "low"}}, BUDGET),
        (budget(4096), {}, KNOWN, HIGH, BUDGET),
        (budget(4095), {}, KNOWN, {"reasoning_effort": "medium"}, BUDGET),
        (budget(1024), {}, KNOWN, LOW, BUDGET),
        (budget(100), {}, {"efforts": ("minimal", "low")}, {"reasoning_effort": "minimal"}, BUDGET),
        (budget(-5), {}, {"efforts": ("minimal", "low")}, {"reasoning_effort": "minimal"}, BUDGET),
        (budget(9000), NO_FIELD, {}, {}, NO_BUDGET),
        (budget(9000), {}, {"reasoning": False}, {}, NO_BUDGET),
        (ADAPTIVE, SWITCH, {}, {"thinking": {"type": "enabled"}}, "none"),
        ({}, SWITCH, {}, {}, "none"),
        (OFF, OBJECT, {}, {"reasoning": {"effort": "none"}}, "none"),
        (BETWEEN, {}, {"reasoning": True, **KNOWN}, LOW, NOT_OFF),
        (OFF, {}, {}, {}, NO_OFF),
        (OFF, {}, {"reasoning": True}, {}, NO_OFF),
        (OFF, {}, {"reasoning": False}, {}, "none"),
        (OFF, NO_FIELD, {"reasoning": True}, {}, NO_OFF),
        (STRICT, {"strict_tools": False}, {}, LOOSE, "approximated: tools.0"),
        ({"tools": [SEARCH]}, {"web_search": True}, {}, {"web_search_options": {}}, "approximated: tools.0"),
        (identity('{"device_id":"d"}'), USER, {}, hashed("d"), HASHED),
        (identity("{not json"), USER, {}, hashed("{not json"), HASHED),
        (identity("u"), {**USER, "prompt_cache_key": True}, {}, hashed("u"), HASHED),
        ({"metadata": {}}, {}, {}, {}, "none"),
    ],
)
def test_a_field_on_this_host(asked: Json, quirks: Json, facts: Json, fields: Json, header: str) -> None:
    body, losses, _ = encode({"max_tokens": 8192, **asked}, quirks, facts)
    assert {
        name: value for name, value in body.items() if name not in ("model", "messages", "max_completion_tokens")
    } == fields
    assert losses.header() == header


def test_a_long_session_is_hashed() -> None:
    body, _, _ = encode({}, {"prompt_cache_key": True}, session_id="s" * 65)
    assert body["prompt_cache_key"] == hashlib.sha256(b"s" * 65).hexdigest()


# Structured output


@pytest.mark.parametrize(
    ("asked", "quirks", "facts", "how"),
    [
        ({}, {}, {}, "native"),
        ({}, {"max_schema_depth": 1}, {}, "native"),
        ({}, {"max_schema_depth": 0}, {}, "tool"),
        ({}, {}, {"structured_output": False}, "tool"),
        ({"tools": [TOOL]}, {}, {}, "native"),
        ({"tools": [TOOL]}, {"json_schema_with_tools": False}, {}, "tool"),
        ({"tools": [TOOL], "tool_choice": {"type": "any"}}, {"json_schema": False}, {}, "tool"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "look"}}, {"json_schema": False}, {}, "instruction"),
        ({"tools": [TOOL], "tool_choice": {"type": "none"}}, {"json_schema": False}, {}, "instruction"),
        ({}, {"json_schema": False, "tool_choice_required": False}, {}, "instruction"),
        ({}, {"json_schema": False}, {"tools": False}, "instruction"),
    ],
)
def test_how_structured_output_is_asked_for(asked: Json, quirks: Json, facts: Json, how: str) -> None:
    body, losses, spoken = encode({**FORMAT, **asked}, quirks, facts)
    assert ("response_format" in body) == (how == "native")
    assert (spoken.structured_tool is not None) == (how == "tool")
    assert str(body["messages"][0]["content"]).startswith("Answer with one JSON value") == (how == "instruction")
    assert losses.header() == ("none" if how == "native" else "emulated: output_config.format")


def test_the_forced_tool_takes_no_other_tools_name() -> None:
    body, _, spoken = encode({**FORMAT, "tools": [{**TOOL, "name": "structured_output"}]}, {"json_schema": False})
    assert [tool["function"]["name"] for tool in body["tools"]] == ["structured_output", spoken.structured_tool]
    assert spoken.structured_tool == "structured_output_"


def test_the_forced_tool_where_no_function_can_be_named() -> None:
    body, _, _ = encode(FORMAT, {"json_schema": False, "tool_choice_named": False})
    assert body["tool_choice"] == "required"


# The conversation


def test_a_result_far_from_its_call_is_text() -> None:
    request = called(result({"type": "text", "text": "A"}))
    request["messages"] += [
        {"role": "assistant", "content": "Fine."},
        {"role": "user", "content": [result({"type": "text", "text": "B"})]},
    ]
    body, losses, _ = encode(request)
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "tool", "assistant", "user"]
    assert body["messages"][-1]["content"] == "Result of an earlier tool call:\n\nB"
    assert losses.header() == "approximated: tool_result.orphan"


def test_a_system_message_does_not_wait_for_a_result_that_never_comes() -> None:
    request = called(result())
    request["messages"][2:] = [
        {"role": "system", "content": "S"},
        {"role": "assistant", "content": "A"},
        HELLO["messages"][0],
    ]
    body, _, _ = encode(request)
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "system", "assistant", "user"]


def test_a_model_that_takes_no_system_turns_has_them_in_the_users() -> None:
    body, losses, _ = encode(
        {"messages": [*HELLO["messages"], {"role": "system", "content": "S"}]}, {}, {"system_turns": False}
    )
    assert [turn["role"] for turn in body["messages"]] == ["user"]
    assert losses.header() == "approximated: messages.system"


def test_a_document_in_a_result_goes_behind_it() -> None:
    body, _, _ = encode(called(result(PDF)), {"files": True})
    assert body["messages"][2]["content"] == "[Document: see the document for call_1 in the next message.]"
    assert [part["type"] for part in body["messages"][3]["content"]] == ["text", "file"]


def test_an_assistant_turn_of_nothing_but_thinking_is_left_out() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": blobs.seal("p", "gpt-upstream", {})}
    request = {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [thinking]},
            {"role": "user", "content": "b"},
        ]
    }
    body, _, _ = encode(request, {"reasoning_field": "reasoning_content"})
    assert [turn["content"] for turn in body["messages"]] == ["a", "b"]


def test_reasoning_of_another_model_stays_behind() -> None:
    details = {"details": [{"type": "reasoning.encrypted", "data": "e"}]}
    thinking = {"type": "thinking", "thinking": "hm", "signature": blobs.seal("p", "claude-upstream", details)}
    answer = {"role": "assistant", "content": [thinking, {"type": "text", "text": "Yes."}]}
    turns = [{"role": "user", "content": "a"}, answer, {"role": "user", "content": "b"}]
    body, losses, _ = encode({"messages": turns}, {"reasoning_field": "reasoning_details"})
    assert body["messages"][1] == {"role": "assistant", "content": "Yes."}
    assert losses.header() == "dropped: messages.1.content.0"


def test_reasoning_goes_back_under_the_hosts_name_and_not_when_thinking_is_off() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": blobs.seal("p", "gpt-upstream", {})}
    sealed = {"type": "redacted_thinking", "data": blobs.seal("p", "gpt-upstream", {"text": "!"})}
    said = {"type": "text", "text": "Yes."}
    request: Json = {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [thinking, sealed, said]},
            {"role": "user", "content": "b"},
        ]
    }
    for field, name in (
        ("reasoning_content", "reasoning_content"),
        ("reasoning", "reasoning"),
        ("reasoning_details", "reasoning"),
    ):
        body, losses, _ = encode(request, {"reasoning_field": field})
        assert body["messages"][1] == {"role": "assistant", "content": "Yes.", name: "hm!"}
        assert losses.header() == "none"
    off, _, _ = encode(
        {**request, "thinking": {"type": "disabled"}}, {"reasoning_field": "reasoning", "thinking_switch": True}
    )
    assert off["messages"][1] == {"role": "assistant", "content": "Yes."}


def test_breakpoints_that_have_no_place_are_reported() -> None:
    call = {"type": "tool_use", "id": "call_1", "name": "look", "input": {}, "cache_control": {"type": "ephemeral"}}
    request = called(result())
    request["messages"][1]["content"] = [call]
    body, losses, _ = encode(request, {"cache_breakpoints": "cache_control"})
    assert losses.header() == "approximated: cache_control"
    assert "cache_control" not in json.dumps(body)


def test_without_a_breakpoint_openai_chooses_its_own() -> None:
    spoken = Context(
        provider="p",
        model="gpt-5.10",
        shown_model="m",
        message_id="msg_1",
        quirks=Quirks(cache_breakpoints="prompt_cache_breakpoint"),
    )
    body = json.loads(CODEC.encode(messages.parse(json.dumps(HELLO).encode()), spoken, Losses(CODEC.fidelity)).body)
    assert "prompt_cache_options" not in body


def test_a_count_is_not_this_dialects_to_give() -> None:
    assert not CODEC.counts
    with pytest.raises(LossyError):
        CODEC.encode_count(
            messages.parse(json.dumps(HELLO).encode()),
            Context(provider="p", model="m", shown_model="m", message_id="i"),
            Losses(CODEC.fidelity),
        )


# A tool that is forced at a host that forces none while the model thinks


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "look"}])
def test_a_forced_tool_switches_thinking_off_where_both_do_not_go(choice: Json) -> None:
    quirks = {"forced_choice_thinks": False, "thinking_switch": True}
    facts = {"reasoning": True, "efforts": ("low", "high")}
    asked = {"tools": [TOOL], "tool_choice": choice, "max_tokens": 8192}
    body, losses, _ = encode(asked, quirks, facts)
    assert body["thinking"] == {"type": "disabled"}
    assert body["tool_choice"] != "auto"
    assert losses.header() == "none"
    body, losses, _ = encode({**asked, **effort("high")}, quirks, facts)
    assert (body["thinking"], "reasoning_effort" in body) == ({"type": "disabled"}, False)
    assert losses.header() == NO_EFFORT
    body, losses, _ = encode(asked, {"forced_choice_thinks": False}, facts)
    assert ("thinking" in body, body["tool_choice"], losses.header()) == (False, "auto", "approximated: tool_choice")


def test_the_tool_that_stands_for_structured_output_is_forced_without_thinking_too() -> None:
    quirks = {"forced_choice_thinks": False, "thinking_switch": True, "json_schema": False}
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    asked = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    body, losses, _ = encode(asked, quirks, {"reasoning": True})
    assert body["thinking"] == {"type": "disabled"}
    assert losses.header() == "emulated: output_config.format"


# Schemas


def test_strict_tools_are_strict_together_or_not_at_all_where_a_host_takes_no_mixture() -> None:
    tools = [{**TOOL, "strict": True, "input_schema": SCHEMA}, {**TOOL, "name": "other"}]
    quirks = {"strict_tools": True}
    body, losses, _ = encode({"tools": tools}, quirks)
    assert ["strict" in tool["function"] for tool in body["tools"]] == [False, False]
    assert losses.header() == "approximated: tools.0"
    body, losses, _ = encode({"tools": tools}, {**quirks, "mixed_strict": True})
    assert ["strict" in tool["function"] for tool in body["tools"]] == [True, False]
    assert losses.header() == "none"
    body, losses, _ = encode({"tools": tools[:1]}, quirks)
    assert (body["tools"][0]["function"]["strict"], losses.header()) == (True, "none")


def test_words_beside_a_reference_are_taken_by_strict_mode() -> None:
    chart = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["lead"],
        "properties": {"lead": {"$ref": "#/$defs/Chart", "description": "The main chart"}},
        "$defs": {"Chart": chart},
    }
    lead = {"anyOf": [{"$ref": "#/$defs/Chart"}], "description": "The main chart"}
    body, losses, _ = encode({"output_config": {"format": {"type": "json_schema", "schema": schema}}})
    found = body["response_format"]["json_schema"]
    assert (found["schema"]["properties"]["lead"], found["strict"]) == (lead, True)
    assert losses.header() == "none"
    tool = {**TOOL, "strict": True, "input_schema": schema}
    body, losses, _ = encode({"tools": [tool]}, {"strict_tools": True})
    assert body["tools"][0]["function"]["parameters"]["properties"]["lead"] == lead
    assert losses.header() == "none"


def test_a_choice_at_the_root_is_one_object_at_every_host() -> None:
    schema = {"type": "object", "properties": {"id": {"type": "string"}}, "anyOf": [{"required": ["id"]}]}
    body, losses, _ = encode({"tools": [{**TOOL, "input_schema": schema}]})
    assert "anyOf" not in body["tools"][0]["function"]["parameters"]
    assert losses.header() == "approximated: tools.0"


# Room for thinking that nobody asked for


@pytest.mark.parametrize(
    ("asked", "facts", "most", "header"),
    [
        ({}, {"reasoning": True}, 8492, "approximated: max_tokens"),
        ({}, {"reasoning": True, "max_output_tokens": 5000}, 5000, "approximated: max_tokens"),
        ({"max_tokens": 8192}, {"reasoning": True}, 8192, "none"),
        ({}, {}, 300, "none"),
        ({}, {"reasoning": False}, 300, "none"),
        (ADAPTIVE, {"reasoning": True}, 300, "none"),
        (OFF, {"reasoning": True, "efforts": ("none", "low")}, 300, "none"),
        ({}, {"reasoning": True, "efforts": ("none", "low")}, 300, "none"),
    ],
)
def test_thinking_that_nobody_asked_for_has_room(asked: Json, facts: Json, most: int, header: str) -> None:
    body, losses, _ = encode({"max_tokens": 300, **asked}, {}, facts)
    assert (body["max_completion_tokens"], losses.header()) == (most, header)
