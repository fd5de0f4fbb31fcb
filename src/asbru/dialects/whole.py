"""A Message from its stream's events, and a stream of events from a Message.

For the client that asked for one and the provider that can only do the other, and for jobs. `Joiner` accumulates as
the official SDKs do (contract/anthropic.md §4.1, §4.2), so that what it makes equals what they make of the same
events. `events` gives each block in one delta: nothing is gained by pretending it arrived slowly.
"""

from __future__ import annotations

from typing import Any

import msgspec

from asbru.dialects import json_text, sse
from asbru.dialects.bounds import LARGE_BYTES, BoundError, check
from asbru.dialects.upstream_json import INVALID, Reader, join_halves, mend_json
from asbru.limits import Limits

Json = dict[str, Any]

_SPREAD: dict[str, tuple[tuple[str, str, str], ...]] = {
    # block type -> (its field, the delta's type, the delta's field)
    "text": (("text", "text_delta", "text"),),
    "thinking": (("thinking", "thinking_delta", "thinking"), ("signature", "signature_delta", "signature")),
}
_INPUT_BLOCKS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_LIMITS = Limits()
_APPENDED = {
    # delta's type -> the block's field, the delta's field
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "input_json_delta": ("input", "partial_json"),
}
_REPLACED = {
    "signature_delta": ("signature",),
    "compaction_delta": ("content", "encrypted_content"),
}


def tool_input(text: str) -> msgspec.Raw | Json:
    """A tool call's input from what the model wrote, to be encoded as it is.

    What is no JSON object, cut by ``max_tokens`` or plainly wrong, goes on under the name that Anthropic documents for
    it, so that the client can answer.
    """
    text = mend_json(text)
    try:
        _object(text)
    except INVALID:
        return {"INVALID_JSON": text}
    return msgspec.Raw(text.encode())


_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

# What decoding raises for bytes that are no JSON or nested too deeply, and using them for a shape that is not expected.
_NONSENSE = (*INVALID, LookupError, TypeError, AttributeError)

_read_event = Reader(Json)
_read_message = Reader(Json, in_pieces=False)


class JoinError(ValueError):
    """The events do not make a Message; the text says why and holds none of the content."""


class Joiner:
    """Events in, in order; the Message out when `complete`."""

    def __init__(self) -> None:
        self._message: Json | None = None
        self._written: dict[tuple[int, str], list[str]] = {}
        """The deltas of each block's fields, joined once: piece by piece would be quadratic."""
        self.complete = False

    def feed(self, data: bytes) -> None:
        """One event's data; raises `JoinError` for one that does not follow from those before it.

        What comes after the end is not looked at.
        """
        if self.complete:
            return
        try:
            if len(data) > LARGE_BYTES:
                check(data, _LIMITS)
            self._take(_read_event(data))
        except (*_NONSENSE, BoundError) as error:
            raise JoinError("the stream's events do not make a Message") from error

    def _take(self, event: Json) -> None:
        kind = event["type"]
        if kind == "message_start":
            if self._message is not None:
                raise JoinError("the stream begins twice")
            self._message = event["message"]
            return
        if kind in ("ping", "error"):
            return
        message = self._message
        if message is None:
            raise JoinError("the stream does not begin with message_start")
        content: list[Json] = message["content"]
        if kind == "content_block_start":
            if event["index"] != len(content):
                raise JoinError("the stream's blocks are out of order")
            content.append(event["content_block"])
        elif kind == "content_block_delta":
            self._delta(event["index"], content[event["index"]], event["delta"])
        elif kind == "content_block_stop":
            self._stop(event["index"], content[event["index"]])
        elif kind == "message_delta":
            message |= {name: value for name, value in event.items() if name not in ("type", "delta", "usage")}
            message |= event["delta"]
            usage = {name: value for name, value in (event.get("usage") or {}).items() if value is not None}
            message["usage"] = {**message["usage"], **usage}
        elif kind == "message_stop":
            for index in {index for index, _ in self._written}:  # blocks that were never closed
                self._stop(index, content[index])
            self.complete = True

    def _delta(self, index: int, block: Json, delta: Json) -> None:
        kind = delta["type"]
        if kind in _APPENDED:
            field, said = _APPENDED[kind]
            self._written.setdefault((index, field), []).append(delta[said])
        elif kind == "citations_delta":
            if not block.get("citations"):
                block["citations"] = []
            block["citations"].append(delta["citation"])
        else:
            block |= {field: delta[field] for field in _REPLACED.get(kind, ()) if field in delta}

    def _stop(self, index: int, block: Json) -> None:
        for field in ("text", "thinking", "input"):
            text = "".join(self._written.pop((index, field), ()))
            if field != "input":
                if text:
                    block[field] = block.get(field, "") + text
                if isinstance(block.get(field), str):
                    block[field] = join_halves(block[field])
            elif text:
                block["input"] = tool_input(text)

    def message(self) -> bytes:
        """The Message as JSON; raises `JoinError` when the stream has not ended as it should."""
        if self._message is None or not self.complete:
            raise JoinError("the stream ended before the Message was complete")
        return json_text.encode(self._message)


def join(stream: bytes) -> bytes:
    """The Message of a whole stream; raises `JoinError`."""
    joiner = Joiner()
    try:
        for event in sse.Reader().feed(stream):
            joiner.feed(event.data)
    except sse.SseError as error:
        raise JoinError("the answer is not an event stream") from error
    return joiner.message()


def events(message: bytes) -> bytes:
    """The whole stream of a Message; raises `JoinError` when it is none."""
    try:
        whole = _read_message(message)
        blocks: list[Json] = whole["content"]
        # Some hosts count nothing; clients need both counts all the same.
        usage: Json = {"input_tokens": 0, "output_tokens": 0, **(whole.get("usage") or {})}
        start = {**whole, "content": [], "stop_reason": None, "stop_sequence": None}
        start["usage"] = {**usage, "output_tokens": min(1, usage["output_tokens"])}
        out = [_event({"type": "message_start", "message": start})]
        for index, block in enumerate(blocks):
            out += _block(index, block)
        end = {name: whole.get(name) for name in ("stop_reason", "stop_sequence")}
        end |= {name: whole[name] for name in ("stop_details", "container") if name in whole}
        out.append(_event({"type": "message_delta", "delta": end, "usage": usage}))
        out.append(_event({"type": "message_stop"}))
    except _NONSENSE as error:
        raise JoinError("the answer is not a Message") from error
    return b"".join(out)


def _block(index: int, block: Json) -> list[bytes]:
    kind = block["type"]
    if not isinstance(kind, str):
        raise TypeError("a block's type is a string")
    start = dict(block)
    citations = (block.get("citations") or ()) if kind == "text" else ()
    deltas: list[Json] = [{"type": "citations_delta", "citation": citation} for citation in citations]
    if citations:
        start["citations"] = []
    for field, delta, name in _SPREAD.get(kind, ()):
        if block.get(field):
            deltas.append({"type": delta, name: block[field]})
        start[field] = ""
    if kind in _INPUT_BLOCKS:
        deltas.append({"type": "input_json_delta", "partial_json": json_text.encode(block["input"]).decode()})
        start["input"] = {}
    return [
        _event({"type": "content_block_start", "index": index, "content_block": start}),
        *(_event({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas),
        _event({"type": "content_block_stop", "index": index}),
    ]


def _event(event: Json) -> bytes:
    return sse.encode(event["type"].encode(), json_text.encode(event))
