"""A Messages request as a chat completion request."""

from __future__ import annotations

from typing import Any

from asbru.dialects import json_text
from asbru.dialects import openai_common as common
from asbru.dialects.codec import Context, Sent
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.messages import Request, Tool
from asbru.dialects.openai_chat.conversation import Conversation
from asbru.dialects.openai_chat.reasoning import reasoning, unthinking
from asbru.dialects.prepare import prepare, server_tool_field
from asbru.dialects.stopping import divide

Json = dict[str, Any]

PATH = "/v1/chat/completions"


def encode(request: Request, context: Context, losses: Losses) -> Sent:
    """See `Codec.encode`."""
    _refuse(request, context)
    hosts_own = common.identity(request, context, losses) | common.service_tier(request, context, losses)
    system_turns = common.takes_system_turns(request, context, losses)
    breakpoint = common.breakpoint(context)
    native = {"cache_control"} if breakpoint is not None else set()
    if system_turns:
        native.add("messages.system")
    prepare(request, context, losses, native)
    body: Json = {"model": context.model, "messages": []}
    _tools(request, context, losses, body)
    _format(request, context, losses, body)
    _sampling(request, context, losses, body)
    forced = body.get("tool_choice", "auto") not in ("auto", "none")
    off = unthinking(request, context, losses) if forced else {}
    if off is None:
        losses.note("approximated", "tool_choice", "the host forces no tool while the model thinks, as it always does")
        body["tool_choice"] = "auto"
    body |= off or reasoning(request, context, losses)
    body[context.quirks.max_tokens_field] = common.most_tokens(request, context, losses)
    body |= hosts_own
    if request.stream:
        body["stream"] = True
        if context.quirks.stream_usage:
            body["stream_options"] = {"include_usage": True}
    conversation = Conversation(context, losses, breakpoint, keep_reasoning=not (off or common.is_off(request)))
    conversation.write(request)
    body["messages"] = conversation.messages
    if breakpoint == common.BREAKPOINT and conversation.breakpoints:
        body["prompt_cache_options"] = {"mode": "explicit", "ttl": "30m"}
    elif breakpoint == "cache_control" and request.cache_control is not None:
        body["cache_control"] = request.cache_control
    return Sent(common.target(PATH, context), json_text.encode(body))


def _refuse(request: Request, context: Context) -> None:
    """What would be wrong rather than less without it; before `prepare`, while paths are the client's own."""
    for index, tool in enumerate(request.tools):
        if server_tool_field(tool) == "tools.web_search" and not context.quirks.web_search:
            raise LossyError(f"tools.{index}", "Web search is not supported for this model")
    common.refuse_sources(request, context)


# Tools and structured output


def _tools(request: Request, context: Context, losses: Losses, body: Json) -> None:
    quirks = context.quirks
    tools: list[Json] = []
    functions = common.functions(request, context, losses)
    for index, tool in enumerate(request.tools):
        if tool.is_custom:
            tools.append(_function(tool, functions[tool.name], losses, f"tools.{index}"))
        else:
            body["web_search_options"] = _web_search(tool)
    choice = request.tool_choice
    if choice is not None and choice.type == "none" and not quirks.tool_choice_required:
        tools = []  # the host would not be told
    if not tools:
        return
    body["tools"] = tools
    if choice is None:
        return
    if choice.type in ("any", "tool") and not quirks.tool_choice_required:
        losses.note("approximated", "tool_choice", "the host lets the model choose")
    elif choice.type == "tool" and not quirks.tool_choice_named:
        losses.note("approximated", "tool_choice", "only this tool is sent")
        body["tools"] = [tool for tool in tools if tool["function"]["name"] == choice.name]
        body["tool_choice"] = "required"
    elif choice.type == "tool":
        body["tool_choice"] = _named(choice.name)
    elif quirks.tool_choice_required:
        body["tool_choice"] = {"auto": "auto", "any": "required", "none": "none"}[choice.type]
    if choice.disable_parallel_tool_use:
        if quirks.parallel_tool_calls:
            body["parallel_tool_calls"] = False
        else:
            losses.note("dropped", "tool_choice.disable_parallel_tool_use", "the host has no field for it")


def _named(name: str | None) -> Json:
    return {"type": "function", "function": {"name": name}}


def _function(tool: Tool, found: common.Function, losses: Losses, path: str) -> Json:
    function: Json = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = found.parameters
    if tool.cache_control is not None:
        # Met already, unless the host takes breakpoints: those are on parts of messages only.
        losses.note("approximated", "cache_control", "none on a tool; the next one covers it", f"{path}.cache_control")
    if found.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _web_search(tool: Tool) -> Json:
    where = tool.user_location
    if not where:
        return {}
    place = {name: value for name, value in where.items() if name != "type"}
    return {"user_location": {"type": "approximate", "approximate": place}}


def _format(request: Request, context: Context, losses: Losses, body: Json) -> None:
    """Structured output: natively; otherwise by a tool that must be called; otherwise by asking for it."""
    tools: list[Json] = body.get("tools", [])
    asked = common.structured(request, context, losses, [tool["function"]["name"] for tool in tools])
    if asked is None:
        return
    if asked.way == "schema":
        named = {"name": asked.name, "schema": asked.schema, "strict": asked.strict}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
        return
    function = {"name": asked.name, "description": common.TOOL_DESCRIPTION, "parameters": asked.schema}
    body["tool_choice"] = "required" if tools or not context.quirks.tool_choice_named else _named(asked.name)
    body["tools"] = [*tools, {"type": "function", "function": function}]


# Everything else


def _sampling(request: Request, context: Context, losses: Losses, body: Json) -> None:
    quirks, facts = context.quirks, context.facts
    body[quirks.max_tokens_field] = request.max_tokens
    body |= common.sampling(request, facts, losses)
    if request.stop_sequences:
        # Models without sampling parameters take no stop sequences either (OpenAI's reference of `stop`).
        most = 0 if facts.sampling is False else quirks.max_stop_sequences
        native, context.stop_sequences = divide(request.stop_sequences, most, losses)
        if native:
            body["stop"] = native
