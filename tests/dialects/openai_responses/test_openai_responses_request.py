"""What goes to the Responses API beyond the golden files: refusals, counting, captured requests, hosts' differences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asbru.dialects import messages
from asbru.dialects.codec import Context, Model, Quirks
from asbru.dialects.losses import FIELDS, Losses, LossyError
from asbru.dialects.openai_responses import CODEC
from asbru.dialects.registry import codec

Json = dict[str, Any]

CAPTURES = Path(__file__).resolve().parents[2] / "captures"
TOOL: Json = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
SCHEMA: Json = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
PDF: Json = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
IMAGE: Json = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
SERVER: Json = {"type": "url", "name": "docs", "url": "https://mcp.example.com"}


def context(**more: Any) -> Context:
    return Context(provider="openai", model="gpt-5", shown_model="gpt-5", message_id="msg_1", **more)


def asked(content: object = "Hi", **more: Any) -> Json:
    return {"model": "gpt-5", "max_tokens": 1024, "messages": [{"role": "user", "content": content}], **more}


def encoded(request: Json, where: Context | None = None) -> tuple[Json, Losses]:
    losses = Losses(CODEC.fidelity)
    sent = CODEC.encode(messages.parse(json.dumps(request).encode()), where or context(), losses)
    body: Json = json.loads(sent.body)
    return body, losses


def refusal(request: Json, where: Context | None = None) -> str:
    with pytest.raises(LossyError) as raised:
        encoded(request, where)
    return raised.value.message


def test_every_field_of_the_hub_has_a_row() -> None:
    assert CODEC.fidelity.keys() == FIELDS.keys()


def test_it_is_registered() -> None:
    assert codec("openai-responses") is CODEC


def captured(path: Path) -> Json | None:
    """The Messages request of a capture; None for one of another kind."""
    capture = json.loads(path.read_text())
    if capture["path"].partition("?")[0] not in ("/v1/messages", "/v1/messages/count_tokens"):
        return None
    body: Json = json.loads(capture["body_raw"])
    return {"max_tokens": 1024, **body}


REQUESTS = {path.stem: body for path in sorted(CAPTURES.glob("*.json")) if (body := captured(path)) is not None}


@pytest.mark.parametrize("name", REQUESTS)
def test_captured_requests_are_encoded_or_refused_by_name(name: str) -> None:
    try:
        sent, _ = encoded(REQUESTS[name], context(quirks=Quirks(files=True)))
    except LossyError as error:
        assert error.path in ("thread", "safeguards")
        return
    calls = {item["call_id"] for item in sent["input"] if item["type"] == "function_call"}
    outputs = {item["call_id"] for item in sent["input"] if item["type"] == "function_call_output"}
    assert outputs <= calls
    assert "x-anthropic-billing-header" not in sent.get("instructions", "")
    assert sent["store"] is False


def test_claude_codes_own_turns_keep_their_places() -> None:
    sent, losses = encoded(REQUESTS["claude-code-tool-2"])
    kinds = [item.get("role", item["type"]) for item in sent["input"]]
    assert kinds[:2] == ["user", "system"]
    assert kinds.index("function_call_output") == kinds.index("function_call") + 1
    assert all(tool["strict"] is False for tool in sent["tools"])
    assert "refused" not in losses.header()


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"container": "c"}, "container"),
        ({"safeguards": [{"type": "dangerous_tool_use"}]}, "safeguards"),
        ({"compaction": {"type": "summarize"}}, "compaction"),
        ({"fallback_credit_token": "t"}, "fallback_credit_token"),
        ({"thread": {"type": "create"}}, "thread"),
        ({"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}, "tools.0"),
        ({"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}, "tools.0"),
        ({"tools": [{"type": "advisor_20260301", "name": "advisor"}]}, "tools.0"),
        ({"tools": [{"type": "browser_toolset_20260801"}]}, "tools.0"),
        ({"tools": [{"type": "robot_20270101", "name": "robot"}]}, "tools.0"),
    ],
)
def test_what_is_refused_is_named(more: Json, named: str) -> None:
    assert refusal(asked(**more)).startswith(f"{named}: ")


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image", "source": {"type": "file", "file_id": "file_1"}}],
        [{"type": "document", "source": {"type": "file", "file_id": "file_1"}}],
        [{"type": "container_upload", "file_id": "file_1"}],
        [{"type": "hologram"}],
    ],
)
def test_content_that_is_refused_is_named(content: list[Json]) -> None:
    assert refusal(asked(content)).startswith("messages.0.content.0: ")


def test_a_thread_is_refused_so_that_sdks_send_everything() -> None:
    with pytest.raises(LossyError) as raised:
        encoded(asked(thread={"type": "create"}))
    assert raised.value.details == {"error_code": "thread_unsupported_request"}


def test_a_prefill_is_refused() -> None:
    request = asked()
    request["messages"].append({"role": "assistant", "content": "{"})
    assert refusal(request).startswith("messages.1: ")


def test_an_image_in_an_assistants_turn_is_refused() -> None:
    request = asked()
    request["messages"] += [{"role": "assistant", "content": [IMAGE]}, {"role": "user", "content": "?"}]
    assert "not supported" in refusal(request)


def test_hosts_without_files_and_urls() -> None:
    assert refusal(asked([PDF])) == "messages.0.content.0: PDF documents are not supported for this model"
    no_documents = context(quirks=Quirks(files=True), facts=Model(documents=False))
    assert refusal(asked([PDF]), no_documents).startswith("messages.0.content.0: PDF")
    no_urls = context(quirks=Quirks(image_url=False))
    assert "Images by URL" in refusal(asked([{"type": "text", "text": "a"}, IMAGE]), no_urls)
    result = asked()
    result["messages"] += [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": [IMAGE]}]},
    ]
    assert refusal(result, no_urls).startswith("messages.2.content.0.content.0: ")


# MCP


@pytest.mark.parametrize(
    ("servers", "tools", "words"),
    [
        ([{"type": "url", "name": "docs"}], [], "mcp_servers.0: A server needs a name and a url"),
        ([SERVER], [{"type": "mcp_toolset", "mcp_server_name": "other"}], "names a server that is not in mcp_servers"),
        (
            [SERVER],
            [{"type": "mcp_toolset", "mcp_server_name": "docs", "configs": {"delete": {"enabled": False}}}],
            "cannot be switched off",
        ),
    ],
)
def test_mcp_that_cannot_be_said_is_refused(servers: list[Json], tools: list[Json], words: str) -> None:
    assert words in refusal(asked(mcp_servers=servers, tools=tools))


@pytest.mark.parametrize(
    ("configuration", "toolset", "sent"),
    [
        (None, None, {}),
        (None, {}, {}),
        (None, {"configs": {"a": {"enabled": True}}}, {}),
        (None, {"default_config": {"enabled": False}, "configs": {"a": {"enabled": True}}}, {"allowed_tools": ["a"]}),
        (None, {"default_config": {"enabled": False}}, None),
        ({"enabled": False}, None, None),
        ({"allowed_tools": ["a", "b"]}, None, {"allowed_tools": ["a", "b"]}),
    ],
)
def test_mcp_servers_are_limited_to_what_is_allowed(
    configuration: Json | None, toolset: Json | None, sent: Json | None
) -> None:
    server = SERVER if configuration is None else {**SERVER, "tool_configuration": configuration}
    tools = [] if toolset is None else [{"type": "mcp_toolset", "mcp_server_name": "docs", **toolset}]
    body, _ = encoded(asked(mcp_servers=[server], tools=tools))
    plain = {"type": "mcp", "server_label": "docs", "server_url": SERVER["url"], "require_approval": "never"}
    assert body.get("tools", []) == ([] if sent is None else [{**plain, **sent}])


# Tools


def test_a_function_may_be_called_by_name_beside_others() -> None:
    body, _ = encoded(asked(tools=[TOOL, {**TOOL, "name": "g"}], tool_choice={"type": "tool", "name": "g"}))
    assert body["tool_choice"] == {"type": "function", "name": "g"}
    anyone = context(quirks=Quirks(tool_choice_named=False))
    body, losses = encoded(asked(tools=[TOOL], tool_choice={"type": "tool", "name": "f"}), anyone)
    assert body["tool_choice"] == "required"
    assert losses.header() == "approximated: tool_choice"


def test_a_choice_without_tools_is_not_sent() -> None:
    body, _ = encoded(asked(tool_choice={"type": "auto", "disable_parallel_tool_use": True}))
    assert not body.keys() & {"tools", "tool_choice", "parallel_tool_calls"}


def test_a_choice_at_the_root_of_a_tools_schema_becomes_one_object() -> None:
    one, other = ({"properties": {name: {"type": "string"}}, "required": [name]} for name in ("id", "name"))
    body, losses = encoded(asked(tools=[{"name": "find", "input_schema": {"type": "object", "oneOf": [one, other]}}]))
    assert body["tools"][0]["parameters"] == {
        "type": "object",
        "properties": {"id": {"type": "string"}, "name": {"type": "string"}},
        "required": [],
    }
    assert losses.header() == "approximated: tools.0"


def test_domains_that_are_blocked_are_named_as_lost() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "blocked_domains": ["example.com"]}
    body, losses = encoded(asked(tools=[search]))
    assert body["tools"] == [{"type": "web_search"}]
    assert "tools.0" in losses.header()


def test_structured_output_beside_tools_ends_with_a_tool_that_has_a_name_of_its_own() -> None:
    where = context(quirks=Quirks(json_schema_with_tools=False))
    request = asked(tools=[{**TOOL, "name": "structured_output"}], output_config={"format": _format()})
    body, losses = encoded(request, where)
    assert [tool["name"] for tool in body["tools"]] == ["structured_output", "structured_output_"]
    assert body["tool_choice"] == "required"
    assert where.structured_tool == "structured_output_"
    assert losses.header() == "emulated: output_config.format"


def test_structured_output_that_is_no_object_is_asked_for_in_words() -> None:
    body, losses = encoded(asked(output_config={"format": {"type": "json_schema", "schema": {"type": "array"}}}))
    assert "text" not in body and "tools" not in body
    assert body["instructions"].endswith('{"type":"array"}')
    assert losses.header() == "emulated: output_config.format"


def _format() -> Json:
    return {"type": "json_schema", "schema": SCHEMA}


def test_integers_of_any_size_go_through() -> None:
    request = asked()
    request["messages"] += [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "f", "input": {"n": 2**70}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "ok"}]},
    ]
    body, _ = encoded(request)
    assert body["input"][1]["arguments"] == f'{{"n":{2**70}}}'


def test_a_system_message_behind_answered_calls_stays_where_it_is() -> None:
    request = asked()
    request["messages"] += [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "ok"}]},
        {"role": "system", "content": "Be kind."},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "?"},
    ]
    body, _ = encoded(request)
    roles = [item.get("role", item["type"]) for item in body["input"]]
    assert roles == ["user", "function_call", "function_call_output", "system", "assistant", "user"]


def test_a_model_that_takes_no_system_turns_has_them_in_the_users() -> None:
    request = asked()
    request["messages"].append({"role": "system", "content": "S"})
    body, losses = encoded(request, context(facts=Model(system_turns=False)))
    assert [item["role"] for item in body["input"]] == ["user"]
    assert losses.header() == "approximated: messages.system"


# Breakpoints


def test_breakpoints_are_for_models_that_have_them() -> None:
    marked = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]
    quirks = Quirks(cache_breakpoints="prompt_cache_breakpoint")
    body, losses = encoded(asked(marked), context(quirks=quirks))
    assert body["input"][0]["content"] == [{"type": "input_text", "text": "a"}]
    assert losses.header() == "approximated: messages.0.content.0.cache_control"
    where = context(quirks=quirks)
    where.model = "gpt-6-astra"
    body, losses = encoded(asked(marked), where)
    assert body["input"][0]["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit"}
    assert body["prompt_cache_options"]["mode"] == "explicit"
    assert losses.header() == "none"


def test_automatic_caching_leaves_the_providers_own_breakpoint() -> None:
    where = context(quirks=Quirks(cache_breakpoints="prompt_cache_breakpoint"))
    where.model = "gpt-5.6-sol"
    marked = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]
    body, _ = encoded(asked(marked, cache_control={"type": "ephemeral"}), where)
    assert "prompt_cache_options" not in body


def test_breakpoints_on_what_the_assistant_said_are_reported() -> None:
    where = context(quirks=Quirks(cache_breakpoints="prompt_cache_breakpoint"))
    where.model = "gpt-5.6-sol"
    request = asked()
    said = {"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}
    request["messages"] += [{"role": "assistant", "content": [said]}, {"role": "user", "content": "?"}]
    _, losses = encoded(request, where)
    assert losses.header() == "approximated: cache_control"


# Counting


def test_a_count_has_the_prompt_and_nothing_else() -> None:
    request: Json = {
        "model": "gpt-5",
        "messages": [{"role": "user", "content": "Hi"}],
        "system": "Be brief.",
        "tools": [TOOL],
    }
    request |= {"thinking": {"type": "enabled", "budget_tokens": 4096}, "output_config": {"format": _format()}}
    parsed = messages.parse(json.dumps(request).encode(), counting=True)
    where = context(facts=Model(reasoning=True, efforts=("low", "high")))
    sent = CODEC.encode_count(parsed, where, Losses(CODEC.fidelity))
    assert sent.target == b"/v1/responses/input_tokens"
    assert json.loads(sent.body) == {
        "model": "gpt-5",
        "instructions": "Be brief.",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
        "tools": [{"type": "function", "name": "f", "parameters": TOOL["input_schema"], "strict": False}],
        "reasoning": {"effort": "high", "summary": "auto"},
        "text": {
            "format": {"type": "json_schema", "name": "structured_output", "schema": SCHEMA, "strict": True},
        },
    }


def test_a_budget_below_every_step_asks_for_the_least() -> None:
    request: Json = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]}
    request |= {"thinking": {"type": "enabled", "budget_tokens": -5}}
    parsed = messages.parse(json.dumps(request).encode(), counting=True)
    losses = Losses(CODEC.fidelity)
    where = context(facts=Model(efforts=("minimal", "low")))
    assert json.loads(CODEC.encode_count(parsed, where, losses).body)["reasoning"]["effort"] == "minimal"
    assert losses.header() == "approximated: thinking.budget_tokens"


def test_a_count_goes_beside_the_hosts_own_path() -> None:
    where = context(quirks=Quirks(path="/openai/v1/responses", query="api-version=preview"))
    request = messages.parse(b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}', counting=True)
    sent = CODEC.encode_count(request, where, Losses(CODEC.fidelity))
    assert sent.target == b"/openai/v1/responses/input_tokens?api-version=preview"
