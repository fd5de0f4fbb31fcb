"""Tools, which of them must be called, and their schemas.

Schemas go as ``parametersJsonSchema``, which takes JSON Schema and passes over what it does not know; ``parameters`` is
a closed protocol buffer that refuses ``$schema``, ``additionalProperties`` and every other word it lacks.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from asbru.dialects import json_text, schema_fit
from asbru.dialects.codec import Context
from asbru.dialects.gemini import mcp
from asbru.dialects.gemini.family import is_gemini_3
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.messages import Request, Tool
from asbru.dialects.prepare import server_tool_field

Json = dict[str, Any]

_BUILT_IN = {
    "tools.web_search": "googleSearch",
    "tools.web_fetch": "urlContext",
    "tools.code_execution": "codeExecution",
}
_MODES = {"auto": "AUTO", "any": "ANY", "tool": "ANY", "none": "NONE"}
_BEGINS_WELL = re.compile("[a-zA-Z_]")

_WORDS = (b'"const"', b'"$ref"', b'"allOf"', b'"definitions"')
_NAMED = frozenset({"properties", "$defs", "definitions"})
_LISTED = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_NESTED = frozenset({"items", "additionalProperties"})
_MAX_DEPTH = 100


class Names:
    """Function names as Gemini takes them: they begin with a letter or an underscore. The rest is `prepare`'s."""

    def __init__(self, context: Context) -> None:
        self._client_names = context.tool_names

    def sent(self, name: str) -> str:
        """The name upstream of a name that `prepare` has seen to; the way back is kept in the context."""
        if _BEGINS_WELL.match(name):
            return name
        sent = f"_{name}"
        self._client_names[sent] = self._client_names.get(name, name)
        return sent


def tools(request: Request, context: Context, names: Names, losses: Losses) -> Json:
    """The fields ``tools`` and ``toolConfig``, those that are needed."""
    choice = request.tool_choice
    functions = [_declaration(tool, names, losses) for tool in request.tools if tool.is_custom]
    free = choice is None or choice.type != "none"
    built_in = _built_in(request, context) if free else {}
    if functions and built_in and not is_gemini_3(context.model):
        for field in built_in:
            losses.note("dropped", field, "this model takes functions or its own tools, not both")
        built_in = {}
    found: list[Json] = list(built_in.values())
    remote = mcp.servers(request, context) if free else []
    if remote and functions and not is_gemini_3(context.model):
        raise LossyError("mcp_servers", "This model takes functions or MCP servers, not both")
    if remote:
        found.append({"mcpServers": remote})
    config: Json = {}
    if functions:
        found.append({"functionDeclarations": functions})
        calling = _calling(request, names, losses)
        if calling:
            config["functionCallingConfig"] = calling
        if len(found) > 1 and not context.quirks.vertex:
            config["includeServerSideToolInvocations"] = True  # without it, both together are a 400
    elif found and choice is not None and choice.type != "auto":
        losses.note("dropped", "tool_choice", "only functions can be forced")
    if not found:
        return {}
    return {"tools": found, "toolConfig": config} if config else {"tools": found}


def is_forced(request: Request) -> bool:
    """Whether the answer must be a function call."""
    choice = request.tool_choice
    return choice is not None and choice.type in ("any", "tool") and any(tool.is_custom for tool in request.tools)


def _declaration(tool: Tool, names: Names, losses: Losses) -> Json:
    found: Json = {"name": names.sent(tool.name)}
    if tool.description:
        found["description"] = tool.description
    given = tool.input_schema
    if given and any(value for key, value in given.items() if key not in ("type", "$schema")):
        fitted = schema_fit.fit(given)
        if fitted.lost is not None:
            losses.note("approximated", "tools.custom", fitted.lost, tool.name)
        found["parametersJsonSchema"] = schema(fitted.schema)
    return found


def _built_in(request: Request, context: Context) -> dict[str, Json]:
    """Gemini's own tools by the `FIELDS` entry of Anthropic's."""
    found: dict[str, Json] = {}
    for tool in request.tools:
        field = server_tool_field(tool) or ""
        name = _BUILT_IN.get(field)
        if name is None:
            continue
        settings: Json = {}
        if name == "googleSearch" and tool.blocked_domains and context.quirks.vertex:
            settings["excludeDomains"] = tool.blocked_domains
        found[field] = {name: settings}
    return found


def _calling(request: Request, names: Names, losses: Losses) -> Json:
    choice = request.tool_choice
    if choice is not None and choice.disable_parallel_tool_use:
        losses.meet("tool_choice.disable_parallel_tool_use")
    if choice is not None and choice.type != "auto":
        found: Json = {"mode": _MODES[choice.type]}
        if choice.type == "tool" and choice.name is not None:
            found["allowedFunctionNames"] = [names.sent(choice.name)]
        return found
    # The only mode that holds the model to the schemas and leaves it free to answer in words.
    return {"mode": "VALIDATED"} if any(tool.strict for tool in request.tools) else {}


# Schemas


def schema(given: Json) -> Json | msgspec.Raw:
    """The schema in the words that Gemini knows, for what it would otherwise pass over, or refuse beside ``$ref``."""
    raw = json_text.encode(given)
    # fast path: most schemas have none of these, and looking is many times faster than walking
    if not any(word in raw for word in _WORDS):
        return msgspec.Raw(raw)
    found = _plain(given, 0)
    assert isinstance(found, dict)
    return found


def _plain(given: object, depth: int) -> object:
    if not isinstance(given, dict) or depth > _MAX_DEPTH:
        return given
    reference = given.get("$ref")
    if isinstance(reference, str):
        # Beside a reference nothing else may stand but words that begin with `$`.
        given = {name: value for name, value in given.items() if name.startswith("$") or name == "definitions"}
        given["$ref"] = reference.replace("#/definitions/", "#/$defs/", 1)
    every = given.get("allOf")
    if isinstance(every, list) and len(every) == 1 and isinstance(every[0], dict):
        rest = {name: value for name, value in given.items() if name != "allOf"}
        return _plain({**rest, **every[0]}, depth + 1)
    found: Json = {}
    for name, value in given.items():
        if name in _NAMED and isinstance(value, dict):
            name = "$defs" if name == "definitions" else name
            found[name] = {each: _plain(inner, depth + 1) for each, inner in value.items()}
        elif name in _LISTED and isinstance(value, list):
            found[name] = [_plain(inner, depth + 1) for inner in value]
        elif name in _NESTED:
            found[name] = _plain(value, depth + 1)
        elif name == "const" and not isinstance(value, dict | list):
            found["enum"] = [value]
        else:
            found[name] = value
    return found
