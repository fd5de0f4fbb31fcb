"""What requests look like: the tables of every field, block, tool and beta, as data.

From the official SDK's request types (2.11.0) and the Messages API's published description; `tests/sandbox` compares
the tables with the SDK's own types field by field. Rules that need more than one value at a time are in `validate`.
"""

from __future__ import annotations

import base64
import binascii

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

STRING = text()
COUNT = number(whole=True, least=0)
POSITIVE = number(whole=True, least=1)
STRINGS = many(STRING)
OBJECT = table(anything)
TOOL_ID = text(pattern="^[a-zA-Z0-9_-]+$")
TOOL_NAME = text(pattern="^[a-zA-Z0-9_-]{1,128}$", least=1)
EFFORT = one_of("low", "medium", "high", "xhigh", "max")
CALLERS = many(one_of("direct", "code_execution_20250825", "code_execution_20260120", "code_execution_20260521"))


def base64_data(value: object, path: Path) -> None:
    STRING(value, path)
    assert isinstance(value, str)
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        wrong(path, "invalid base64 data")
    if not decoded:
        wrong(path, "base64 data cannot be empty")


CACHE = maybe(tagged({"ephemeral": record({}, {"ttl": one_of("5m", "1h")})}, quiet=True))
CACHED: Fields = {"cache_control": CACHE}
CITATIONS = maybe(record({}, {"enabled": flag}))

# Citations on text blocks that come back from an earlier answer.
_CITED: Fields = {"cited_text": STRING}
_OF_DOCUMENT: Fields = {**_CITED, "document_index": COUNT, "document_title": maybe(STRING)}
_OF_FILE: Fields = {"file_id": maybe(STRING)}
CITATION = tagged(
    {
        "char_location": record({**_OF_DOCUMENT, "start_char_index": COUNT, "end_char_index": COUNT}, _OF_FILE),
        "page_location": record({**_OF_DOCUMENT, "start_page_number": POSITIVE, "end_page_number": POSITIVE}, _OF_FILE),
        "content_block_location": record(
            {**_OF_DOCUMENT, "start_block_index": COUNT, "end_block_index": COUNT}, _OF_FILE
        ),
        "web_search_result_location": record(
            {**_CITED, "encrypted_index": STRING, "title": maybe(STRING), "url": STRING}
        ),
        "search_result_location": record(
            {
                **_CITED,
                "search_result_index": COUNT,
                "source": STRING,
                "title": maybe(STRING),
                "start_block_index": COUNT,
                "end_block_index": COUNT,
            }
        ),
    }
)

# Content blocks.
TEXT = record({"text": STRING}, {"citations": maybe(many(CITATION)), **CACHED})
IMAGE_SOURCE = tagged(
    {
        "base64": record(
            {"media_type": one_of("image/jpeg", "image/png", "image/gif", "image/webp"), "data": base64_data}
        ),
        "url": record({"url": STRING}),
        "file": record({"file_id": STRING}),
    }
)
IMAGE = record(
    {"source": IMAGE_SOURCE},
    {"transformations": maybe(record({}, {"oversized_image": one_of("downsize", "error")})), **CACHED},
)
DOCUMENT_SOURCE = tagged(
    {
        "base64": record({"media_type": one_of("application/pdf"), "data": base64_data}),
        "text": record({"media_type": one_of("text/plain"), "data": STRING}),
        "content": record({"content": either(STRING, many(tagged({"text": TEXT, "image": IMAGE})))}),
        "url": record({"url": STRING}),
        "file": record({"file_id": STRING}),
    }
)
DOCUMENT = record(
    {"source": DOCUMENT_SOURCE}, {"title": maybe(STRING), "context": maybe(STRING), "citations": CITATIONS, **CACHED}
)
SEARCH_RESULT = record(
    {"source": STRING, "title": STRING, "content": many(tagged({"text": TEXT}))}, {"citations": CITATIONS, **CACHED}
)
TOOL_REFERENCE = record({"tool_name": STRING}, CACHED)
BROWSER_STATE = record(
    {"tabs": many(record({"tab_id": STRING, "title": STRING, "url": STRING}, {"active": flag}))},
    {"state_changes": maybe(many(OBJECT)), **CACHED},
)
RESULT_CONTENT = tagged(
    {
        "text": TEXT,
        "image": IMAGE,
        "search_result": SEARCH_RESULT,
        "document": DOCUMENT,
        "tool_reference": TOOL_REFERENCE,
        "browser_state": BROWSER_STATE,
    }
)
CALLER = maybe(
    tagged(
        {
            "direct": record({}),
            "code_execution_20250825": record({"tool_id": STRING}),
            "code_execution_20260120": record({"tool_id": STRING}),
        }
    )
)
SERVER_TOOLS = (
    "web_search",
    "web_fetch",
    "code_execution",
    "bash_code_execution",
    "text_editor_code_execution",
    "tool_search_tool_regex",
    "tool_search_tool_bm25",
    "advisor",
)


def error_of(name: str, *codes: str) -> dict[str, Shape]:
    """The error variant of a server tool's result."""
    return {
        f"{name}_tool_result_error": record({"error_code": one_of(*codes)}, {"error_message": maybe(STRING)}),
    }


_RUN_ERRORS = ("invalid_tool_input", "unavailable", "too_many_requests", "execution_time_exceeded")
_SEARCH_ERRORS = (
    "invalid_tool_input",
    "unavailable",
    "max_uses_exceeded",
    "too_many_requests",
    "query_too_long",
    "request_too_large",
)
_FETCH_ERRORS = (
    "invalid_tool_input",
    "url_too_long",
    "url_not_allowed",
    "url_not_in_prior_context",
    "url_not_accessible",
    "unsupported_content_type",
    "too_many_requests",
    "max_uses_exceeded",
    "unavailable",
    "content_too_large",
)
_ADVISOR_ERRORS = (
    "max_uses_exceeded",
    "prompt_too_long",
    "too_many_requests",
    "overloaded",
    "unavailable",
    "execution_time_exceeded",
    "model_not_found",
)
_RUN: Fields = {"return_code": number(whole=True), "stderr": STRING}
_SEARCH_RESULTS = many(
    tagged(
        {
            "web_search_result": record(
                {"encrypted_content": STRING, "title": STRING, "url": STRING}, {"page_age": maybe(STRING)}
            )
        }
    )
)
_OUTPUTS = many(tagged({"code_execution_output": record({"file_id": STRING})}))
_BASH_OUTPUTS = many(tagged({"bash_code_execution_output": record({"file_id": STRING})}))
_LINES = maybe(number(whole=True))


def search_content(value: object, path: Path) -> None:
    """A list of results, or one error."""
    (_SEARCH_RESULTS if isinstance(value, list) else tagged(error_of("web_search", *_SEARCH_ERRORS)))(value, path)


SERVER_RESULTS: dict[str, Shape] = {
    "web_search": search_content,
    "web_fetch": tagged(
        {
            "web_fetch_result": record(
                {"url": STRING, "content": tagged({"document": DOCUMENT})}, {"retrieved_at": maybe(STRING)}
            ),
            **error_of("web_fetch", *_FETCH_ERRORS),
        }
    ),
    "code_execution": tagged(
        {
            "code_execution_result": record({**_RUN, "stdout": STRING, "content": _OUTPUTS}),
            "encrypted_code_execution_result": record({**_RUN, "encrypted_stdout": STRING, "content": _OUTPUTS}),
            **error_of("code_execution", *_RUN_ERRORS),
        }
    ),
    "bash_code_execution": tagged(
        {
            "bash_code_execution_result": record({**_RUN, "stdout": STRING, "content": _BASH_OUTPUTS}),
            **error_of("bash_code_execution", *_RUN_ERRORS, "output_file_too_large"),
        }
    ),
    "text_editor_code_execution": tagged(
        {
            "text_editor_code_execution_view_result": record(
                {"content": STRING, "file_type": one_of("text", "image", "pdf")},
                {"num_lines": _LINES, "start_line": _LINES, "total_lines": _LINES},
            ),
            "text_editor_code_execution_create_result": record({"is_file_update": flag}),
            "text_editor_code_execution_str_replace_result": record(
                {},
                {
                    "lines": maybe(STRINGS),
                    "new_lines": _LINES,
                    "new_start": _LINES,
                    "old_lines": _LINES,
                    "old_start": _LINES,
                },
            ),
            **error_of("text_editor_code_execution", *_RUN_ERRORS, "file_not_found"),
        }
    ),
    "tool_search": tagged(
        {
            "tool_search_tool_search_result": record(
                {"tool_references": many(tagged({"tool_reference": TOOL_REFERENCE}))}
            ),
            **error_of("tool_search", *_RUN_ERRORS),
        }
    ),
    "advisor": tagged(
        {
            "advisor_result": record({"text": STRING}, {"stop_reason": maybe(STRING)}),
            "advisor_redacted_result": record({"encrypted_content": STRING}, {"stop_reason": maybe(STRING)}),
            **error_of("advisor", *_ADVISOR_ERRORS),
        }
    ),
}
MCP_TOOL = record({"name": STRING, "input_schema": OBJECT}, {"description": maybe(STRING)})
FALLBACK_MODEL = record({"model": STRING})

SYSTEM_BLOCKS: dict[str, Shape] = {"text": TEXT}
BLOCKS: dict[str, Shape] = {
    "text": TEXT,
    "image": IMAGE,
    "document": DOCUMENT,
    "search_result": SEARCH_RESULT,
    "thinking": record({"thinking": STRING, "signature": STRING}),
    "redacted_thinking": record({"data": STRING}),
    "tool_use": record(
        {"id": TOOL_ID, "name": text(least=1, most=200), "input": OBJECT},
        {"caller": CALLER, "toolset_name": maybe(STRING), **CACHED},
    ),
    "tool_result": record(
        {"tool_use_id": TOOL_ID},
        {
            "content": maybe(either(STRING, many(RESULT_CONTENT))),
            "is_error": maybe(flag),
            "toolset_name": maybe(STRING),
            **CACHED,
        },
    ),
    "server_tool_use": record(
        {"id": text(pattern="^srvtoolu_[a-zA-Z0-9_]+$"), "name": one_of(*SERVER_TOOLS), "input": OBJECT},
        {"caller": CALLER, **CACHED},
    ),
    **{
        f"{name}_tool_result": record({"tool_use_id": TOOL_ID, "content": content}, {"caller": CALLER, **CACHED})
        for name, content in SERVER_RESULTS.items()
    },
    "container_upload": record({"file_id": STRING}, CACHED),
    "mcp_tool_use": record({"id": TOOL_ID, "name": STRING, "server_name": STRING, "input": OBJECT}, CACHED),
    "mcp_tool_result": record(
        {"tool_use_id": TOOL_ID},
        {"content": either(STRING, many(tagged({"text": TEXT}))), "is_error": flag, **CACHED},
    ),
    "mcp_tool_listing": record({"mcp_server_name": STRING, "tools": many(MCP_TOOL)}, CACHED),
    "compaction": record(
        {},
        {
            "content": maybe(STRING),
            "encrypted_content": maybe(STRING),
            "signature": maybe(STRING),
            "tool_changes": maybe(many(OBJECT)),
            **CACHED,
        },
    ),
    "fallback": record({"from": FALLBACK_MODEL, "to": FALLBACK_MODEL}, {"trigger": anything}),
}
