"""A Messages request as a chat completion request."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import msgspec

from asbru.dialects import json_schema, json_text
from asbru.dialects.codec import Context, Sent
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.messages import Document, Image, Request, Text, Tool, ToolResult
from asbru.dialects.openai_chat.conversation import Conversation
from asbru.dialects.openai_chat.reasoning import is_off, reasoning
from asbru.dialects.prepare import prepare, server_tool_field
from asbru.dialects.stopping import divide

Json = dict[str, Any]

PATH = "/v1/chat/completions"
_STRUCTURED = "structured_output"
_INSTRUCTION = "Answer with one JSON value that follows this JSON Schema, and with nothing else:\n"
_MAX_ID_CHARS = 64
_VERSION = re.compile(r"gpt-(\d+)(?:\.(\d+))?")


def encode(request: Request, context: Context, losses: Losses) -> Sent:
    """See `Codec.encode`."""
    _refuse(request, context)
    _limits_of_the_host(request, context, losses)
    breakpoint = _breakpoint(context)
    native = {"cache_control"} if breakpoint is not None else set()
    if context.quirks.mid_system:
        native.add("messages.system")
    prepare(request, context, losses, native)
    body: Json = {"model": context.model, "messages": []}
    _tools(request, context, losses, body)
    _format(request, context, losses, body)
    _sampling(request, context, losses, body)
    body |= reasoning(request, context, losses)
    _identity(request, context, losses, body)
    if request.stream:
        body["stream"] = True
        if context.quirks.stream_usage:
            body["stream_options"] = {"include_usage": True}
    conversation = Conversation(context, losses, breakpoint, keep_reasoning=not is_off(request))
    conversation.write(request)
    body["messages"] = conversation.messages
    if breakpoint == "prompt_cache_breakpoint" and conversation.breakpoints:
        body["prompt_cache_options"] = {"mode": "explicit", "ttl": "30m"}
    elif breakpoint == "cache_control" and request.cache_control is not None:
        body["cache_control"] = request.cache_control
    return Sent(_target(context), json_text.encode(body))


def _target(context: Context) -> bytes:
    path = context.quirks.path or PATH
    if "{model}" in path:
        path = path.replace("{model}", quote(context.model, safe=""))
    return f"{path}?{context.quirks.query}".encode() if context.quirks.query else path.encode()


def _breakpoint(context: Context) -> str | None:
    """How a part is marked as a breakpoint; OpenAI: from gpt-5.6 on, says its reference of ``prompt_cache_options``."""
    marked = context.quirks.cache_breakpoints
    if marked != "prompt_cache_breakpoint":
        return marked
    version = _VERSION.match(context.model)
    return marked if version and (int(version[1]), int(version[2] or 0)) >= (5, 6) else None


# What this host or model cannot take


def _refuse(request: Request, context: Context) -> None:
    """What would be wrong rather than less without it; before `prepare`, while paths are the client's own."""
    quirks = context.quirks
    for index, tool in enumerate(request.tools):
        if server_tool_field(tool) == "tools.web_search" and not quirks.web_search:
            raise LossyError(f"tools.{index}", "Web search is not supported for this model")
    if quirks.image_url and quirks.files and context.facts.documents is not False:
        return
    for index, turn in enumerate(request.messages):
        for position, block in enumerate(turn.content):
            path = f"messages.{index}.content.{position}"
            if isinstance(block, ToolResult):
                for place, part in enumerate(block.content):
                    _refuse_source(part, f"{path}.content.{place}", context)
            else:
                _refuse_source(block, path, context)


def _refuse_source(block: object, path: str, context: Context) -> None:
    quirks = context.quirks
    if isinstance(block, Image) and block.source.type == "url" and not quirks.image_url:
        raise LossyError(path, "Images by URL are not supported for this model; send them as base64")
    takes_files = quirks.files and context.facts.documents is not False
    if isinstance(block, Document) and block.source.type == "base64" and not takes_files:
        raise LossyError(path, "PDF documents are not supported for this model")


def _limits_of_the_host(request: Request, context: Context, losses: Losses) -> None:
    """Losses that are this host's, named before the dialect's own rows are met."""
    quirks = context.quirks
    if request.user_id is not None:
        if quirks.user_field is None:
            losses.note("dropped", "metadata.user_id", "the host has no field for it")
        else:
            losses.meet("metadata.user_id")
    if not quirks.service_tier:
        if request.speed not in (None, "standard"):
            losses.note("dropped", "speed", "the host has no tiers")
        if request.service_tier not in (None, "auto"):
            losses.note("dropped", "service_tier", "the host has no tiers")
    if not quirks.mid_system and any(turn.role == "system" and turn.content for turn in request.messages):
        losses.note("approximated", "messages.system", "folded into the user's turn")


# Tools and structured output


def _tools(request: Request, context: Context, losses: Losses, body: Json) -> None:
    quirks = context.quirks
    tools: list[Json] = []
    for index, tool in enumerate(request.tools):
        if tool.is_custom:
            tools.append(_function(tool, context, losses, f"tools.{index}"))
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


def _function(tool: Tool, context: Context, losses: Losses, path: str) -> Json:
    function: Json = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = json_schema.object_schema(tool.input_schema)
    if tool.cache_control is not None:
        # Met already, unless the host takes breakpoints: those are on parts of messages only.
        losses.note("approximated", "cache_control", "none on a tool; the next one covers it", f"{path}.cache_control")
    if tool.strict:
        if context.quirks.strict_tools and json_schema.is_strict(function["parameters"]):
            function["strict"] = True
        else:
            losses.note("approximated", "tools.strict", "not strict: a property is optional, or the host is not", path)
    return {"type": "function", "function": function}


def _web_search(tool: Tool) -> Json:
    where = tool.user_location
    if not where:
        return {}
    place = {name: value for name, value in where.items() if name != "type"}
    return {"user_location": {"type": "approximate", "approximate": place}}


def _format(request: Request, context: Context, losses: Losses, body: Json) -> None:
    """Structured output: natively; otherwise by a tool that must be called; otherwise by asking for it."""
    output = request.output_config
    if output is None or output.format is None:
        return
    quirks, facts, schema = context.quirks, context.facts, output.format.schema
    tools: list[Json] = body.get("tools", [])
    deepest = quirks.max_schema_depth
    if (
        quirks.json_schema
        and facts.structured_output is not False
        and (quirks.json_schema_with_tools or not tools)
        and (deepest is None or json_schema.depth(schema) <= deepest)
    ):
        strict = json_schema.is_strict(schema)
        if not strict:
            losses.note("approximated", "output_config.format", "not strict: a property is optional")
        named = {"name": _STRUCTURED, "schema": schema, "strict": strict}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
        return
    choice = request.tool_choice.type if request.tool_choice is not None else "auto"
    if quirks.tool_choice_required and facts.tools is not False and choice in ("auto", "any"):
        losses.note("emulated", "output_config.format", "a tool that must be called")
        name = _free_name(tools)
        context.structured_tool = name
        description = "Give the final answer. Call this once you have it."
        parameters = json_schema.object_schema(schema)
        function = {"name": name, "description": description, "parameters": parameters}
        body["tool_choice"] = "required" if tools or not quirks.tool_choice_named else _named(name)
        body["tools"] = [*tools, {"type": "function", "function": function}]
        return
    losses.note("emulated", "output_config.format", "an instruction")
    request.system = [*request.system, Text(text=_INSTRUCTION + json_text.encode(schema).decode())]


def _free_name(tools: list[Json]) -> str:
    taken = {tool["function"]["name"] for tool in tools}
    name = _STRUCTURED
    while name in taken:
        name += "_"
    return name


# Everything else


def _sampling(request: Request, context: Context, losses: Losses, body: Json) -> None:
    quirks, facts = context.quirks, context.facts
    body[quirks.max_tokens_field] = request.max_tokens
    takes_sampling = not facts.reasoning if facts.sampling is None else facts.sampling
    for name, value in (("temperature", request.temperature), ("top_p", request.top_p)):
        if value is not None and takes_sampling:
            body[name] = value
        elif value is not None:
            losses.note("dropped", name, "the model takes no sampling parameters")
    if request.stop_sequences:
        # Models without sampling parameters take no stop sequences either (OpenAI's reference of `stop`).
        most = 0 if facts.sampling is False else quirks.max_stop_sequences
        native, context.stop_sequences = divide(request.stop_sequences, most, losses)
        if native:
            body["stop"] = native
    if quirks.service_tier:
        if request.speed == "fast":
            body["service_tier"] = "priority"
        elif request.service_tier is not None:
            body["service_tier"] = "default" if request.service_tier == "standard_only" else "auto"


class _User(msgspec.Struct):
    """What Claude Code puts into ``metadata.user_id``, as JSON."""

    account_uuid: str | None = None
    device_id: str | None = None
    session_id: str | None = None


_user = msgspec.json.Decoder(_User).decode


def _identity(request: Request, context: Context, losses: Losses, body: Json) -> None:
    quirks = context.quirks
    user = _User()
    if request.user_id is not None and request.user_id.startswith("{"):
        with suppress(msgspec.DecodeError, RecursionError):  # any text may be a user's id
            user = _user(request.user_id)
    session = context.session_id or user.session_id
    if quirks.prompt_cache_key and session:
        body["prompt_cache_key"] = session if len(session) <= _MAX_ID_CHARS else _digest(session)
    if quirks.user_field is not None and request.user_id is not None:
        body[quirks.user_field] = _digest(user.account_uuid or user.device_id or request.user_id)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
