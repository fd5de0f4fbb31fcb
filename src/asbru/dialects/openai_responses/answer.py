"""What the provider answers: its structs, and how one output item is told to a `MessageStream`.

An `Output` tells one item at a time, from its events or, where there were none, from the item itself when it is done.
So a whole answer is a stream of items that were all done at once, and both make the same Message.
"""

from __future__ import annotations

from typing import Any

import msgspec

from asbru.dialects.codec import Context
from asbru.dialects.json_text import encode as to_json
from asbru.dialects.message_stream import MessageStream, StreamError
from asbru.dialects.messages import StopReason
from asbru.dialects.openai_common import REFUSAL, count, shown_tier
from asbru.dialects.openai_errors import in_answer
from asbru.dialects.openai_responses import hosted, state
from asbru.dialects.upstream_json import INVALID, Reader

Json = dict[str, Any]


class Annotation(msgspec.Struct):
    type: str | None = None
    url: str | None = None
    title: str | None = None


class Part(msgspec.Struct):
    """A part of a message's content, or of a reasoning's summary or text."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    annotations: list[Annotation] | None = None


class Item(msgspec.Struct):
    """An output item of any type; which fields are set depends on it."""

    type: str | None = None
    id: str | None = None
    status: str | None = None
    content: Any = None
    summary: Any = None
    encrypted_content: str | None = None
    phase: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: Any = None
    server_label: str | None = None
    output: Any = None
    error: Any = None
    action: Any = None


class _CacheDetails(msgspec.Struct):
    cached_tokens: float | None = None
    cache_write_tokens: float | None = None


class _ReasoningDetails(msgspec.Struct):
    reasoning_tokens: float | None = None


class _Usage(msgspec.Struct):
    input_tokens: float | None = None
    output_tokens: float | None = None
    input_tokens_details: _CacheDetails | None = None
    output_tokens_details: _ReasoningDetails | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class Response(msgspec.Struct):
    """The response object: whole, or as an event brings it."""

    status: str | None = None
    error: Any = None
    incomplete_details: _Incomplete | None = None
    output: list[Item] | None = None
    usage: _Usage | None = None
    service_tier: str | None = None


class _Count(msgspec.Struct):
    input_tokens: int


_response = Reader(Response)
_count = msgspec.json.Decoder(_Count).decode


def decode(body: bytes, context: Context) -> MessageStream:
    """See `Codec.decode`."""
    try:
        response = _response(body)
    except INVALID:
        raise StreamError("The provider's answer is not a response of the Responses API") from None
    stream = context.new_stream()
    output = Output(context, stream)
    if response.output is None and response.status is None and response.error is None:
        raise StreamError("The provider's answer is not a response of the Responses API")
    _count_usage(stream, response)
    stream.start()
    for index, item in enumerate(response.output or ()):
        output.begin(index, item)
        output.done(item)
    finish(stream, response, output.refused, context)
    return stream


def decode_count(body: bytes) -> int:
    """See `Codec.decode_count`."""
    try:
        return _count(body).input_tokens
    except INVALID:
        raise StreamError("The provider's answer is not a count of tokens") from None


def finish(stream: MessageStream, response: Response, refused: bool, context: Context) -> None:
    """The response is over; raises `StreamError` when it failed."""
    _count_usage(stream, response)
    if response.status in ("failed", "cancelled") or response.error is not None:
        raise in_answer(response.error or f"The response's status is {response.status}")
    if response.status in ("queued", "in_progress"):
        raise StreamError("The provider's answer is not complete")
    reason: StopReason = "end_turn"
    if response.status == "incomplete":
        said = response.incomplete_details.reason if response.incomplete_details is not None else None
        reason = "refusal" if said == "content_filter" else "max_tokens"
    elif context.quirks.completed_when_cut and 0 < context.max_output_tokens <= stream.usage.output_tokens:
        reason = "max_tokens"
    if refused:
        reason = "refusal"
    stream.stop(reason, details=REFUSAL if reason == "refusal" else None)
    stream.finish()


def _count_usage(stream: MessageStream, response: Response) -> None:
    said = response.usage
    if said is not None:
        usage, asked = stream.usage, count(said.input_tokens)
        cache = said.input_tokens_details or _CacheDetails()
        usage.cache_read_input_tokens = min(count(cache.cached_tokens), asked)
        asked -= usage.cache_read_input_tokens
        usage.cache_creation_input_tokens = min(count(cache.cache_write_tokens), asked)
        usage.input_tokens = asked - usage.cache_creation_input_tokens
        usage.output_tokens = count(said.output_tokens)
        thought = count((said.output_tokens_details or _ReasoningDetails()).reasoning_tokens)
        usage.thinking_tokens = min(thought, usage.output_tokens)
    stream.service_tier = shown_tier(response.service_tier) or stream.service_tier


class Output:
    """Tells the items, one at a time. ``refused`` once the model has."""

    __slots__ = ("_as_text", "_context", "_key", "_kind", "_open", "_part", "_said", "_stream", "_told", "refused")

    def __init__(self, context: Context, stream: MessageStream) -> None:
        self._context = context
        self._stream = stream
        self.refused = False
        # The open item
        self._open = False
        self._kind: str | None = None
        self._key: object = None
        self._said: str | None = None
        """The kind of event that has told some of it."""
        self._told: dict[tuple[str, int], list[str]] = {}
        """What was told of each of its parts, so that its whole adds what no delta said."""
        self._part = 0
        """Which part of its content or summary was told last."""
        self._as_text = False
        """It is the forced call whose input is the answer's text."""

    def begin(self, key: object, item: Item) -> None:
        """An item begins, and the one before it ends."""
        if self._open:
            self.done(Item(type=self._kind))
        self._open = True
        self._kind, self._key = item.type, key
        self._said, self._part, self._as_text = None, 0, False
        self._told = {}
        if item.type == "message":
            if item.phase and self._context.wants_thinking:
                self._stream.signature(state.seal_phase(self._context.provider, self._context.model, item.phase))
        elif item.type == "function_call":
            name = item.name or ""
            self._as_text = name == self._context.structured_tool
            if not name:
                raise StreamError("The provider called a tool without a name")
            if not self._as_text:
                shown = self._context.tool_names.get(name, name)
                self._stream.tool(key, self._context.client_tool_id(item.call_id or item.id or ""), shown)

    def text(self, text: str, part: int) -> None:
        """Some of a message's text."""
        if text:
            if part != self._part:
                self._stream.end_block()
                self._part = part
            self._said = "text"
            self._tell("text", part, text)
            self._stream.text(text)

    def whole_text(self, text: str, part: int) -> None:
        """All of a part of a message's text."""
        self.text(self._rest("text", part, text), part)

    def _tell(self, kind: str, part: int, text: str) -> None:
        self._told.setdefault((kind, part), []).append(text)

    def _rest(self, kind: str, part: int, whole: str) -> str:
        """What was not told of a part yet; nothing where something else was, or a later part has begun."""
        told = "".join(self._told.get((kind, part), ()))
        return whole[len(told) :] if part >= self._part and whole.startswith(told) else ""

    def refusal(self, text: str, part: int) -> None:
        self.refused = True
        self.text(text, part)

    def annotation(self, annotation: Annotation) -> None:
        citation = hosted.citation(annotation.type, annotation.url, annotation.title)
        if citation is not None:
            self._stream.citation(citation)

    def thinking(self, text: str, part: int, kind: str) -> None:
        """Some of a reasoning's summary or text: of whichever came first, where both come."""
        if not text:
            return
        if self._said is None:
            self._said, self._part = kind, part
        if self._said == kind:
            self._tell(kind, part, text)
            if part != self._part:
                self._part = part
                text = state.JOINT + text
            self._stream.thinking(text)

    def whole_thinking(self, text: str, part: int, kind: str) -> None:
        """All of a part of a reasoning's summary or text."""
        self.thinking(self._rest(kind, part, text), part, kind)

    def arguments(self, fragment: str) -> None:
        """Some of a tool call's input."""
        if fragment:
            self._said = "arguments"
            self._tell("arguments", 0, fragment)
            if self._as_text:
                self._stream.text(fragment)
            else:
                self._stream.tool_json(self._key, fragment)

    def whole_arguments(self, arguments: object) -> None:
        """All of a tool call's input."""
        if isinstance(arguments, dict):
            arguments = to_json(arguments).decode()
        if isinstance(arguments, str):
            self.arguments(self._rest("arguments", 0, arguments))

    def done(self, item: Item) -> None:
        """The open item is complete; what no event has told of it is told now."""
        self._open = False
        match self._kind:
            case "message":
                self._whole_message(_parts(item.content))
                self._stream.end_block()
            case "reasoning":
                self._reasoning(item)
            case "function_call":
                self.whole_arguments(item.arguments)
                if self._as_text:
                    self._stream.end_block()
                else:
                    self._stream.tool_end(self._key)
            case "web_search_call":
                action = item.action if isinstance(item.action, dict) else {}
                hosted.tell_search(self._stream, self._context, self._key, item.id or "", item.status, action)
            case "mcp_call" if item.id and item.name:
                call = {"arguments": item.arguments, "output": item.output, "error": item.error}
                hosted.tell_mcp_call(self._stream, self._key, item.id, item.server_label or "", item.name, call)

    def _whole_message(self, parts: list[Part]) -> None:
        for index, part in enumerate(parts):
            told = ("text", index) in self._told
            if part.refusal:
                self.refused = True
            self.whole_text(part.refusal or part.text or "", index)
            if not told and part.text:
                for annotation in part.annotations or ():
                    self.annotation(annotation)

    def _reasoning(self, item: Item) -> None:
        summary = [part.text for part in _parts(item.summary) if part.text]
        content = [part.text for part in _parts(item.content) if part.text]
        kind, whole = ("text", content) if self._said == "text" or not summary else ("summary", summary)
        for index, text in enumerate(whole):
            self.whole_thinking(text, index, kind)
        signature = state.seal_reasoning(
            self._context.provider, self._context.model, item.id or "", item.encrypted_content, summary, content
        )
        if signature:
            self._stream.signature(signature)
        else:
            self._stream.end_block()


def _parts(content: object) -> list[Part]:
    """An item's content or summary, where it is parts."""
    try:
        return msgspec.convert(content, list[Part]) if isinstance(content, list) else []
    except msgspec.ValidationError:
        return []
