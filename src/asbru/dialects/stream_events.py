"""What a `MessageStream` has decided to say, and the two ways to write it: as a stream's events, or as the Message.

`Said` is one event before it is bytes: what it is, the index of its block, and its value. `message` makes of an answer
what `whole.join` makes of its events, without writing and reading them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from asbru.dialects import json_text, sse
from asbru.dialects.messages import StopReason
from asbru.dialects.whole import tool_input
from asbru.record import Usage

Json = dict[str, Any]

Said = tuple[str, int, Any]
"""``start`` with the message and ``end`` with the `message_delta` event; ``open`` with the block and ``close``; a
delta, by a name of `_DELTA`, with its text or citation; ``error`` with the error."""

_encode = msgspec.json.encode

_HEAD = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":'
_DELTA: Final[dict[str, bytes]] = {
    "text": _HEAD + b'{"type":"text_delta","text":%b}}\n\n',
    "thinking": _HEAD + b'{"type":"thinking_delta","thinking":%b}}\n\n',
    "signature": _HEAD + b'{"type":"signature_delta","signature":%b}}\n\n',
    "input": _HEAD + b'{"type":"input_json_delta","partial_json":%b}}\n\n',
    "citation": _HEAD + b'{"type":"citations_delta","citation":%b}}\n\n',
}
_CLOSE = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def events(said: Sequence[Said]) -> bytes:
    """The bytes of the events."""
    if len(said) == 1:
        return _event(*said[0])
    return b"".join([_event(*one) for one in said])


def _event(kind: str, index: int, value: Any) -> bytes:
    delta = _DELTA.get(kind)
    if delta is not None:
        return delta % (index, _encode(value))
    if kind == "close":
        return _CLOSE % index
    if kind == "open":
        return _written("content_block_start", {"index": index, "content_block": value})
    if kind == "start":
        return _written("message_start", {"message": value})
    if kind == "end":
        return _written("message_delta", value) + _MESSAGE_STOP
    return _written("error", {"error": value})


def _written(type: str, fields: Json) -> bytes:
    return sse.encode(type.encode(), json_text.encode({"type": type, **fields}))


def message(said: Sequence[Said]) -> bytes:
    """The Message of a whole answer that did not fail."""
    whole: Json = {}
    content: list[Json] = []
    written: list[str] = []
    """The deltas of the open block's text, thinking or input, joined once: piece by piece would be quadratic."""
    for kind, _, value in said:
        if kind == "start":
            whole = {**value, "content": content}
        elif kind == "open":
            content.append(dict(value))
        elif kind == "close":
            block = content[-1]
            field = block["type"] if block["type"] in ("text", "thinking") else "input"
            text = "".join(written)
            if field != "input":
                block[field] += text
            elif text:
                block["input"] = tool_input(text)
            written.clear()
        elif kind == "end":
            usage = {name: count for name, count in value["usage"].items() if count is not None}
            whole = {**whole, **value["delta"], "usage": {**whole["usage"], **usage}}
        elif kind == "citation":
            if not content[-1].get("citations"):
                content[-1]["citations"] = []  # of its own: the block's may be another's
            content[-1]["citations"].append(value)
        elif kind == "signature":
            content[-1]["signature"] = value
        else:
            written.append(value)
    return json_text.encode(whole)


def stop_reason(said: StopReason, tools: int) -> StopReason:
    """The stop reason a client may rely on: agents go on calling tools only when they are told ``tool_use``."""
    if tools and said in ("end_turn", "stop_sequence", "tool_use"):
        return "tool_use"
    if not tools and said == "tool_use":
        return "end_turn"
    return said


def usage_json(usage: Usage) -> Json:
    """Usage as the Messages API gives it: every count an integer; cache writes by their TTL where that is known."""
    said: Json = {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_input_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.thinking_tokens},
    }
    if usage.cache_creation_5m_tokens or usage.cache_creation_1h_tokens:
        said["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_creation_5m_tokens,
            "ephemeral_1h_input_tokens": usage.cache_creation_1h_tokens,
        }
    return said
