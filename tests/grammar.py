"""An independent checker of Messages streams: is this byte stream what contract/anthropic.md §4 says it must be?

`check` takes the whole body of a ``text/event-stream`` response, raises `GrammarError` (an AssertionError) with what is
wrong at which event, and returns what it read: the events, the message put together from them, the error if the stream
ended with one. It shares no code with anything it checks, and is strict where clients are lenient: what one client
tolerates another does not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import NoReturn

Json = dict[str, object]

DELTAS: dict[str, set[str]] = {
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
    "server_tool_use": {"input_json_delta"},
    "mcp_tool_use": {"input_json_delta"},
    "compaction": {"compaction_delta"},
}
"""Which deltas a block takes; blocks that are not here come whole in their start."""
WHOLE = {"redacted_thinking", "container_upload", "fallback", "mcp_tool_listing"}
STOP_REASONS = {
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
    "compaction",
}
ERROR_TYPES = {
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "conflict_error",
    "request_too_large",
    "rate_limit_error",
    "timeout_error",
    "api_error",
    "overloaded_error",
    "not_supported",
    "policy_blocked",
}
TOOL_STOPS = STOP_REASONS - {"end_turn"}
"""With a tool call in the message, the stop reason is one of these: ``end_turn`` would make agents stop silently."""


class GrammarError(AssertionError):
    """The stream breaks a rule."""


@dataclass
class Stream:
    """What a valid stream said."""

    events: list[Json] = field(default_factory=list)
    message: Json = field(default_factory=dict)
    """The message as a client puts it together; as far as it came when the stream ended with an error."""
    error: Json | None = None
    pings: int = 0
    comments: int = 0
    deltas: list[Json] = field(default_factory=list)

    def texts(self) -> list[str]:
        """The text deltas, each by itself."""
        return [str(delta["text"]) for delta in self.deltas if delta["type"] == "text_delta"]

    def text(self) -> str:
        return "".join(self.texts())


def check(body: bytes, *, error: bool | None = False, inputs: bool = True) -> Stream:
    """Check the body of a stream from its first byte to its last.

    ``error`` says how it must end: with an ``error`` event (True), with ``message_stop`` (False), either (None).
    ``inputs`` False: the model was cut within a tool's input, or wrote none that is JSON; the block keeps ``{}``.
    """
    checker = _Checker(inputs)
    for number, block in enumerate(_blocks(body), 1):
        checker.number = number
        if all(line.startswith(b":") for line in block):
            checker.stream.comments += 1
        else:
            checker.event(*_fields(block, number))
    checker.end()
    if error is not None and (checker.stream.error is not None) != error:
        raise GrammarError(f"the stream ended with {'an error' if checker.stream.error else 'message_stop'}")
    return checker.stream


def _blocks(body: bytes) -> list[list[bytes]]:
    """The events as lists of their lines."""
    if not body:
        raise GrammarError("the stream is empty")
    if b"\r" in body:
        raise GrammarError("the stream has carriage returns")
    if not body.endswith(b"\n\n"):
        raise GrammarError(f"the stream does not end with an empty line but with {body[-60:]!r}")
    blocks = body[:-2].split(b"\n\n")
    if not all(blocks):
        raise GrammarError("there are empty events")
    return [block.split(b"\n") for block in blocks]


def _fields(lines: list[bytes], number: int) -> tuple[str, Json]:
    names = [line.partition(b": ")[0] for line in lines]
    if names != [b"event", b"data"]:
        raise GrammarError(f"event {number}: expected one event line and one data line, found {names}")
    kind, text = (line.partition(b": ")[2] for line in lines)
    try:
        data = json.loads(text.decode("utf-8"))
    except ValueError as broken:
        raise GrammarError(f"event {number}: data is not JSON: {broken}") from broken
    if not isinstance(data, dict):
        raise GrammarError(f"event {number}: data is not an object")
    if data.get("type") != kind.decode():
        raise GrammarError(f"event {number}: named {kind!r} but its type is {data.get('type')!r}")
    return kind.decode(), data


class _Checker:
    def __init__(self, inputs: bool) -> None:
        self.inputs = inputs
        self.stream = Stream()
        self.number = 0
        self.started = False
        self.delta_seen = False
        self.stopped = False
        self.next_index = 0
        self.open: Json | None = None
        self.json_text = ""
        self.signature_seen = False

    def wrong(self, what: str) -> NoReturn:
        raise GrammarError(f"event {self.number}: {what}")

    def need(self, condition: object, what: str) -> None:
        if not condition:
            self.wrong(what)

    def event(self, kind: str, data: Json) -> None:
        self.need(not self.stopped, f"{kind} after message_stop")
        self.need(self.stream.error is None, f"{kind} after an error")
        self.stream.events.append(data)
        if kind == "ping":
            self.stream.pings += 1
            return
        if kind == "error":
            self.on_error(data)
            return
        if kind == "message_start":
            self.need(not self.started, "a second message_start")
            self.on_start(data)
            return
        self.need(self.started, f"{kind} before message_start")
        match kind:
            case "content_block_start":
                self.on_block_start(data)
            case "content_block_delta":
                self.on_block_delta(data)
            case "content_block_stop":
                self.on_block_stop(data)
            case "message_delta":
                self.on_delta(data)
            case "message_stop":
                self.need(self.delta_seen, "message_stop without message_delta")
                self.stopped = True
            case _:
                self.wrong(f"unknown event {kind}")

    def on_error(self, data: Json) -> None:
        error = data.get("error")
        if not isinstance(error, dict):
            self.wrong("error event without an error object")
        self.need(error.get("type") in ERROR_TYPES, f"unknown error type {error.get('type')!r}")
        self.need(isinstance(error.get("message"), str) and error["message"], "error without a message")
        self.need(isinstance(data.get("request_id", ""), str), "request_id of an error is not a string")
        self.stream.error = error

    def on_start(self, data: Json) -> None:
        message = data.get("message")
        if not isinstance(message, dict):
            self.wrong("message_start without a message")
        for name in ("id", "model"):
            self.need(isinstance(message.get(name), str) and message[name], f"message without {name}")
        self.need(message.get("type") == "message", "message's type is not message")
        self.need(message.get("role") == "assistant", "message's role is not assistant")
        self.need(message.get("content") == [], "content in message_start")
        self.need("stop_reason" in message and message["stop_reason"] is None, "stop_reason in message_start")
        self.need(message.get("stop_sequence") is None, "stop_sequence in message_start")
        self.usage(message.get("usage"), ("input_tokens", "output_tokens"))
        self.started = True
        self.stream.message = json.loads(json.dumps(message))

    def usage(self, usage: object, required: tuple[str, ...]) -> Json:
        if not isinstance(usage, dict):
            self.wrong("usage is not an object")
        for name in required:
            self.need(name in usage, f"usage without {name}")
        for name, value in usage.items():
            if name.endswith("_tokens") and (name in required or value is not None):
                number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
                self.need(number, f"usage.{name} is {value!r}")
        return usage

    def content(self) -> list[Json]:
        content = self.stream.message["content"]
        assert isinstance(content, list)
        return content

    def on_block_start(self, data: Json) -> None:
        self.need(self.open is None, "a block starts while another is open")
        self.need(not self.delta_seen, "a block starts after message_delta")
        self.need(data.get("index") == self.next_index, f"index {data.get('index')!r}, expected {self.next_index}")
        block = data.get("content_block")
        if not isinstance(block, dict):
            self.wrong("content_block_start without a block")
        kind = block.get("type")
        known = kind in DELTAS or kind in WHOLE or str(kind).endswith("_tool_result")
        self.need(known, f"unknown block type {kind!r}")
        if kind == "text":
            self.need(block.get("text") == "", "a text block does not start empty")
            self.need(block.get("citations") in (None, []), "citations in the start of a text block")
        if kind == "thinking":
            self.need(block.get("thinking") == "" and block.get("signature") == "", "thinking does not start empty")
        if kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
            self.need(block.get("input") == {}, "a tool call does not start with an empty input")
            for name in ("id", "name"):
                self.need(isinstance(block.get(name), str) and block[name], f"tool call without {name}")
            self.need(block["id"] not in [other.get("id") for other in self.content()], "a tool call's id again")
        if kind == "redacted_thinking":
            self.need(isinstance(block.get("data"), str) and block["data"], "redacted_thinking without data")
        if str(kind).endswith("_tool_result"):
            self.need(isinstance(block.get("tool_use_id"), str), "a result without tool_use_id")
            self.need("content" in block, "a result without content")
        self.open = dict(block)
        self.json_text = ""
        self.signature_seen = False
        self.content().append(self.open)

    def on_block_delta(self, data: Json) -> None:
        block, delta = self.open, data.get("delta")
        if block is None:
            self.wrong("a delta while no block is open")
        if not isinstance(delta, dict):
            self.wrong("content_block_delta without a delta")
        self.need(data.get("index") == self.next_index, f"delta for index {data.get('index')!r}")
        kind = delta.get("type")
        allowed = DELTAS.get(str(block["type"]), set())
        self.need(kind in allowed, f"{kind!r} in a block of type {block['type']!r}")
        self.need(not self.signature_seen, "a delta after the signature")
        self.stream.deltas.append(delta)
        match kind:
            case "text_delta":
                block["text"] = self.string(block, "text") + self.string(delta, "text")
            case "thinking_delta":
                block["thinking"] = self.string(block, "thinking") + self.string(delta, "thinking")
            case "signature_delta":
                self.need(self.string(delta, "signature"), "an empty signature")
                block["signature"] = delta["signature"]
                self.signature_seen = True
            case "input_json_delta":
                self.json_text += self.string(delta, "partial_json")
            case "citations_delta":
                self.need(isinstance(delta.get("citation"), dict), "citations_delta without a citation")
                cited = block.get("citations") or []
                assert isinstance(cited, list)
                block["citations"] = [*cited, delta["citation"]]
            case "compaction_delta":
                block |= {name: value for name, value in delta.items() if name != "type"}

    def string(self, holder: Json, name: str) -> str:
        value = holder.get(name)
        if not isinstance(value, str):
            self.wrong(f"{name} is {value!r}")
        return value

    def on_block_stop(self, data: Json) -> None:
        block = self.open
        if block is None:
            self.wrong("content_block_stop while no block is open")
        self.need(data.get("index") == self.next_index, f"stop of index {data.get('index')!r}")
        if block["type"] == "thinking":
            self.need(self.signature_seen, "a thinking block without signature")
        if block["type"] in ("tool_use", "server_tool_use", "mcp_tool_use") and self.inputs:
            try:
                value = json.loads(self.json_text or "{}")
            except ValueError:
                self.wrong(f"tool input is not JSON: {self.json_text!r}")
            self.need(isinstance(value, dict), f"tool input is not an object: {self.json_text!r}")
            block["input"] = value
        self.open = None
        self.next_index += 1

    def on_delta(self, data: Json) -> None:
        self.need(self.open is None, "message_delta while a block is open")
        self.need(not self.delta_seen, "a second message_delta")
        delta = data.get("delta")
        if not isinstance(delta, dict):
            self.wrong("message_delta without a delta")
        reason = delta.get("stop_reason")
        self.need(reason in STOP_REASONS, f"stop_reason is {reason!r}")
        self.need("stop_sequence" in delta, "message_delta without stop_sequence")
        ended_by_sequence = isinstance(delta["stop_sequence"], str)
        self.need(ended_by_sequence == (reason == "stop_sequence"), "stop_sequence does not fit stop_reason")
        calls = any(block["type"] == "tool_use" for block in self.content())
        self.need(not calls or reason in TOOL_STOPS, f"a tool call, but stop_reason {reason!r}")
        self.need(calls or reason != "tool_use", "stop_reason tool_use without a tool call")
        self.merge_usage(self.usage(data.get("usage"), ("output_tokens",)))
        self.stream.message |= delta
        self.stream.message |= {name: data[name] for name in data if name not in ("type", "delta", "usage")}
        self.delta_seen = True

    def merge_usage(self, usage: Json) -> None:
        """Counts are cumulative: the last ones are the final ones and never fall."""
        before = self.stream.message["usage"]
        assert isinstance(before, dict)
        for name, value in usage.items():
            earlier = before.get(name)
            if name.endswith("_tokens") and isinstance(value, int) and isinstance(earlier, int):
                self.need(value >= earlier, f"usage.{name} falls from {earlier} to {value}")
            if value is not None:
                before[name] = value

    def end(self) -> None:
        if self.stream.error is None and not self.stopped:
            raise GrammarError("the stream ends without message_stop and without an error")
