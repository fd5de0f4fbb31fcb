"""A chat completion request, field by field: what the types of OpenAI's Python SDK (``openai`` 3.52) say of it.

Deprecated functions, audio and custom tools are left out: the sandbox's models have none.
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
from asbru.sandbox.speeches.openai import EFFORTS

STRING = text()
NAME = text(pattern="^[a-zA-Z0-9_-]+$", least=1, most=64)
OBJECT = table(anything)
CALL_ID = text(most=64)
BREAKPOINT: Fields = {
    "prompt_cache_breakpoint": maybe(record({"mode": one_of("explicit")}, {"ttl": one_of("30m", "12h")}))
}
LEVEL = maybe(one_of("low", "medium", "high"))
METADATA_KEYS = 16


def metadata(value: object, path: Path) -> None:
    """Up to 16 texts of up to 512 characters by names of up to 64."""
    if not isinstance(value, dict):
        wrong(path, "expected an object", "type", "object", value)
    if len(value) > METADATA_KEYS:
        wrong(path, f"'{path[-1]}' may have at most {METADATA_KEYS} keys")
    for name, item in value.items():
        text(most=64)(name, (*path, name))
        text(most=512)(item, (*path, name))


def choices(words: Shape, objects: Shape) -> Shape:
    """One of some words, or an object."""

    def check(value: object, path: Path) -> None:
        (words if isinstance(value, str) else objects)(value, path)

    return check


# Messages

_TEXT = record({"text": STRING}, BREAKPOINT)
_IMAGE = record(
    {"image_url": record({"url": STRING}, {"detail": one_of("auto", "low", "high", "original")})}, BREAKPOINT
)
_FILE = record(
    {"file": record({}, {"file_data": STRING, "file_id": STRING, "filename": STRING})},
    BREAKPOINT,
)
_TEXTS = many(tagged({"text": _TEXT}, quiet=True), least=1)
_PARTS = many(tagged({"text": _TEXT, "image_url": _IMAGE, "file": _FILE}, quiet=True), least=1)
_SAID = many(tagged({"text": _TEXT, "refusal": record({"refusal": STRING})}, quiet=True), least=1)
_CALL = tagged(
    {"function": record({"id": CALL_ID, "function": record({"name": NAME, "arguments": STRING})})}, quiet=True
)
_NAMED: Fields = {"name": STRING}

_ROLES: dict[str, Shape] = {
    "system": record({"role": STRING, "content": either(STRING, _TEXTS)}, _NAMED),
    "developer": record({"role": STRING, "content": either(STRING, _TEXTS)}, _NAMED),
    "user": record({"role": STRING, "content": either(STRING, _PARTS)}, _NAMED),
    "assistant": record(
        {"role": STRING},
        {
            **_NAMED,
            "content": maybe(either(STRING, _SAID)),
            "refusal": maybe(STRING),
            "tool_calls": many(_CALL, least=1, most=128),
            "annotations": anything,
            "reasoning_content": maybe(STRING),
        },
    ),
    "tool": record({"role": STRING, "content": either(STRING, _TEXTS), "tool_call_id": CALL_ID}),
}


def message(value: object, path: Path) -> None:
    if not isinstance(value, dict):
        wrong(path, "expected an object", "type", "object", value)
    if "role" not in value:
        wrong((*path, "role"), "missing", "missing")
    one_of(*_ROLES)(value["role"], (*path, "role"))
    _ROLES[value["role"]](value, path)


# The top level

_FUNCTION = record(
    {"name": NAME},
    {"description": maybe(STRING), "parameters": maybe(OBJECT), "strict": maybe(flag)},
)
TOOL = tagged({"function": record({"function": _FUNCTION})}, quiet=True)
_ALLOWED = tagged({"function": record({"function": record({"name": STRING}, open=True)})}, quiet=True)
_CHOICE = choices(
    one_of("none", "auto", "required"),
    tagged(
        {
            "function": record({"function": record({"name": STRING})}),
            "allowed_tools": record(
                {"allowed_tools": record({"mode": one_of("auto", "required"), "tools": many(_ALLOWED, least=1)})}
            ),
        },
        quiet=True,
    ),
)
_FORMAT = tagged(
    {
        "text": record({}),
        "json_object": record({}),
        "json_schema": record(
            {
                "json_schema": record(
                    {"name": NAME}, {"description": maybe(STRING), "schema": OBJECT, "strict": maybe(flag)}
                )
            }
        ),
    },
    quiet=True,
)
_PLACE = record({}, {name: maybe(STRING) for name in ("city", "country", "region", "timezone")})
_SEARCH = record(
    {},
    {
        "search_context_size": LEVEL,
        "user_location": maybe(tagged({"approximate": record({"approximate": _PLACE})}, quiet=True)),
    },
)
METADATA = maybe(metadata)
PROMPT_CACHE: Fields = {
    "prompt_cache_key": maybe(text(most=64)),
    "prompt_cache_options": maybe(record({}, {"mode": one_of("implicit", "explicit"), "ttl": one_of("30m", "12h")})),
    "prompt_cache_retention": maybe(one_of("in_memory", "24h")),
}
TIER = maybe(one_of("auto", "default", "flex", "scale", "priority", "fast"))
EFFORT = maybe(one_of(*EFFORTS))
_PENALTY = maybe(number(least=-2.0, most=2.0))

COMPLETION = record(
    {"messages": many(message, least=1), "model": text(least=1)},
    {
        "frequency_penalty": _PENALTY,
        "logit_bias": maybe(table(number(least=-100, most=100))),
        "logprobs": maybe(flag),
        "max_completion_tokens": maybe(number(whole=True, least=1)),
        "max_tokens": maybe(number(whole=True, least=1)),
        "metadata": METADATA,
        "modalities": maybe(many(one_of("text"), least=1)),
        "n": maybe(number(whole=True, least=1, most=128)),
        "parallel_tool_calls": flag,
        "prediction": maybe(tagged({"content": record({"content": either(STRING, _TEXTS)})}, quiet=True)),
        "presence_penalty": _PENALTY,
        **PROMPT_CACHE,
        "reasoning_effort": EFFORT,
        "response_format": _FORMAT,
        "safety_identifier": maybe(text(most=128)),
        "seed": maybe(number(whole=True)),
        "service_tier": TIER,
        "stop": maybe(either(STRING, many(STRING, most=4))),
        "store": maybe(flag),
        "stream": maybe(flag),
        "stream_options": maybe(record({}, {"include_usage": flag, "include_obfuscation": flag})),
        "temperature": maybe(number(least=0.0, most=2.0)),
        "tool_choice": _CHOICE,
        "tools": many(TOOL, least=1, most=128),
        "top_logprobs": maybe(number(whole=True, least=0, most=20)),
        "top_p": maybe(number(least=0.0, most=1.0)),
        "user": STRING,
        "verbosity": LEVEL,
        "web_search_options": _SEARCH,
    },
)
