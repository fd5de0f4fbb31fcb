"""OpenAI's Responses API (POST ``/v1/responses`` and ``…/input_tokens``), from the provider's side.

The reference is that of `speeches.openai`. Requests are checked by the tables of `openai_responses_fields`, then by the
rules here; `openai_responses_answer` words the answers. Nothing is stored: what refers to an earlier response or item
is not found. Reasoning goes back encrypted or not at all, and only as it was given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from asbru.errors import Headers
from asbru.sandbox.answers import ApiError, Reply
from asbru.sandbox.script import Answer
from asbru.sandbox.server_tools import Json
from asbru.sandbox.shape import Misfit, Path
from asbru.sandbox.speech import Heard
from asbru.sandbox.speeches import openai, openai_responses_answer, openai_schema
from asbru.sandbox.speeches.openai import Rules, place, refused
from asbru.sandbox.speeches.openai_responses_fields import COUNT, RESPONSE
from asbru.sandbox.stream import Event
from asbru.sandbox.thinking import is_genuine
from asbru.server.exchange import Exchange

Object = Mapping[str, object]

COUNTING = "v1/responses/input_tokens"
UNSAMPLED = {"temperature": None, "top_p": None, "top_logprobs": None}
STATEFUL = ("conversation", "prompt")


class ResponsesReply(openai.OpenAIReply):
    """How the Responses API answers: its streams have an event for errors."""

    middle = 5

    def error_event(self, error: ApiError) -> bytes:
        found = openai.error_object(error)
        event = {"type": "error", "sequence_number": 0, "code": found["code"] or found["type"]}
        event |= {"message": found["message"], "param": found["param"]}
        return b"event: error\ndata: " + msgspec.json.encode(event) + b"\n\n"


class OpenAIResponses:
    routes: Sequence[str] = ("v1/responses", COUNTING)
    listing = ""  # OpenAIChat's

    def check(self, headers: Headers) -> None:
        openai.check_key(headers)

    def hear(self, route: str, ids: tuple[str, ...], query: bytes, body: object) -> Heard:
        try:
            (COUNT if route == COUNTING else RESPONSE)(body, ())
        except Misfit as misfit:
            raise openai.worded(misfit) from None
        assert isinstance(body, dict)
        rules = openai.rules_of(str(body.get("model", "gpt-5")))
        items = body.get("input")
        if items is None:
            raise refused("Missing required parameter: 'input'.", "input", "missing_required_parameter")
        items = [{"role": "user", "content": items}] if isinstance(items, str) else items
        _settings(body, rules)
        _tools(body)
        _format(body, items)
        _conversation(items)
        stream = body.get("stream") is True
        return Heard(messages=_messages(body, items, rules), stream=stream, count=route == COUNTING, asked=body)

    def whole(self, answer: Answer, heard: Heard) -> object:
        return openai_responses_answer.whole(answer, heard.asked)

    def events(self, answer: Answer, heard: Heard, chunks: int | None) -> Iterator[Event]:
        return openai_responses_answer.events(answer, heard.asked, chunks)

    def count(self, tokens: int) -> object:
        return {"object": "response.input_tokens", "input_tokens": tokens}

    def too_long(self, tokens: int, most: int) -> ApiError:
        message = "Your input exceeds the context window of this model. Please adjust your input and try again."
        return refused(message, "input", "context_length_exceeded")

    def models(self, ids: Sequence[str]) -> object:
        return openai.model_list(ids)

    def reply(self, exchange: Exchange) -> Reply:
        return ResponsesReply(exchange)


# Rules that no single field can break


def _effort(body: Json) -> str | None:
    reasoning = body.get("reasoning")
    effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
    return str(effort) if effort else None


def _settings(body: Json, rules: Rules) -> None:
    openai.check_model(body, rules, _effort(body), "reasoning.effort", UNSAMPLED)
    before = body.get("previous_response_id")
    if before is not None:
        message = f"Previous response with id '{before}' not found."
        raise refused(message, "previous_response_id", "previous_response_not_found")
    for name in STATEFUL:
        if body.get(name) is not None:
            raise refused(f"The sandbox stores nothing, so that there is no '{name}'.", name, "unsupported_parameter")
    if body.get("background"):
        raise openai.unsupported("background")
    if body.get("stream_options") is not None and not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise refused(message, "stream_options")
    most, given = openai.MAX_OUTPUT_TOKENS, body.get("max_output_tokens")
    if isinstance(given, int) and given > most:
        message = (
            f"Invalid 'max_output_tokens': integer above maximum value. Expected a value <= {most}, but got {given}"
        )
        raise refused(f"{message} instead.", "max_output_tokens", "integer_above_max_value")


def _tools(body: Json) -> None:
    given, choice = body.get("tools"), body.get("tool_choice")
    tools = given if isinstance(given, list) else []
    for index, tool in enumerate(tools):
        if tool["type"] == "function" and tool["parameters"] is not None:
            at = f"tools[{index}].parameters"
            openai_schema.check(tool["parameters"], tool["name"], "function", at, strict=tool.get("strict") is True)
        if tool["type"] == "mcp" and tool.get("require_approval") != "never":
            message = "The sandbox calls tools of MCP servers only with 'require_approval': 'never'."
            raise refused(message, f"tools[{index}].require_approval", "unsupported_value")
    if not tools and (choice == "required" or isinstance(choice, dict)):
        word = choice if isinstance(choice, str) else choice["type"]
        raise refused(f"Tool choice '{word}' must be specified with 'tools' parameter.", "tool_choice")
    for named in _chosen(choice):
        if not any(_is_same(tool, named) for tool in tools):
            raise refused(f"Tool choice '{named.get('type')}' not found in 'tools' parameter.", "tool_choice")


def _chosen(choice: object) -> list[Json]:
    """The tools that a choice names."""
    if not isinstance(choice, dict):
        return []
    return list(choice["tools"]) if choice["type"] == "allowed_tools" else [choice]


def _is_same(tool: Json, named: Json) -> bool:
    return all(tool.get(field) == named.get(field) for field in ("type", "server_label")) and (
        tool["type"] != "function" or tool["name"] == named.get("name")
    )


def _format(body: Json, items: Sequence[Object]) -> None:
    asked = _asked_format(body)
    if asked is None:
        return
    if asked["type"] == "json_object" and "json" not in str(items).lower():
        message = "Response input messages must contain the word 'json' in some form to use 'text.format' of type"
        raise refused(f"{message} 'json_object'.", "input")
    if asked["type"] == "json_schema":
        schema, strict = asked["schema"], asked.get("strict") is True
        assert isinstance(schema, dict)
        openai_schema.check(schema, str(asked["name"]), "response_format", "text.format.schema", strict=strict)


def _asked_format(body: Json) -> Json | None:
    text = body.get("text")
    asked = text.get("format") if isinstance(text, dict) else None
    return asked if isinstance(asked, dict) and asked["type"] != "text" else None


def _conversation(items: Sequence[Json]) -> None:
    """Calls and outputs in pairs, the output anywhere behind its call; reasoning in front of what it led to."""
    open_calls: list[str] = []
    known: set[str] = set()
    for index, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "item_reference":
            raise _not_found(str(item["id"]))
        if kind == "reasoning":
            _reasoning(item, items[index + 1 :])
        elif kind == "function_call":
            open_calls.append(str(item["call_id"]))
            known.add(str(item["call_id"]))
        elif kind == "function_call_output":
            if item["call_id"] not in known:
                raise refused(f"No tool call found for function call output with call_id {item['call_id']}.", "input")
            if item["call_id"] in open_calls:
                open_calls.remove(str(item["call_id"]))
    if open_calls:
        raise refused(f"No tool output found for function call {open_calls[0]}.", "input")


_LED_TO = ("function_call", "web_search_call", "mcp_list_tools", "mcp_call", "reasoning")


def _reasoning(item: Object, following: Sequence[Object]) -> None:
    item_id, sealed = str(item["id"]), item.get("encrypted_content")
    if sealed is None:
        raise _not_found(item_id)
    if not is_genuine("reasoning", str(sealed), item_id):
        shown = f"{str(sealed)[:4]}...{str(sealed)[-4:]}"
        message = (
            f"The encrypted content {shown} could not be verified. Reason: Encrypted content could not be decrypted"
        )
        raise refused(f"{message} or parsed.", None, "invalid_encrypted_content")
    follows = following[0] if following else {}
    is_said = follows.get("role") == "assistant"
    if not is_said and follows.get("type") not in _LED_TO:
        message = f"Item '{item_id}' of type 'reasoning' was provided without its required following item."
        raise refused(message, "input")


def _not_found(item_id: str) -> ApiError:
    message = (
        f"Item with id '{item_id}' not found. Items are not persisted when `store` is set to false. Try again with "
        "`store` set to true, or remove this item from your input."
    )
    return ApiError(404, message, details={"param": "input", "code": None})


# The same as a Messages request


def _messages(body: Json, items: Sequence[Json], rules: Rules) -> Json:
    instructions = body.get("instructions")
    system: list[Json] = [{"type": "text", "text": instructions}] if instructions else []
    messages: list[Json] = []
    for index, item in enumerate(items):
        role, blocks = _turn(item, ("input", index))
        if role == "system" and not messages:
            system += blocks
        else:
            openai.add(messages, role, blocks)
    openai.check_breakpoints([{"content": system}, *messages], body, rules)
    found: Json = {
        "model": body.get("model", "gpt-5"),
        "system": system,
        "messages": messages or [{"role": "user", "content": []}],
        "max_tokens": body.get("max_output_tokens") or openai.MAX_OUTPUT_TOKENS,
        **_of_tools(body),
        "tool_choice": _choice(body),
    }
    if rules.effort(_effort(body)) != "none":
        found["thinking"] = {"type": "adaptive", "display": "summarized"}
    asked = _asked_format(body)
    if asked is not None:
        schema = asked["schema"] if asked["type"] == "json_schema" else {"type": "object"}
        found["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    return found


def _turn(item: Json, at: Path) -> tuple[str, list[Json]]:
    """An item's role and blocks; none for what OpenAI did itself and for reasoning, which says nothing new."""
    match item.get("type", "message"):
        case "message":
            role = str(item["role"])
            return ("system" if role == "developer" else role), _blocks(item["content"], (*at, "content"))
        case "function_call":
            given = openai.arguments(str(item["arguments"]))
            return "assistant", [{"type": "tool_use", "id": item["call_id"], "name": item["name"], "input": given}]
        case "function_call_output":
            blocks = _blocks(item["output"], (*at, "output"))
            return "user", [{"type": "tool_result", "tool_use_id": item["call_id"], "content": blocks}]
        case "reasoning":
            summary = item["summary"]
            assert isinstance(summary, list)
            text = "".join(part["text"] for part in summary)
            return "assistant", [{"type": "thinking", "thinking": text, "signature": ""}]
        case _:
            return "assistant", []


def _blocks(content: object, at: Path) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    parts = content if isinstance(content, list) else []
    return [block for index, part in enumerate(parts) for block in _block(part, (*at, index))]


def _block(part: Json, at: Path) -> list[Json]:
    """A part's block; none for a text that is empty."""
    match part["type"]:
        case "input_image":
            url = part.get("image_url")
            if not isinstance(url, str):
                raise _missing((*at, "image_url")) if part.get("file_id") is None else _no_file(part, at)
            return [openai.marked(part, openai.image(url, (*at, "image_url")))]
        case "input_file":
            return [openai.marked(part, _file(part, at))]
        case kind:
            text = part["refusal"] if kind == "refusal" else part["text"]
            return [openai.marked(part, {"type": "text", "text": text})] if text else []


def _file(part: Json, at: Path) -> Json:
    url, data, name = part.get("file_url"), part.get("file_data"), part.get("filename")
    if part.get("file_id") is not None:
        raise _no_file(part, at)
    if isinstance(url, str):
        return {"type": "document", "source": {"type": "url", "url": url}, "title": name}
    if not isinstance(data, str):
        raise _missing((*at, "file_data"))
    if not isinstance(name, str):
        raise _missing((*at, "filename"))
    return openai.document(data, name, (*at, "file_data"))


def _no_file(part: Json, at: Path) -> ApiError:
    return refused(f"File '{part['file_id']}' not found.", place((*at, "file_id")))


def _missing(at: Path) -> ApiError:
    return refused(f"Missing required parameter: '{place(at)}'.", place(at), "missing_required_parameter")


def _of_tools(body: Json) -> Json:
    given, choice = body.get("tools"), body.get("tool_choice")
    tools = given if isinstance(given, list) else []
    if isinstance(choice, dict) and choice["type"] == "allowed_tools":
        tools = [tool for tool in tools if any(_is_same(tool, named) for named in choice["tools"])]
    made: list[Json] = []
    servers: list[Json] = []
    for tool in tools:
        match tool["type"]:
            case "function":
                schema = tool["parameters"] or {"type": "object", "properties": {}}
                described = {"description": tool.get("description") or "", "input_schema": schema}
                made.append({"name": tool["name"], **described})
            case "web_search":
                made.append({"type": "web_search_20250305", "name": "web_search"})
            case _:
                servers.append({"type": "url", "name": tool["server_label"], "url": tool["server_url"]})
                made.append(_toolset(tool))
    return {"tools": made, "mcp_servers": servers}


def _toolset(tool: Json) -> Json:
    toolset: Json = {"type": "mcp_toolset", "mcp_server_name": tool["server_label"]}
    allowed = tool.get("allowed_tools")
    names = allowed.get("tool_names") if isinstance(allowed, dict) else allowed
    if isinstance(names, list):
        toolset["configs"] = {str(name): {"enabled": True} for name in names}
    return toolset


def _choice(body: Json) -> Json | None:
    choice = body.get("tool_choice")
    single = {"disable_parallel_tool_use": True} if body.get("parallel_tool_calls") is False else {}
    if isinstance(choice, dict) and choice["type"] in ("function", "web_search"):
        return {"type": "tool", "name": choice.get("name", "web_search"), **single}
    word = choice.get("mode", "required") if isinstance(choice, dict) else choice
    if word == "none":
        return {"type": "none"}
    return {"type": "any" if word == "required" else "auto", **single} if word or single else None
