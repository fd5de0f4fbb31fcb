"""A request of the Responses API, field by field: what the types of OpenAI's Python SDK (``openai`` 3.52) say of it.

Of the tools that OpenAI runs itself there are web search and MCP, and of the input's items those that belong to what
the sandbox says; the others (files, computer, shell, images, code, custom tools) are left out.
"""

from __future__ import annotations

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
from asbru.sandbox.speeches.openai_chat_fields import (
    BREAKPOINT,
    EFFORT,
    LEVEL,
    METADATA,
    NAME,
    OBJECT,
    PROMPT_CACHE,
    STRING,
    TIER,
    choices,
)

CALL_ID = text(least=1, most=64)
STATUS: Fields = {"status": maybe(one_of("in_progress", "completed", "incomplete"))}
STRINGS = many(STRING)

# Input

_INPUT_TEXT = record({"text": STRING}, BREAKPOINT)
_INPUT_IMAGE = record(
    {},
    {
        **BREAKPOINT,
        "detail": maybe(one_of("auto", "low", "high", "original")),
        "image_url": maybe(STRING),
        "file_id": maybe(STRING),
    },
)
_INPUT_FILE = record(
    {},
    {
        **BREAKPOINT,
        "detail": one_of("auto", "low", "high"),
        "file_data": STRING,
        "file_id": maybe(STRING),
        "file_url": STRING,
        "filename": STRING,
    },
)
_HEARD = many(tagged({"input_text": _INPUT_TEXT, "input_image": _INPUT_IMAGE, "input_file": _INPUT_FILE}, quiet=True))
_SAID = many(
    tagged(
        {
            "output_text": record({"text": STRING}, {"annotations": anything, "logprobs": anything}),
            "refusal": record({"refusal": STRING}),
        },
        quiet=True,
    )
)


def item_id(prefix: str) -> Shape:
    """An item's id, which says what it is of."""

    def check(value: object, path: Path) -> None:
        text(most=64)(value, path)
        if not str(value).startswith(f"{prefix}_"):
            at = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
            wrong(path, f"Invalid '{at}': '{value}'. Expected an ID that begins with '{prefix}'.")

    return check


def message(value: object, path: Path) -> None:
    """A message, with or without its type; what an assistant said is of other parts."""
    if not isinstance(value, dict):
        wrong(path, "expected an object", "type", "object", value)
    if "role" not in value:
        wrong((*path, "role"), "missing", "missing")
    one_of("assistant", "system", "developer", "user")(value["role"], (*path, "role"))
    more: Fields = {"role": STRING, **STATUS}
    if value["role"] == "assistant":
        more = {**more, "id": item_id("msg"), "phase": maybe(one_of("commentary", "final_answer"))}
    parts = _SAID if value["role"] == "assistant" else _HEARD
    record({"content": either(STRING, parts)}, more)({key: value[key] for key in value if key != "type"}, path)


_SUMMARY = many(tagged({"summary_text": record({"text": STRING})}, quiet=True))
_REASONED = many(tagged({"reasoning_text": record({"text": STRING})}, quiet=True))
_OUTPUT = either(text(most=10_485_760), _HEARD)
_ITEMS = tagged(
    {
        "message": message,
        "function_call": record(
            {"call_id": CALL_ID, "name": NAME, "arguments": STRING}, {"id": item_id("fc"), **STATUS}
        ),
        "function_call_output": record({"call_id": CALL_ID, "output": _OUTPUT}, {"id": maybe(item_id("fc")), **STATUS}),
        "reasoning": record(
            {"id": item_id("rs"), "summary": _SUMMARY},
            {"content": maybe(_REASONED), "encrypted_content": maybe(STRING), **STATUS},
        ),
        "web_search_call": record({"id": item_id("ws"), "status": STRING}, {"action": OBJECT}),
        "mcp_list_tools": record(
            {"id": item_id("mcpl"), "server_label": STRING, "tools": many(OBJECT)}, {"error": anything}
        ),
        "mcp_call": record(
            {"id": item_id("mcp"), "server_label": STRING, "name": STRING, "arguments": STRING},
            {"approval_request_id": maybe(STRING), "error": anything, "output": maybe(STRING), "status": STRING},
        ),
        "item_reference": record({"id": STRING}),
    },
    quiet=True,
    default="message",
)

# Tools

_LOCATION = {name: maybe(STRING) for name in ("city", "country", "region", "timezone")}
_SEARCH = record(
    {},
    {
        "filters": maybe(record({}, {"allowed_domains": maybe(STRINGS)})),
        "search_context_size": LEVEL,
        "user_location": maybe(tagged({"approximate": record({}, _LOCATION)}, quiet=True, default="approximate")),
        "external_web_access": flag,
    },
)


def allowed_tools(value: object, path: Path) -> None:
    """Names, or what is to be true of the tools."""
    filters = record({}, {"tool_names": STRINGS, "read_only": flag})
    (STRINGS if isinstance(value, list) else filters)(value, path)


_TOOL = tagged(
    {
        "function": record(
            {"name": NAME, "parameters": maybe(OBJECT)}, {"description": maybe(STRING), "strict": maybe(flag)}
        ),
        "web_search": _SEARCH,
        "mcp": record(
            {"server_label": text(pattern="^[a-zA-Z][a-zA-Z0-9_-]*$"), "server_url": STRING},
            {
                "server_description": STRING,
                "authorization": STRING,
                "headers": maybe(table(STRING)),
                "allowed_tools": maybe(allowed_tools),
                "require_approval": maybe(choices(one_of("never", "always"), OBJECT)),
            },
        ),
    },
    quiet=True,
)
_CHOICE = choices(
    one_of("none", "auto", "required"),
    tagged(
        {
            "function": record({"name": STRING}),
            "allowed_tools": record({"mode": one_of("auto", "required"), "tools": many(OBJECT, least=1)}),
            "web_search": record({}),
            "mcp": record({"server_label": STRING}, {"name": maybe(STRING)}),
        },
        quiet=True,
    ),
)

# The top level

_FORMAT = tagged(
    {
        "text": record({}),
        "json_object": record({}),
        "json_schema": record({"name": NAME, "schema": OBJECT}, {"description": maybe(STRING), "strict": maybe(flag)}),
    },
    quiet=True,
)
_SUMMARIES = maybe(one_of("auto", "concise", "detailed"))
_COUNTED: Fields = {
    "model": text(least=1),
    "conversation": anything,
    "input": maybe(either(STRING, many(_ITEMS))),
    "instructions": maybe(STRING),
    "parallel_tool_calls": maybe(flag),
    "previous_response_id": maybe(STRING),
    "reasoning": maybe(
        record(
            {},
            {
                "context": maybe(one_of("auto", "current_turn", "all_turns")),
                "effort": EFFORT,
                "generate_summary": _SUMMARIES,
                "mode": one_of("standard", "pro"),
                "summary": _SUMMARIES,
            },
        )
    ),
    "text": maybe(record({}, {"format": _FORMAT, "verbosity": LEVEL})),
    "tool_choice": maybe(_CHOICE),
    "tools": maybe(many(_TOOL)),
    "truncation": maybe(one_of("auto", "disabled")),
}
COUNT = record({}, _COUNTED)
RESPONSE = record(
    {"model": text(least=1)},
    {
        **_COUNTED,
        "background": maybe(flag),
        "include": maybe(
            many(
                one_of(
                    "file_search_call.results",
                    "web_search_call.results",
                    "web_search_call.action.sources",
                    "message.input_image.image_url",
                    "computer_call_output.output.image_url",
                    "code_interpreter_call.outputs",
                    "reasoning.encrypted_content",
                    "message.output_text.logprobs",
                )
            )
        ),
        "max_output_tokens": maybe(number(whole=True, least=16)),
        "max_tool_calls": maybe(number(whole=True, least=1)),
        "metadata": METADATA,
        "prompt": anything,
        **PROMPT_CACHE,
        "safety_identifier": maybe(text(most=128)),
        "service_tier": TIER,
        "store": maybe(flag),
        "stream": maybe(flag),
        "stream_options": maybe(record({}, {"include_obfuscation": flag})),
        "temperature": maybe(number(least=0.0, most=2.0)),
        "top_logprobs": maybe(number(whole=True, least=0, most=20)),
        "top_p": maybe(number(least=0.0, most=1.0)),
        "user": STRING,
    },
)
