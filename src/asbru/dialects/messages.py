"""The hub: Anthropic Messages as typed structs, open to what they do not know.

Only a request that goes to another dialect is read into these; a relayed one never is. `parse` keeps what it does not
know where a codec can see it: top-level fields in `Request.unknown`, block types as `Unknown`, so that they end as a
named loss or a refusal and never by silence. Facts: contract/anthropic.md §2.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from asbru.dialects.bounds import LARGE_BYTES, check_request
from asbru.limits import Limits

Json = dict[str, Any]

StopReason = Literal[
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
    "compaction",
]


class Part(msgspec.Struct, kw_only=True):
    """Base of everything: extra fields are allowed and ignored, unless a codec asks for them."""


class Source(Part, kw_only=True):
    """Where an image or a document comes from; which fields are set depends on ``type``."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: str | list[Json] | None = None


class Text(Part, kw_only=True):
    type: Literal["text"] = "text"
    text: str
    citations: list[Json] | None = None
    cache_control: Json | None = None


class Image(Part, kw_only=True):
    type: Literal["image"] = "image"
    source: Source
    cache_control: Json | None = None


class Document(Part, kw_only=True):
    type: Literal["document"] = "document"
    source: Source
    title: str | None = None
    context: str | None = None
    citations: Json | None = None
    cache_control: Json | None = None


class SearchResult(Part, kw_only=True):
    type: Literal["search_result"] = "search_result"
    source: str
    title: str
    content: list[Text]
    citations: Json | None = None
    cache_control: Json | None = None


class Thinking(Part, kw_only=True):
    type: Literal["thinking"] = "thinking"
    thinking: str
    signature: str = ""


class RedactedThinking(Part, kw_only=True):
    type: Literal["redacted_thinking"] = "redacted_thinking"
    data: str


class ToolUse(Part, kw_only=True):
    type: Literal["tool_use"] = "tool_use"
    id: str
    name: str
    input: Json
    toolset_name: str | None = None
    cache_control: Json | None = None


class Unknown(msgspec.Struct):
    """A block of a type that has no struct here: server tools' blocks, MCP's, and those of the future."""

    type: str
    raw: Json

    @property
    def cache_control(self) -> Json | None:
        value = self.raw.get("cache_control")
        return value if isinstance(value, dict) else None


class ToolResult(msgspec.Struct, kw_only=True):
    tool_use_id: str
    content: list[Block]
    is_error: bool = False
    cache_control: Json | None = None
    type: Literal["tool_result"] = "tool_result"


Block = Text | Image | Document | SearchResult | Thinking | RedactedThinking | ToolUse | ToolResult | Unknown


class Turn(msgspec.Struct):
    """One message; ``content`` is always blocks. ``was_text``: the client sent a plain string."""

    role: Literal["user", "assistant", "system"]
    content: list[Block]
    was_text: bool = False
    output_config: Json | None = None


class Tool(Part, kw_only=True):
    """Any tool. ``type`` None or ``custom`` is one of the client's own; others are Anthropic's, by their name."""

    type: str | None = None
    name: str = ""
    description: str | None = None
    input_schema: Json | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    allowed_callers: list[str] | None = None
    input_examples: list[Json] | None = None
    eager_input_streaming: bool | None = None
    cache_control: Json | None = None
    max_uses: int | None = None
    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None
    user_location: Json | None = None
    mcp_server_name: str | None = None
    default_config: Json | None = None
    configs: Json | None = None

    @property
    def is_custom(self) -> bool:
        return self.type in (None, "custom")


class ToolChoice(Part, kw_only=True):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class ThinkingConfig(Part, kw_only=True):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class Format(Part, kw_only=True):
    type: str
    schema: Json


class OutputConfig(Part, kw_only=True):
    effort: str | None = None
    format: Format | None = None
    task_budget: Json | None = None


class Request(msgspec.Struct, kw_only=True):
    """A Messages request. ``output_format``, the older place of ``output_config.format``, has been moved there."""

    model: str
    max_tokens: int
    messages: list[Turn]
    system: list[Text] = []
    stream: bool = False
    tools: list[Tool] = []
    tool_choice: ToolChoice | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    stop_sequences: list[str] = []
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    user_id: str | None = None
    service_tier: str | None = None
    speed: str | None = None
    cache_control: Json | None = None
    """Automatic caching, at the top level."""
    mcp_servers: list[Json] = []
    unknown: Json = {}
    """Every other top-level field, known to the API or not, that has a value."""


class MessagesError(ValueError):
    """The body is no Messages request; the message names the field as the API does: ``messages.0.role: …``."""


_BLOCKS: dict[str, type[Text | Image | Document | SearchResult | Thinking | RedactedThinking | ToolUse]] = {
    "text": Text,
    "image": Image,
    "document": Document,
    "search_result": SearchResult,
    "thinking": Thinking,
    "redacted_thinking": RedactedThinking,
    "tool_use": ToolUse,
}


class _ToolResultHead(Part, kw_only=True):
    tool_use_id: str
    is_error: bool | None = None
    cache_control: Json | None = None


class _Metadata(Part, kw_only=True):
    user_id: str | None = None


class _Head(Part, kw_only=True):
    """The top level, as far as msgspec can check it by itself."""

    model: str
    messages: list[Json]
    max_tokens: int | None = None
    system: str | list[Text] | None = None
    stream: bool | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    metadata: _Metadata | None = None
    service_tier: str | None = None
    speed: str | None = None
    cache_control: Json | None = None
    mcp_servers: list[Json] | None = None


T = TypeVar("T")

_PLAIN_LIMITS = Limits()
_KNOWN = frozenset(_Head.__struct_fields__)
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_decode_raws = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_value = msgspec.json.Decoder(Any).decode


def parse(body: bytes, limits: Limits = _PLAIN_LIMITS, *, counting: bool = False) -> Request:
    """Read a request; raises `MessagesError`, and `BoundError` for one that holds too much.

    One that is ``counting`` tokens needs no ``max_tokens``.
    """
    try:
        fields = _fields(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise MessagesError("The request body is not a JSON object") from None
    except RecursionError:
        raise MessagesError("The request body is nested too deeply") from None
    check_request(fields, limits, len(body))
    head = _convert(fields, _Head, "")
    if head.max_tokens is None and not counting:
        raise MessagesError("max_tokens: Field required")
    if not head.messages:
        raise MessagesError("messages: at least one message is required")
    if head.tool_choice is not None and head.tool_choice.type == "tool" and not head.tool_choice.name:
        raise MessagesError("tool_choice.name: Field required")
    output = head.output_config
    if head.output_format is not None:
        output = msgspec.structs.replace(output or OutputConfig(), format=head.output_format)
    system = head.system or []
    return Request(
        model=head.model,
        max_tokens=1 if head.max_tokens is None else head.max_tokens,
        messages=[_turn(message, f"messages.{index}") for index, message in enumerate(head.messages)],
        system=[Text(text=system)] if isinstance(system, str) else system,
        stream=bool(head.stream),
        tools=head.tools or [],
        tool_choice=head.tool_choice,
        thinking=head.thinking,
        output_config=output,
        stop_sequences=head.stop_sequences or [],
        temperature=head.temperature,
        top_p=head.top_p,
        top_k=head.top_k,
        user_id=head.metadata.user_id if head.metadata is not None else None,
        service_tier=head.service_tier,
        speed=head.speed,
        cache_control=head.cache_control,
        mcp_servers=head.mcp_servers or [],
        unknown={name: value for name, value in fields.items() if name not in _KNOWN and value is not None},
    )


def _fields(body: bytes) -> Json:
    """The top level and everything in it; of a large body in many short steps, so that no other thread waits long."""
    if len(body) <= LARGE_BYTES:
        return _decode(body)
    fields: Json = {}
    for name, raw in _decode_raws(body).items():
        if memoryview(raw)[0] == ord("["):
            fields[name] = [_decode_value(item) for item in _decode_items(raw)]
        else:
            fields[name] = _decode_value(raw)
    return fields


def _turn(message: Json, path: str) -> Turn:
    role = message.get("role")
    if role not in ("user", "assistant", "system"):
        raise MessagesError(f"{path}.role: Input should be 'user', 'assistant' or 'system'")
    content = message.get("content")
    output_config = message.get("output_config")
    if output_config is not None and not isinstance(output_config, dict):
        raise MessagesError(f"{path}.output_config: Input should be a valid dictionary")
    if isinstance(content, str):
        return Turn(role, [Text(text=content)], True, output_config)
    if content is None and role == "system":
        content = []
    return Turn(role, blocks(content, f"{path}.content"), False, output_config)


def blocks(content: object, path: str) -> list[Block]:
    """A list of blocks as it stands in a message or a tool result; raises `MessagesError`."""
    if not isinstance(content, list):
        raise MessagesError(f"{path}: Input should be a valid string or list")
    return [_block(item, f"{path}.{index}") for index, item in enumerate(content)]


def _block(item: object, path: str) -> Block:
    if not isinstance(item, dict) or not isinstance(item.get("type"), str):
        raise MessagesError(f"{path}.type: Field required")
    kind = item["type"]
    struct = _BLOCKS.get(kind)
    if struct is not None:
        return _convert(item, struct, path)
    if kind != "tool_result":
        return Unknown(kind, item)
    head = _convert(item, _ToolResultHead, path)
    content = item.get("content")
    if isinstance(content, str):
        parts: list[Block] = [Text(text=content)] if content else []
    else:
        parts = [] if content is None else blocks(content, f"{path}.content")
    return ToolResult(
        tool_use_id=head.tool_use_id, content=parts, is_error=bool(head.is_error), cache_control=head.cache_control
    )


def _convert(value: object, type: type[T], path: str) -> T:
    try:
        return msgspec.convert(value, type)
    except msgspec.ValidationError as error:
        raise MessagesError(_named(str(error), path)) from None


def _named(message: str, path: str) -> str:
    """msgspec's words with the field first, as the API has it: ``messages.0.content.1.text: Expected `str` …``."""
    text, _, where = message.partition(" - at `$")
    within = where.rstrip("`").replace("[", ".").replace("]", "").lstrip(".")
    field = ".".join(part for part in (path, within) if part)
    return f"{field}: {text}" if field else text
