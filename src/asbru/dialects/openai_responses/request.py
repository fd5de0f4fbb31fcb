"""A Messages request as a request of the Responses API, and as one that counts tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asbru.dialects import openai_common as common
from asbru.dialects.codec import Context, Sent
from asbru.dialects.json_text import encode as to_json
from asbru.dialects.losses import Losses
from asbru.dialects.messages import Request, Tool
from asbru.dialects.openai_responses import hosted
from asbru.dialects.openai_responses.conversation import Conversation, message, parts
from asbru.dialects.prepare import prepare, server_tool_field
from asbru.dialects.stopping import divide

Json = dict[str, Any]

_PATH = "/v1/responses"
_NATIVE = frozenset({"server_tool_use", "mcp_tool_use"})
_LEAST_TOKENS = 16
"""Of ``max_output_tokens``; less is a 400."""
_ENCRYPTED = "reasoning.encrypted_content"
_WEB_SEARCH = "web_search"


def encode(request: Request, context: Context, losses: Losses) -> Sent:
    """See `Codec.encode`."""
    hosts_own = common.identity(request, context, losses) | common.service_tier(request, context, losses)
    body = _prompt(request, context, losses)
    most = common.most_tokens(request, context, losses)
    body["max_output_tokens"] = context.max_output_tokens = max(most, _LEAST_TOKENS)
    if most < _LEAST_TOKENS:
        losses.note("approximated", "max_tokens", f"{_LEAST_TOKENS} is the least that the provider takes")
    body["store"] = False
    if request.stream:
        body["stream"] = True
    include = [_ENCRYPTED] if context.facts.reasoning else []
    if _WEB_SEARCH in (tool["type"] for tool in body.get("tools", ())):
        include.append(hosted.SOURCES)
    if include:
        body["include"] = include
    _, context.stop_sequences = divide(request.stop_sequences, 0, losses)
    body |= common.sampling(request, context.facts, losses)
    body |= hosts_own
    return Sent(common.target(_PATH, context), to_json(body))


def encode_count(request: Request, context: Context, losses: Losses) -> Sent:
    """See `Codec.encode_count`: what the prompt is made of, and nothing else."""
    body = _prompt(request, context, losses)
    body.pop("prompt_cache_options", None)
    path, mark, query = common.target(_PATH, context).partition(b"?")
    return Sent(path + b"/input_tokens" + mark + query, to_json(body))


def _prompt(request: Request, context: Context, losses: Losses) -> Json:
    """What decides how many tokens go in."""
    quirks = context.quirks
    marks = common.breakpoint(context) == common.BREAKPOINT
    native = _NATIVE | ({"cache_control"} if marks else set())
    if common.takes_system_turns(request, context, losses):
        native |= {"messages.system"}
    common.refuse_sources(request, context)
    prepare(request, context, losses, native)
    structured = common.structured(request, context, losses, [tool.name for tool in request.tools])
    body: Json = {"model": context.model}
    items: list[Json] = []
    if marks and any(block.cache_control for block in request.system):
        items.append(message(quirks.system_role, parts(request.system, context, losses)))
    elif request.system:
        body["instructions"] = "\n\n".join(block.text for block in request.system)
    body["input"] = items + Conversation(request.messages, context, losses).items
    if marks and request.cache_control is None and _is_marked(body["input"]):
        body["prompt_cache_options"] = {"mode": "explicit", "ttl": "30m"}
    body |= _tools(request, context, losses, structured)
    reasoning = _reasoning(request, context, losses)
    if reasoning:
        body["reasoning"] = reasoning
    if structured is not None and structured.way == "schema":
        named = {"name": structured.name, "schema": structured.schema, "strict": structured.strict}
        body["text"] = {"format": {"type": "json_schema", **named}}
    return body


def _is_marked(items: list[Json]) -> bool:
    """Whether a breakpoint is set anywhere."""
    contents = (item.get("content", item.get("output")) for item in items)
    return any(common.BREAKPOINT in part for content in contents if isinstance(content, list) for part in content)


def _reasoning(request: Request, context: Context, losses: Losses) -> Json:
    found: Json = {}
    effort = common.effort(request, context, losses)
    if effort is not None:
        found["effort"] = effort
    thinks = request.thinking is not None and request.thinking.type in ("enabled", "adaptive")
    if thinks and context.show_thinking and context.facts.reasoning:
        found["summary"] = "auto"
    return found


# Tools


def _tools(request: Request, context: Context, losses: Losses, structured: common.Structured | None) -> Json:
    """``tools``, ``tool_choice`` and ``parallel_tool_calls``, as far as there are any."""
    quirks, choice = context.quirks, request.tool_choice
    functions = common.functions(request, context, losses)
    tools = [_tool(tool, index, functions, losses) for index, tool in enumerate(request.tools) if _is_sent(tool)]
    tools += hosted.mcp_servers(request)
    found: Json = {"tools": tools} if tools else {}
    if structured is not None and structured.way == "tool":
        named = {"type": "function", "name": structured.name}
        described = {"description": common.TOOL_DESCRIPTION, "parameters": structured.schema, "strict": False}
        found["tools"] = [*tools, {**named, **described}]
        found["tool_choice"] = "required" if tools or not quirks.tool_choice_named else named
    elif tools and choice is not None:
        found["tool_choice"] = _choice(request, context, losses)
    if tools and choice is not None and choice.disable_parallel_tool_use:
        if quirks.parallel_tool_calls:
            found["parallel_tool_calls"] = False
        else:
            losses.note("dropped", "tool_choice.disable_parallel_tool_use", "the host has no field for it")
    return found


def _is_sent(tool: Tool) -> bool:
    """Toolsets of MCP servers are sent with their servers."""
    return tool.type != "mcp_toolset"


def _tool(tool: Tool, index: int, functions: Mapping[str, common.Function], losses: Losses) -> Json:
    path = f"tools.{index}"
    if server_tool_field(tool) == "tools.web_search":
        return hosted.web_search(tool, path, losses)
    function = functions[tool.name]
    if tool.cache_control is not None:
        # Met already, unless the host takes breakpoints: those are on parts of messages only.
        losses.note("approximated", "cache_control", "none on a tool; the next one covers it", f"{path}.cache_control")
    found: Json = {"type": "function", "name": tool.name}
    if tool.description:
        found["description"] = tool.description
    found["parameters"] = function.parameters
    found["strict"] = function.strict  # left out it means true, and the schema is rewritten
    return found


def _choice(request: Request, context: Context, losses: Losses) -> str | Json:
    choice = request.tool_choice
    assert choice is not None
    if choice.type in ("auto", "none"):
        return choice.type
    quirks = context.quirks
    if not quirks.tool_choice_required:
        losses.note("approximated", "tool_choice", "the host lets the model choose")
        return "auto"
    if choice.type == "any":
        return "required"
    if not quirks.tool_choice_named:
        losses.note("approximated", "tool_choice", "the host can only be told to call some tool")
        return "required"
    if any(server_tool_field(tool) == "tools.web_search" and tool.name == choice.name for tool in request.tools):
        only = len(request.tools) == 1
        return "required" if only else {"type": "allowed_tools", "mode": "required", "tools": [{"type": _WEB_SEARCH}]}
    return {"type": "function", "name": choice.name}
