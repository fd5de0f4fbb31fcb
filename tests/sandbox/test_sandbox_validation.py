"""Requests the sandbox refuses, with the texts clients know: one row per rule."""

from __future__ import annotations

import pytest

from asbru.sandbox.app import Settings
from tests.sandbox.calling import CITY, USER, Json, Sandbox, text

sandbox = Sandbox()
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
CALL: Json = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}
RESULT: Json = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "12C"}
MARK = {"type": "ephemeral"}
BETAS = ",".join(
    (
        "mcp-client-2025-11-20",
        "context-management-2025-06-27",
        "message-threads-2026-08-12",
        "structured-outputs-2025-11-13",
        "per-turn-control-2026-07-01",
    )
)


def user(*blocks: object) -> Json:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: object) -> Json:
    return {"role": "assistant", "content": list(blocks)}


def words(text: str, **more: object) -> Json:
    return {"type": "text", "text": text, **more}


def json_schema(**schema: object) -> Json:
    return {"format": {"type": "json_schema", "schema": schema}}


ROWS: list[tuple[Json, str]] = [
    # the top level
    ({"foo": 1}, "foo: Extra inputs are not permitted"),
    ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 0"),
    ({"max_tokens": "10"}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": 1.0}, "max_tokens: Input should be a valid integer"),
    ({"model": ":chunks=1"}, "model: String should have at least 1 character before the options"),
    ({"model": ""}, "model: String should have at least 1 character"),
    ({"model": 5}, "model: Input should be a valid string"),
    ({"messages": []}, "messages: List should have at least 1 item after validation"),
    ({"messages": "hi"}, "messages: Input should be a valid list"),
    ({"messages": ["hi"]}, "messages.0: Input should be an object"),
    ({"stream": 1}, "stream: Input should be a valid boolean"),
    ({"system": 1}, "system: Input should be a valid list"),
    ({"metadata": {"user": "x"}}, "metadata.user: Extra inputs are not permitted"),
    ({"metadata": {"user_id": "x" * 257}}, "metadata.user_id: String should have at most 256 characters"),
    ({"service_tier": "gold"}, "service_tier: Input should be 'auto' or 'standard_only'"),
    ({"temperature": 1.5}, "temperature: Input should be less than or equal to 1"),
    ({"stop_sequences": [""]}, "stop_sequences: each stop sequence must contain non-whitespace"),
    ({"thinking": {"type": "on"}}, "thinking: Input tag 'on' found using 'type' does not match any of the expected"),
    (
        {"thinking": {"type": "enabled", "budget_tokens": 1023}},
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    ({"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
    (
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        "`max_tokens` must be greater than `thinking.budget_tokens`.",
    ),
    (
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048, "temperature": 0.5},
        "`temperature` may only be set to 1 when thinking is enabled.",
    ),
    (
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919", "clear_tool_inputs": [1]}]}},
        "context_management.edits.0.clear_tool_uses_20250919.clear_tool_inputs.0: Input should be a valid string",
    ),
    # messages and their order
    ({"messages": [{"content": "hi"}]}, "messages.0.role: Field required"),
    ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
    ({"messages": [{"role": "tool", "content": "x"}]}, 'messages: Unexpected role "tool".'),
    ({"messages": [{"role": "user", "content": ""}]}, "messages.0: all messages must have non-empty content"),
    ({"messages": [{"role": "user", "content": []}]}, "messages.0: all messages must have non-empty content"),
    ({"messages": [assistant(words("hi"))]}, 'messages: first message must use the "user" role'),
    ({"messages": [{"role": "system", "content": "x"}]}, "messages.0: use the top-level 'system' parameter"),
    (
        {"messages": [user(words("a")), assistant(words("b")), {"role": "system", "content": "c"}]},
        "messages.2: role 'system' must follow a 'user' message or an 'assistant' message ending in a server tool",
    ),
    (
        {"messages": [user(words("a")), {"role": "system", "content": "c"}, user(words("b"))]},
        "messages.1: role 'system' must precede an 'assistant' message or end the array",
    ),
    (
        {"messages": [*USER, assistant(words("The answer "))]},
        "messages: final assistant content cannot end with trailing whitespace",
    ),
    # content blocks
    ({"messages": [user({"type": "text"})]}, "messages.0.content.0.text.text: Field required"),
    ({"messages": [user({"text": "x"})]}, "messages.0.content.0.type: Field required"),
    ({"messages": [user("x")]}, "messages.0.content.0: Input should be an object"),
    ({"messages": [user({"type": "poem"})]}, "messages.0.content.0: Input tag 'poem' found using 'type' does not"),
    ({"messages": [user(words("x", foo=1))]}, "messages.0.content.0.text.foo: Extra inputs are not permitted"),
    ({"messages": [user(words(""))]}, "messages: text content blocks must be non-empty"),
    ({"messages": [user(words(" \n"))]}, "messages: text content blocks must contain non-whitespace text"),
    ({"system": [words("")]}, "system: text content blocks must be non-empty"),
    (
        {"messages": [user(words("", cache_control=MARK))]},
        "messages.0.content.0.text: cache_control cannot be set for empty text blocks",
    ),
    (
        {"messages": [user({"type": "image", "source": {**PNG, "media_type": "image/bmp"}})]},
        "messages.0.content.0.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' "
        "or 'image/webp'",
    ),
    (
        {"messages": [user({"type": "image", "source": {**PNG, "data": "not base64!"}})]},
        "messages.0.content.0.image.source.base64.data: invalid base64 data",
    ),
    (
        {"messages": [user({"type": "image", "source": {**PNG, "data": ""}})]},
        "messages.0.content.0.image.source.base64.data: base64 data cannot be empty",
    ),
    (
        {"messages": [user({"type": "document", "source": {**PNG, "media_type": "text/html"}})]},
        "messages.0.content.0.document.source.base64.media_type: Input should be 'application/pdf'",
    ),
    ({"messages": [user(CALL)]}, "messages.0.content.0: `tool_use` blocks can only be in `assistant` messages"),
    (
        {"messages": [*USER, assistant(RESULT), *USER]},
        "messages.1.content.0: `tool_result` blocks can only be in `user` messages",
    ),
    # tool calls and their results
    (
        {"messages": [*USER, assistant({**CALL, "id": "a:b"}), user({**RESULT, "tool_use_id": "a:b"})]},
        "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
    ),
    (
        {"messages": [*USER, assistant({**CALL, "id": "a\n"})]},
        "messages.1.content.0.tool_use.id: String should match pattern",
    ),
    (
        {"messages": [*USER, assistant({**CALL, "input": "{}"}), user(RESULT)]},
        "messages.1.content.0.tool_use.input: Input should be an object",
    ),
    (
        {"messages": [*USER, assistant(CALL), *USER]},
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1. Each "
        "`tool_use` block must have a corresponding `tool_result` block in the next message.",
    ),
    (
        {"messages": [*USER, assistant(CALL)]},
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1.",
    ),
    (
        {"messages": [*USER, assistant(CALL), user(words("so"), RESULT)]},
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1.",
    ),
    (
        {"messages": [*USER, assistant(CALL, {**CALL, "id": "toolu_2"}), user(RESULT)]},
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_2.",
    ),
    (
        {"messages": [*USER, assistant(CALL), user(RESULT, RESULT)]},
        "messages.2.content.1: each tool_use must have a single result. Found multiple `tool_result` blocks with id: "
        "toolu_1",
    ),
    (
        {"messages": [user(RESULT)]},
        "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_1. Each `tool_result` "
        "block must have a corresponding `tool_use` block in the previous message.",
    ),
    (
        {"messages": [*USER, assistant(CALL), user(RESULT, {**RESULT, "tool_use_id": "toolu_9"})]},
        "messages.2.content.1: unexpected `tool_use_id` found in `tool_result` blocks: toolu_9.",
    ),
    ({"messages": [*USER, assistant(CALL, CALL), user(RESULT)]}, "messages: `tool_use` ids must be unique"),
    (
        {"messages": [*USER, assistant(CALL), user(RESULT), assistant(CALL), user(RESULT)]},
        "messages: `tool_use` ids must be unique",
    ),
    # tools
    ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
    ({"tools": [{**CITY, "name": "a b"}]}, "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"),
    ({"tools": [{"name": "f", "input_schema": {}}]}, "tools.0.custom.input_schema.type: Field required"),
    (
        {"tools": [{"name": "f", "input_schema": {"type": "string"}}]},
        "tools.0.custom.input_schema.type: Input should be 'object'",
    ),
    (
        {"tools": [{"name": "f", "input_schema": {"type": "object", "anyOf": []}}]},
        "tools.0.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level",
    ),
    ({"tools": [{"type": "function", "name": "f"}]}, "tools.0: Input tag 'function' found using 'type' does not match"),
    ({"tools": [{"type": "bash_20250124", "name": "sh"}]}, "tools.0.bash_20250124.name: Input should be 'bash'"),
    ({"tools": [CITY, CITY]}, "tools: Tool names must be unique."),
    ({"tool_choice": {"type": "auto"}}, "tool_choice may only be specified while providing `tools`."),
    ({"tools": [CITY], "tool_choice": {"type": "tool"}}, "tool_choice.tool.name: Field required"),
    (
        {"tools": [CITY], "tool_choice": {"type": "tool", "name": "g"}},
        "Tool 'g' not found in provided tools",
    ),
    (
        {"tools": [CITY], "tool_choice": {"type": "any"}, "thinking": {"type": "adaptive"}},
        "Thinking may not be enabled when tool_choice forces tool use.",
    ),
    ({"mcp_servers": [{"type": "url", "name": "x"}]}, "mcp_servers.0.url.url: Field required"),
    (
        {"mcp_servers": [{"type": "url", "name": "x", "url": "http://x"}]},
        "MCP server 'x' is defined but not referenced by any `mcp_toolset` in `tools`.",
    ),
    (
        {"tools": [{"type": "mcp_toolset", "mcp_server_name": "y"}]},
        "tools.0.mcp_toolset.mcp_server_name: MCP server 'y' is not defined in `mcp_servers`.",
    ),
    (
        {"mcp_servers": [{"type": "url", "name": "x", "url": "http://x"}] * 2},
        "mcp_servers: MCP server names must be unique.",
    ),
    # caching
    (
        {"messages": [user(*(words("x", cache_control=MARK) for _ in range(5)))]},
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    (
        {"cache_control": MARK, "messages": [user(*(words("x", cache_control=MARK) for _ in range(4)))]},
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    (
        {"cache_control": {"type": "forever"}},
        "cache_control: Input tag 'forever' found using 'type' does not match any of the expected tags: 'ephemeral'",
    ),
    ({"cache_control": {"type": "ephemeral", "ttl": "2h"}}, "cache_control.ttl: Input should be '5m' or '1h'"),
    (
        {
            "system": [words("x", cache_control=MARK)],
            "messages": [user(words("x", cache_control={**MARK, "ttl": "1h"}))],
        },
        "cache_control: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.",
    ),
    # structured output
    ({"output_config": {"effort": "huge"}}, "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh'"),
    ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema: Field required"),
    (
        {"output_config": json_schema(type="object")},
        "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
    ),
    (
        {"output_format": json_schema(type="object", additionalProperties=True)["format"]},
        "output_format.schema: For 'object' type, 'additionalProperties: true' is not supported.",
    ),
    (
        {"output_config": json_schema(type="array", items={"type": "integer", "minimum": 1, "maximum": 2})},
        "output_config.format.schema: For 'integer' type, properties maximum, minimum are not supported",
    ),
    (
        {"output_config": json_schema(type="string", pattern="a")},
        "output_config.format.schema: For 'string' type, property 'pattern' is not supported",
    ),
    (
        {"output_config": json_schema(type="string", format="phone")},
        "output_config.format.schema: For 'string' type, format 'phone' is not supported",
    ),
    (
        {"output_config": json_schema(**{"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}})},
        "output_config.format.schema: Recursive schemas are not supported: '#/$defs/a'",
    ),
    (
        {"output_config": json_schema(oneOf=[{"type": "string"}])},
        "output_config.format.schema: Schema type 'oneOf' is not supported",
    ),
    (
        {"output_config": json_schema(**{"$ref": "#/$defs/b", "$defs": {}})},
        "output_config.format.schema: Invalid $ref: '#/$defs/b'",
    ),
    (
        {"output_config": json_schema(type="string"), "messages": [*USER, assistant(words("x"))]},
        "output_config.format: structured outputs cannot be used with assistant message prefill",
    ),
    (
        {
            "output_config": json_schema(type="string"),
            "messages": [
                user(
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": "x"},
                        "citations": {"enabled": True},
                    }
                )
            ],
        },
        "output_config.format: structured outputs cannot be used with citations",
    ),
]


@pytest.mark.parametrize(("fields", "expected"), ROWS)
def test_refusals(fields: Json, expected: str) -> None:
    body = {"model": "claude-sandbox", "max_tokens": 1024, "messages": USER, **fields}
    asked = sandbox.ask("POST", "/v1/messages", body, betas=BETAS)
    assert asked.status == 400, asked.response
    error = asked.error()
    assert error["type"] == "invalid_request_error"
    assert str(error["message"]).startswith(expected)


@pytest.mark.parametrize("field", ["model", "max_tokens", "messages"])
def test_required_fields(field: str) -> None:
    body: Json = {"model": "claude-sandbox", "max_tokens": 1024, "messages": USER}
    del body[field]
    asked = sandbox.ask("POST", "/v1/messages", body)
    assert asked.error()["message"] == f"{field}: Field required"


BETA_FIELDS: Json = {
    "mcp_servers": [],
    "context_management": {"edits": []},
    "thread": {"type": "create"},
    "fallbacks": "default",
    "fallback_credit_token": "x",
    "safeguards": [],
    "billing_policy": {"type": "billing_policy"},
    "output_format": None,
}


@pytest.mark.parametrize("field", [name for name, value in BETA_FIELDS.items() if value is not None])
def test_fields_of_betas_exist_only_with_the_beta(field: str) -> None:
    body = {"model": "claude-sandbox", "max_tokens": 1024, "messages": USER, field: BETA_FIELDS[field]}
    assert sandbox.ask("POST", "/v1/messages", body).error()["message"] == f"{field}: Extra inputs are not permitted"
    betas = {
        "fallbacks": "server-side-fallback-2026-07-01",
        "fallback_credit_token": "fallback-credit-2026-07-01",
        "safeguards": "dangerous-tool-use-2026-09-03",
        "billing_policy": "user-profiles-billing-2026-10-01",
    }
    assert sandbox.ask("POST", "/v1/messages", body, betas=betas.get(field, BETAS)).status == 200


def test_tools_and_system_fields_of_betas_exist_only_with_the_beta() -> None:
    computer = {"type": "computer_20250124", "name": "computer", "display_width_px": 1, "display_height_px": 1}
    assert sandbox.refusal(tools=[computer]).startswith("tools.0: Input tag 'computer_20250124' found using 'type'")
    directive = {"role": "system", "content": [], "output_config": {"effort": "low"}}
    words = "messages.1.output_config: Extra inputs are not permitted"
    assert sandbox.refusal(messages=[*USER, directive]) == words
    assert sandbox.answer(messages=[*USER, directive], betas="per-turn-control-2026-07-01")["type"] == "message"


def test_a_directive_may_stand_anywhere_and_needs_no_content() -> None:
    directive = {"role": "system", "output_config": {"effort": "low"}}
    messages = [directive, *USER, directive, assistant(words("x")), directive, *USER, directive]
    assert sandbox.answer(messages=messages, betas="per-turn-control-2026-07-01")["type"] == "message"


def test_system_messages_are_taken_where_they_may_stand() -> None:
    system = {"role": "system", "content": "Be brief."}
    for messages in ([*USER, system], [*USER, system, assistant(words("x")), *USER], [*USER, *USER, system]):
        assert sandbox.answer(messages=messages, model="claude-opus-5")["type"] == "message"


def test_neighbours_with_the_same_role_are_one_turn() -> None:
    other = {**CALL, "id": "toolu_2"}
    messages = [
        *USER,
        *USER,
        assistant(CALL),
        assistant(other),
        user(RESULT),
        user({**RESULT, "tool_use_id": "toolu_2"}),
    ]
    assert sandbox.answer(messages=messages, tools=[CITY])["stop_reason"] == "end_turn"


def test_a_turn_paused_at_a_server_tool_can_go_on() -> None:
    use = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    assert sandbox.answer(messages=[*USER, assistant(use)], tools=tools, model="claude-opus-5")["type"] == "message"


@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        ("claude-opus-5-5", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, '"thinking.type.enabled" is not'),
        ("claude-opus-5-5", {"thinking": {"type": "disabled"}}, '"thinking.type.disabled" is not supported for this'),
        ("claude-haiku-4-5", {"thinking": {"type": "adaptive"}}, "adaptive thinking is not supported on this model"),
        ("claude-haiku-4-5-20251001", {"thinking": {"type": "adaptive"}}, "adaptive thinking is not supported"),
        (
            "claude-opus-5",
            {"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}},
            '"thinking.type.disabled" is not supported with effort "max"',
        ),
        ("claude-opus-4-8", {"temperature": 1}, "`temperature` is deprecated for this model."),
        ("claude-sonnet-5-5", {"top_p": 0.5}, "`top_p` is deprecated for this model."),
        ("claude-sonnet-4-6", {"max_tokens": 128_001}, "max_tokens: 128001 > 128000, which is the maximum allowed"),
        ("claude-haiku-4-5", {"output_config": {"effort": "low"}}, "This model does not support the effort parameter."),
        (
            "claude-opus-5-5",
            {"tools": [CITY], "tool_choice": {"type": "any"}},
            'tool_choice: type "tool" and "any" are not supported for this model.',
        ),
        (
            "claude-sonnet-4-6",
            {"messages": [*USER, {"role": "assistant", "content": "The"}]},
            "This model does not support assistant message prefill. The conversation must end with a user message.",
        ),
        (
            "claude-sonnet-5",
            {"messages": [*USER, {"role": "system", "content": "x"}]},
            "role 'system' is not supported on this model",
        ),
        (
            "claude-haiku-4-5",
            {"messages": [{"role": "user", "content": "x" * 900_000}]},
            "prompt is too long: 225003 tokens > 200000 maximum",
        ),
    ],
)
def test_models_have_their_own_rules(model: str, fields: Json, expected: str) -> None:
    body = {"model": model, "max_tokens": 2048, "messages": USER, **fields}
    assert str(sandbox.ask("POST", "/v1/messages", body).error()["message"]).startswith(expected)
    # Names the sandbox does not know have no rules of their own.
    if "x" * 900_000 not in str(fields):
        body = {**body, "model": "other", "max_tokens": 2048}
        assert sandbox.ask("POST", "/v1/messages", body).status == 200


def test_what_the_models_do_take() -> None:
    assert sandbox.answer(model="claude-sonnet-5-5", temperature=1, top_p=1)["type"] == "message"
    assert sandbox.answer(model="claude-sonnet-4-6", temperature=0.2)["type"] == "message"
    prefilled = [*USER, {"role": "assistant", "content": "The"}]
    assert sandbox.answer(model="claude-sonnet-4-5", messages=prefilled)["type"] == "message"


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k"])
def test_the_new_version_takes_no_sampling(field: str) -> None:
    words = f"{field}: Extra inputs are not permitted"
    assert sandbox.message(version="2026-10-21", temperature=1, top_p=1, top_k=1).status == 400
    body = {"model": "claude-sandbox", "max_tokens": 9, "messages": USER, field: 1}
    assert sandbox.ask("POST", "/v1/messages", body, version="2026-10-21").error()["message"] == words
    assert sandbox.ask("POST", "/v1/messages", body, version="2023-06-01").status == 200


def test_the_new_version_takes_documents_and_citations_only_where_they_belong() -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
    citation = {
        "type": "char_location",
        "cited_text": "x",
        "document_index": 0,
        "document_title": None,
        "start_char_index": 0,
        "end_char_index": 1,
    }
    for messages, expected in (
        ([*USER, assistant(document), *USER], "messages.1.content.0: `document` blocks can only be in `user` messages"),
        ([user(words("x", citations=[citation]))], "messages.0.content.0.text.citations: `citations` can only be in"),
    ):
        assert sandbox.refusal(messages=messages, version="2026-10-21").startswith(expected)
        assert sandbox.answer(messages=messages)["type"] == "message"


def test_headers_are_checked_before_the_body() -> None:
    def ask(headers: dict[str, str]) -> tuple[int, object]:
        asked = sandbox.ask("POST", "/v1/messages", b"{", headers=headers)
        return asked.status, asked.error()["message"]

    assert ask({"x-api-key": ""}) == (401, "x-api-key header is required")
    assert ask({"x-api-key": "sk-invalid-2"}) == (401, "invalid x-api-key")
    assert ask({"x-api-key": "", "authorization": "Bearer sk-invalid"}) == (401, "Invalid bearer token")
    assert ask({"x-api-key": "", "authorization": "Basic eA=="}) == (401, "x-api-key header is required")
    assert ask({"anthropic-version": ""}) == (400, "anthropic-version: header is required")
    assert ask({"anthropic-version": "2099-01-01"}) == (400, 'anthropic-version: "2099-01-01" is not a valid version.')
    assert ask({"anthropic-beta": "fine-2026-01-01, unsupported-x"}) == (
        400,
        "Unexpected value(s) `unsupported-x` for the `anthropic-beta` header.",
    )
    assert ask({"x-api-key": "sk-error-529-a"})[0] == 529
    assert ask({"x-api-key": "sk-error-429"})[0] == 429
    status, message = ask({"x-api-key": "", "authorization": "bearer good"})
    assert status == 400
    assert str(message).startswith("The request body is not valid JSON: ")


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"x"', b"\xff\xfe", b"{" * 100_000, b"[" * 100_000])
def test_bodies_that_are_not_objects_are_refused(body: bytes) -> None:
    for path in ("/v1/messages", "/v1/messages/count_tokens", "/v1/messages/batches", "/v1/complete"):
        asked = sandbox.ask("POST", path, body)
        assert asked.status == 400, (path, asked.response)
        assert asked.error()["type"] == "invalid_request_error"


def test_schemas_nested_beyond_reason_are_refused_or_answered_but_never_crash() -> None:
    schema: Json = {"type": "string"}
    for _ in range(150):
        schema = {"type": "array", "items": schema}
    assert sandbox.message(output_config={"format": {"type": "json_schema", "schema": schema}}).status in (200, 400)
    tool = {"name": "f", "input_schema": {"type": "object", "properties": {"a": schema}, "required": ["a"]}}
    assert sandbox.message(tools=[tool]).status == 200


def test_a_definition_may_be_used_often() -> None:
    city = {"$ref": "#/$defs/city"}
    schema = {
        "type": "object",
        "properties": {"from": city, "to": city},
        "required": ["from", "to"],
        "additionalProperties": False,
        "$defs": {"city": {"type": "string"}},
    }
    message = sandbox.answer(output_config={"format": {"type": "json_schema", "schema": schema}})
    assert text(message) == '{"from":"sandbox from","to":"sandbox to"}'


def test_there_may_be_only_so_many_messages() -> None:
    assert "at most 100000 items" in sandbox.refusal(messages=USER * 100_001)


def test_a_body_that_is_too_large_gets_the_apis_error() -> None:
    small = Sandbox(Settings(max_body_bytes=10))
    asked = small.message()
    assert asked.status == 413
    assert asked.error()["type"] == "request_too_large"


def test_unknown_paths_and_methods() -> None:
    asked = sandbox.ask("GET", "/v1/nothing")
    assert (asked.status, asked.error()["type"]) == (404, "not_found_error")
    assert sandbox.ask("POST", "/v1/messages/poem", {}).status == 404
    asked = sandbox.ask("GET", "/v1/messages")
    assert (asked.status, asked.response_headers["allow"]) == (405, "POST")
    assert sandbox.ask("PUT", "/v1/models/x").status == 405


def test_hello_needs_no_key() -> None:
    for path in ("/", "/api/hello"):
        asked = sandbox.ask("HEAD", path, headers={"x-api-key": "", "anthropic-version": ""})
        assert asked.status == 200
        assert asked.response_headers["request-id"].startswith("req_01")
