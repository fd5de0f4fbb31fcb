"""The request bodies, field by field, and which of their fields need a beta header.

The continuation of `request_shapes`, which has the content blocks; here are the tools and the top level.
"""

from __future__ import annotations

from asbru.sandbox.request_shapes import (
    BLOCKS,
    CACHE,
    CACHED,
    CALLERS,
    CITATIONS,
    COUNT,
    EFFORT,
    MCP_TOOL,
    OBJECT,
    POSITIVE,
    STRING,
    STRINGS,
    SYSTEM_BLOCKS,
    TOOL_NAME,
)
from asbru.sandbox.shape import (
    Fields,
    Path,
    Shape,
    anything,
    either,
    flag,
    many,
    maybe,
    number,
    one_of,
    record,
    table,
    tagged,
    text,
    wrong,
)

# Tools. Every row: the fields besides `type` and those that all tools share.
_SHARED: Fields = {"allowed_callers": CALLERS, "defer_loading": flag, "strict": flag, **CACHED}
_CLIENT: Fields = {**_SHARED, "input_examples": many(OBJECT)}
_DOMAINS: Fields = {"allowed_domains": maybe(STRINGS), "blocked_domains": maybe(STRINGS), "max_uses": maybe(POSITIVE)}
_SEARCH: Fields = {
    **_SHARED,
    **_DOMAINS,
    "user_location": maybe(
        tagged({"approximate": record({}, {name: maybe(STRING) for name in ("city", "country", "region", "timezone")})})
    ),
}
_FETCH: Fields = {
    **_SHARED,
    **_DOMAINS,
    "citations": CITATIONS,
    "max_content_tokens": maybe(POSITIVE),
    "url_sources": maybe(OBJECT),
}
_INCLUSION: Fields = {"response_inclusion": one_of("full", "excluded")}
_DISPLAY: Fields = {"display_height_px": POSITIVE, "display_width_px": POSITIVE}
_LOADING = record({}, {"defer_loading": maybe(flag), "enabled": maybe(flag)})
_TOOLSET = record({}, {"configs": maybe(table(maybe(_LOADING))), **CACHED})


def named(name: str, optional: Fields, required: Fields | None = None) -> Shape:
    """A tool whose type fixes its name."""
    return record({"name": one_of(name), **(required or {})}, optional)


def input_schema(value: object, path: Path) -> None:
    OBJECT(value, path)
    assert isinstance(value, dict)
    if "type" not in value:
        wrong((*path, "type"), "Field required")
    if value["type"] != "object":
        wrong((*path, "type"), "Input should be 'object'")
    if any(key in value for key in ("oneOf", "allOf", "anyOf")):
        wrong(path, "input_schema does not support oneOf, allOf, or anyOf at the top level")


TOOLS: dict[str, Shape] = {
    "custom": record(
        {"name": TOOL_NAME, "input_schema": input_schema},
        {**_CLIENT, "description": maybe(STRING), "eager_input_streaming": maybe(flag)},
    ),
    **{f"bash_{date}": named("bash", _CLIENT) for date in ("20241022", "20250124")},
    **{f"text_editor_{date}": named("str_replace_editor", _CLIENT) for date in ("20241022", "20250124")},
    "text_editor_20250429": named("str_replace_based_edit_tool", _CLIENT),
    "text_editor_20250728": named("str_replace_based_edit_tool", {**_CLIENT, "max_characters": maybe(POSITIVE)}),
    "memory_20250818": named("memory", _CLIENT),
    **{
        f"computer_{date}": named("computer", {**_CLIENT, "display_number": maybe(COUNT)}, _DISPLAY)
        for date in ("20241022", "20250124")
    },
    "computer_20251124": named("computer", {**_CLIENT, "display_number": maybe(COUNT), "enable_zoom": flag}, _DISPLAY),
    "computer_toolset_20260801": _TOOLSET,
    "browser_toolset_20260801": _TOOLSET,
    **{f"web_search_{date}": named("web_search", _SEARCH) for date in ("20250305", "20260209")},
    "web_search_20260318": named("web_search", {**_SEARCH, **_INCLUSION}),
    **{f"web_fetch_{date}": named("web_fetch", _FETCH) for date in ("20250910", "20260209")},
    "web_fetch_20260309": named("web_fetch", {**_FETCH, "use_cache": flag}),
    "web_fetch_20260318": named("web_fetch", {**_FETCH, "use_cache": flag, **_INCLUSION}),
    **{
        f"code_execution_{date}": named("code_execution", _SHARED)
        for date in ("20250522", "20250825", "20260120", "20260521")
    },
    **{
        f"tool_search_tool_{kind}{date}": named(f"tool_search_tool_{kind}", _SHARED)
        for kind in ("regex", "bm25")
        for date in ("", "_20251119")
    },
    "advisor_20260301": named(
        "advisor",
        {**_SHARED, "caching": CACHE, "max_tokens": maybe(POSITIVE), "max_uses": maybe(POSITIVE)},
        {"model": STRING},
    ),
    "mcp_toolset": record(
        {"mcp_server_name": STRING},
        {
            "configs": maybe(table(_LOADING)),
            "default_config": maybe(_LOADING),
            "tools": maybe(many(MCP_TOOL)),
            **CACHED,
        },
    ),
}

# Messages.
_TOOL = tagged(TOOLS, default="custom")
_CHANGES: Fields = {
    "tool_reference": record({"name": STRING}),
    "mcp_tool_reference": record({"server_name": STRING, "name": STRING}),
    "mcp_toolset_reference": record({"server_name": STRING}),
}
SYSTEM_CONTENT = tagged(
    {
        **SYSTEM_BLOCKS,
        "tool_addition": record(
            {"tool": tagged({**_CHANGES, "tool_definition": record({"definition": _TOOL})})}, CACHED
        ),
        "tool_removal": record({"tool": tagged(_CHANGES)}, CACHED),
    }
)
_SPOKEN = record({"role": STRING, "content": either(STRING, many(tagged(BLOCKS)))})
_SYSTEM_MESSAGE = record(
    {"role": STRING},
    {
        "content": either(STRING, many(SYSTEM_CONTENT)),
        "clear_at": maybe(one_of("next_user_message", "never")),
        "output_config": maybe(record({}, {"effort": maybe(EFFORT)})),
    },
)


def message(value: object, path: Path) -> None:
    if isinstance(value, dict) and "role" in value and value["role"] not in ("user", "assistant", "system"):
        wrong(("messages",), f'Unexpected role "{value["role"]}". Allowed roles are "user", "assistant" and "system".')
    is_system = isinstance(value, dict) and value.get("role") == "system"
    (_SYSTEM_MESSAGE if is_system else _SPOKEN)(value, path)


# The top level.
_BINDING: Fields = {
    "block_binding": maybe(record({}, {"prefix_mismatch_behavior": maybe(one_of("error", "drop_block"))})),
    "display": maybe(one_of("summarized", "omitted", "updates")),
}
THINKING = maybe(
    tagged(
        {
            "enabled": record({"budget_tokens": number(whole=True, least=1024)}, _BINDING),
            "adaptive": record({}, _BINDING),
            "disabled": record({}),
            "between_tools": record({}),
        }
    )
)
_PARALLEL: Fields = {"disable_parallel_tool_use": flag}
TOOL_CHOICE = maybe(
    tagged(
        {
            "auto": record({}, _PARALLEL),
            "any": record({}, _PARALLEL),
            "tool": record({"name": STRING}, _PARALLEL),
            "none": record({}),
        }
    )
)
JSON_FORMAT = maybe(tagged({"json_schema": record({"schema": OBJECT})}, quiet=True))
OUTPUT_CONFIG = maybe(
    record(
        {},
        {
            "effort": maybe(EFFORT),
            "format": JSON_FORMAT,
            "task_budget": maybe(tagged({"tokens": record({"total": POSITIVE}, {"remaining": maybe(COUNT)})})),
        },
    )
)


def amount(*kinds: str) -> Shape:
    return maybe(tagged({kind: record({"value": COUNT}) for kind in kinds}))


def clear_tool_inputs(value: object, path: Path) -> None:
    if not isinstance(value, bool):
        STRINGS(value, path)


CONTEXT_MANAGEMENT = maybe(
    record(
        {},
        {
            "edits": many(
                tagged(
                    {
                        "clear_tool_uses_20250919": record(
                            {},
                            {
                                "trigger": amount("input_tokens", "tool_uses"),
                                "keep": amount("tool_uses"),
                                "clear_at_least": amount("input_tokens"),
                                "clear_tool_inputs": maybe(clear_tool_inputs),
                                "exclude_tools": maybe(STRINGS),
                            },
                        ),
                        "clear_thinking_20251015": record(
                            {},
                            {
                                "keep": either(
                                    one_of("all"),
                                    tagged({"thinking_turns": record({"value": POSITIVE}), "all": record({})}),
                                )
                            },
                        ),
                        "compact_20260112": record(
                            {},
                            {
                                "instructions": maybe(STRING),
                                "pause_after_compaction": flag,
                                "trigger": maybe(
                                    tagged({"input_tokens": record({"value": number(whole=True, least=50_000)})})
                                ),
                            },
                        ),
                    }
                )
            )
        },
    )
)
_CONTAINER = either(
    STRING,
    record(
        {},
        {
            "id": maybe(STRING),
            "skills": maybe(
                many(
                    tagged(
                        {kind: record({"skill_id": STRING}, {"version": STRING}) for kind in ("anthropic", "custom")}
                    )
                )
            ),
        },
    ),
)
MCP_SERVER = tagged(
    {
        "url": record(
            {"name": STRING, "url": STRING},
            {
                "authorization_token": maybe(STRING),
                "tool_configuration": maybe(record({}, {"allowed_tools": maybe(STRINGS), "enabled": maybe(flag)})),
            },
        )
    }
)
_FALLBACK = record(
    {"model": STRING},
    {
        "max_tokens": maybe(POSITIVE),
        "output_config": OUTPUT_CONFIG,
        "speed": maybe(one_of("standard", "fast")),
        "thinking": THINKING,
    },
)

_REQUIRED: Fields = {"model": text(least=1, most=256), "messages": many(message, least=1, most=100_000)}
_SYSTEM = either(STRING, many(tagged(SYSTEM_BLOCKS)))
_COUNTED: Fields = {
    "system": _SYSTEM,
    "tools": many(_TOOL),
    "tool_choice": TOOL_CHOICE,
    "thinking": THINKING,
    "output_config": OUTPUT_CONFIG,
    "output_format": JSON_FORMAT,
    "cache_control": CACHE,
    "speed": maybe(one_of("standard", "fast")),
    "context_management": CONTEXT_MANAGEMENT,
    "mcp_servers": many(MCP_SERVER),
    "billing_policy": maybe(tagged({"billing_policy": record({}, {"bill_to": one_of("self", "user_profile")})})),
}
_OPTIONAL: Fields = {
    **_COUNTED,
    "stream": flag,
    "container": maybe(_CONTAINER),
    "diagnostics": maybe(record({"previous_message_id": maybe(STRING)})),
    "inference_geo": maybe(STRING),
    "metadata": record({}, {"user_id": maybe(text(most=256))}),
    "service_tier": one_of("auto", "standard_only"),
    "stop_sequences": STRINGS,
    "temperature": number(least=0, most=1),
    "top_p": number(least=0, most=1),
    "top_k": COUNT,
    "fallbacks": maybe(either(one_of("default"), many(_FALLBACK))),
    "fallback_credit_token": maybe(
        either(STRING, record({"token": STRING}, {"mode": one_of("strict", "best_effort")}))
    ),
    "thread": maybe(tagged({"create": record({}), "continue": record({"previous_message_id": STRING})})),
    "safeguards": many(tagged({"dangerous_tool_use": record({}, open=True)})),
    "tags": table(anything),
}

MESSAGE_FIELDS: Fields = {**_REQUIRED, "max_tokens": COUNT, **_OPTIONAL}
MESSAGE = record({**_REQUIRED, "max_tokens": COUNT}, _OPTIONAL)
COUNT_TOKENS = record(_REQUIRED, _COUNTED)
BATCH = record({"requests": many(OBJECT, least=1, most=100_000)})
BATCH_REQUEST = record({"custom_id": text(pattern="^[a-zA-Z0-9_-]{1,64}$"), "params": OBJECT})
COMPLETION = record(
    {"model": text(least=1, most=256), "prompt": text(least=1), "max_tokens_to_sample": POSITIVE},
    {
        "metadata": record({}, {"user_id": maybe(text(most=256))}),
        "stop_sequences": STRINGS,
        "stream": flag,
        "temperature": number(least=0, most=1),
        "top_p": number(least=0, most=1),
        "top_k": COUNT,
    },
)

BETAS: dict[str, tuple[str, ...]] = {
    "mcp_servers": ("mcp-client-",),
    "context_management": ("context-management-", "compact-"),
    "fallbacks": ("server-side-fallback-",),
    "fallback_credit_token": ("fallback-credit-",),
    "thread": ("message-threads-",),
    "billing_policy": ("user-profiles-billing-",),
    "safeguards": ("dangerous-tool-use-",),
    "output_format": ("structured-outputs-",),
}
"""Top-level fields that exist only for who sends a beta that begins so; without it they are not permitted."""
