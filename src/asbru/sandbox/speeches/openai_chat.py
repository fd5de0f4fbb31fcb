"""OpenAI's Chat Completions (POST ``/v1/chat/completions``), from the provider's side.

The reference is that of `speeches.openai`. Requests are checked by the tables of `openai_chat_fields`, then by the
rules here; `openai_chat_answer` words the answers. What the API does that surprises is done too: a function that was
called because it was named ends with ``stop``, usage comes in a chunk of its own and only when asked for.

Reasoning is neither shown nor taken back by OpenAI; of models that are not OpenAI's it is ``reasoning_content``, as
DeepSeek has it and many hosts after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from asbru.errors import Headers
from asbru.sandbox.answers import ApiError, Reply
from asbru.sandbox.script import Answer
from asbru.sandbox.server_tools import Json
from asbru.sandbox.shape import Misfit, Path
from asbru.sandbox.speech import Heard
from asbru.sandbox.speeches import openai, openai_chat_answer, openai_schema
from asbru.sandbox.speeches.openai import Rules, refused
from asbru.sandbox.speeches.openai_chat_fields import COMPLETION
from asbru.sandbox.stream import Event
from asbru.server.exchange import Exchange

Object = Mapping[str, object]

UNSAMPLED = {
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "top_logprobs": None,
    "logit_bias": None,
    "stop": None,
}
"""What models take only while they do not reason, with the values that change nothing."""


class OpenAIChat:
    routes: Sequence[str] = ("v1/chat/completions",)
    listing = "v1/models"

    def check(self, headers: Headers) -> None:
        openai.check_key(headers)

    def hear(self, route: str, ids: tuple[str, ...], query: bytes, body: object) -> Heard:
        try:
            COMPLETION(body, ())
        except Misfit as misfit:
            raise openai.worded(misfit) from None
        assert isinstance(body, dict)
        rules = openai.rules_of(body["model"])
        _settings(body, rules)
        _tools(body)
        _format(body)
        _conversation(body["messages"], rules)
        return Heard(messages=_messages(body, rules), stream=body.get("stream") is True, asked=body)

    def whole(self, answer: Answer, heard: Heard) -> object:
        return openai_chat_answer.whole(answer, heard.asked)

    def events(self, answer: Answer, heard: Heard, chunks: int | None) -> Iterator[Event]:
        return openai_chat_answer.events(answer, heard.asked, chunks)

    def count(self, tokens: int) -> object:
        raise NotImplementedError  # nothing that `hear` hears asks for a count

    def too_long(self, tokens: int, most: int) -> ApiError:
        return openai.too_long(tokens, most)

    def models(self, ids: Sequence[str]) -> object:
        return openai.model_list(ids)

    def reply(self, exchange: Exchange) -> Reply:
        return openai.OpenAIReply(exchange)


# Rules that no single field can break


def _settings(body: Json, rules: Rules) -> None:
    effort = body.get("reasoning_effort")
    openai.check_model(body, rules, str(effort) if effort else None, "reasoning_effort", UNSAMPLED)
    if body.get("max_tokens") is not None:
        if rules.is_known and rules.efforts:
            message = "Unsupported parameter: 'max_tokens' is not supported with this model."
            raise refused(f"{message} Use 'max_completion_tokens' instead.", "max_tokens", "unsupported_parameter")
        if body.get("max_completion_tokens") is not None:
            raise refused("Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.")
    for name in ("max_tokens", "max_completion_tokens"):
        most, given = openai.MAX_OUTPUT_TOKENS, body.get(name)
        if isinstance(given, int) and given > most:
            message = f"{name} is too large: {given}. This model supports at most {most} completion tokens"
            raise refused(f"{message}, whereas you provided {given}.", name, "invalid_value")
    if body.get("stream_options") is not None and not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise refused(message, "stream_options")
    if body.get("web_search_options") is not None and rules.is_known and "search" not in str(body["model"]):
        raise refused("Web search options not supported with this model.", "web_search_options")
    if body.get("logprobs") or body.get("top_logprobs"):
        raise openai.unsupported("logprobs")
    if body.get("n") not in (None, 1):
        raise refused("The sandbox gives one choice only.", "n", "unsupported_value")


def _tools(body: Json) -> None:
    tools = body.get("tools")
    functions = [tool["function"] for tool in tools] if isinstance(tools, list) else []
    for index, function in enumerate(functions):
        parameters = function.get("parameters")
        if parameters is not None:
            at = f"tools[{index}].function.parameters"
            strict = function.get("strict") is True
            openai_schema.check(parameters, function["name"], "function", at, strict=strict)
    for name in ("tool_choice", "parallel_tool_calls"):
        if name in body and not functions and body[name] != "none":
            raise refused(f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified.", name)
    names = [function["name"] for function in functions]
    for name in _chosen(body.get("tool_choice")):
        if name not in names:
            raise refused(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")


def _chosen(choice: object) -> list[str]:
    """The tools that a choice names."""
    if not isinstance(choice, dict):
        return []
    named = choice["allowed_tools"]["tools"] if "allowed_tools" in choice else [choice]
    return [str(tool["function"]["name"]) for tool in named if isinstance(tool.get("function"), dict)]


def _format(body: Json) -> None:
    asked = body.get("response_format")
    if not isinstance(asked, dict):
        return
    if asked["type"] == "json_object" and "json" not in str(body["messages"]).lower():
        message = (
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
        )
        raise refused(message, "messages")
    if asked["type"] == "json_schema":
        form = asked["json_schema"]
        if "schema" not in form:
            raise refused(
                "Missing required parameter: 'response_format.json_schema.schema'.",
                "response_format.json_schema.schema",
                "missing_required_parameter",
            )
        openai_schema.check(
            form["schema"], form["name"], "response_format", "response_format", strict=form.get("strict") is True
        )


def _conversation(messages: Sequence[Object], rules: Rules) -> None:
    """Tool messages answer the calls right before them, all of them, and nothing stands between."""
    unanswered: list[str] = []
    known: list[str] = []
    caller = 0
    for index, message in enumerate(messages):
        role, at = message["role"], f"messages.[{index}].role"
        if role == "tool":
            if message["tool_call_id"] not in known:
                text = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with"
                raise refused(f"{text} 'tool_calls'.", at)
            if message["tool_call_id"] in unanswered:
                unanswered.remove(str(message["tool_call_id"]))
            continue
        _all_answered(unanswered, caller)
        unanswered, known = [], []
        if role == "assistant":
            unanswered, known, caller = _called(message, index, rules), _called(message, index, rules), index
    _all_answered(unanswered, caller)


def _called(message: Object, index: int, rules: Rules) -> list[str]:
    """The ids of an assistant message's calls; it must say or call something."""
    if rules.is_known and "reasoning_content" in message:
        at = f"messages[{index}].reasoning_content"
        raise refused(f"Unknown parameter: '{at}'.", at, "unknown_parameter")
    calls = message.get("tool_calls")
    if message.get("content") is None and not calls and message.get("refusal") is None:
        at = f"messages.[{index}].content"
        raise refused("Invalid value for 'content': expected a string, got null.", at)
    return [str(call["id"]) for call in calls] if isinstance(calls, list) else []


def _all_answered(unanswered: list[str], index: int) -> None:
    if unanswered:
        message = (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: "
        )
        raise refused(message + ", ".join(unanswered), f"messages.[{index}].role")


# The same as a Messages request


def _messages(body: Json, rules: Rules) -> Json:
    given = body["messages"]
    assert isinstance(given, list)
    leading = next((index for index, each in enumerate(given) if each["role"] not in _INSTRUCTING), len(given))
    messages: list[Json] = []
    for index in range(leading, len(given)):
        role, blocks = _turn(given[index], ("messages", index))
        openai.add(messages, role, blocks)
    system = [block for index in range(leading) for block in _turn(given[index], ("messages", index))[1]]
    openai.check_breakpoints([{"content": system}, *messages], body, rules)
    effort = body.get("reasoning_effort")
    found: Json = {
        "model": body["model"],
        "system": system,
        "messages": messages or [{"role": "user", "content": []}],
        "max_tokens": body.get("max_completion_tokens") or body.get("max_tokens") or openai.MAX_OUTPUT_TOKENS,
        "stop_sequences": _stops(body.get("stop")),
        "tools": _of_tools(body),
        "tool_choice": _choice(body),
    }
    if rules.effort(str(effort) if effort else None) != "none":
        found["thinking"] = {"type": "adaptive", "display": "summarized"}
    asked = body.get("response_format")
    if isinstance(asked, dict) and asked["type"] != "text":
        schema = asked["json_schema"]["schema"] if asked["type"] == "json_schema" else {"type": "object"}
        found["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    return found


_INSTRUCTING = ("system", "developer")


def _stops(stop: object) -> list[str]:
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    return [str(each) for each in stops if each]


def _turn(message: Json, at: Path) -> tuple[str, list[Json]]:
    """A message's role and blocks."""
    role, blocks = str(message["role"]), _blocks(message.get("content"), (*at, "content"))
    if role == "tool":
        return "user", [{"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": blocks}]
    if role == "assistant":
        reasoned, refusal, calls = message.get("reasoning_content"), message.get("refusal"), message.get("tool_calls")
        if reasoned:
            blocks.insert(0, {"type": "thinking", "thinking": reasoned, "signature": ""})
        if refusal:
            blocks.append({"type": "text", "text": refusal})
        for call in calls if isinstance(calls, list) else ():
            name, given = call["function"]["name"], openai.arguments(call["function"]["arguments"])
            blocks.append({"type": "tool_use", "id": call["id"], "name": name, "input": given})
    return ("system" if role in _INSTRUCTING else role), blocks


def _blocks(content: object, at: Path) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    parts = content if isinstance(content, list) else []
    return [block for index, part in enumerate(parts) for block in _block(part, (*at, index))]


def _block(part: Json, at: Path) -> list[Json]:
    """A part's block; none for a text that is empty."""
    inner = part.get(str(part["type"]))
    if not isinstance(inner, dict):
        return [openai.marked(part, {"type": "text", "text": inner})] if inner else []
    if part["type"] == "image_url":
        return [openai.marked(part, openai.image(inner["url"], (*at, "image_url", "url")))]
    if "file_id" in inner:
        raise refused(f"File '{inner['file_id']}' not found.", openai.place((*at, "file", "file_id")))
    for name in ("file_data", "filename"):
        if name not in inner:
            where = openai.place((*at, "file", name))
            raise refused(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
    return [openai.marked(part, openai.document(inner["file_data"], inner["filename"], (*at, "file", "file_data")))]


def _of_tools(body: Json) -> list[Json]:
    tools, choice = body.get("tools"), body.get("tool_choice")
    allowed = _chosen(choice) if isinstance(choice, dict) and "allowed_tools" in choice else None
    made: list[Json] = [
        {
            "name": tool["function"]["name"],
            "description": tool["function"].get("description") or "",
            "input_schema": tool["function"].get("parameters") or {"type": "object", "properties": {}},
        }
        for tool in (tools if isinstance(tools, list) else [])
        if allowed is None or tool["function"]["name"] in allowed
    ]
    if body.get("web_search_options") is not None:
        made.append({"type": "web_search_20250305", "name": "web_search"})
    return made


def _choice(body: Json) -> Json | None:
    choice = body.get("tool_choice")
    single = {"disable_parallel_tool_use": True} if body.get("parallel_tool_calls") is False else {}
    if isinstance(choice, dict) and "function" in choice:
        return {"type": "tool", "name": choice["function"]["name"], **single}
    word = choice["allowed_tools"]["mode"] if isinstance(choice, dict) else choice
    if word == "none":
        return {"type": "none"}
    return {"type": "any" if word == "required" else "auto", **single} if word or single else None
