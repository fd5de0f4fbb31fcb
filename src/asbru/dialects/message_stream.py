"""The state machine that every translated stream goes through: deltas of any provider in, a valid Anthropic stream out.

A decoder says what it saw, in the order it saw it; `MessageStream` alone decides what that makes of events. Invariants,
whatever the decoder says and in whatever order:

1. Exactly one ``message_start``, first, with ``usage`` holding both counts.
2. Block indexes are 0, 1, 2, …; at most one block is open; a delta's type fits the open block. No two tool calls have
   the same id, and none has an empty one.
3. Tool calls that interleave upstream come out one after another: what belongs to a call that is not open, and text
   that comes while one is, is held back until the open one is closed. Nothing of a call is lost or cut short; a call
   that was opened is always closed, and its input begins with an empty delta.
4. Thinking is a block of its own; a signature is the delta before its stop: the decoder's, or one that says that
   there is none. Text that came before goes before.
5. ``stop_reason`` is derived from what was emitted: ``tool_use`` whenever a tool call was, unless the answer was cut
   (``max_tokens``) or refused. ``stop_sequence`` goes with the reason of that name, and with no other. A stream
   without a stop reason is an error.
6. It ends once: with ``message_delta`` (final usage) and ``message_stop``, or with one ``error`` event; then nothing.
7. Empty text and empty thinking open no block. Thinking that the client did not ask for opens none either: what clients
   read first is the answer. Its state alone goes, as an empty block, in front of the next tool call, if one comes.
8. Text ends before a stop sequence that the gateway watches for, and nothing comes after it but the end.

An answer that comes whole is said to a `MessageStream` too: one way to both, so that a client gets the same of both.
What was said is kept in the terms of `stream_events` until it is taken, as events or as the Message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from asbru.dialects import stream_events
from asbru.dialects.blobs import UNSIGNED
from asbru.dialects.messages import StopReason
from asbru.dialects.stopping import Watch
from asbru.dialects.stream_events import Said, stop_reason, usage_json
from asbru.dialects.upstream_json import REPLACEMENT, ArgumentPieces, is_high, join_halves
from asbru.record import Usage

Json = dict[str, Any]

MAX_HELD = 16 * 1024 * 1024  # characters


class _Tool:
    """A tool call: waiting for its turn, open, or (``done``) complete."""

    __slots__ = ("block", "done", "fragments", "pieces")

    def __init__(self, block: Json) -> None:
        self.block = block
        self.pieces = ArgumentPieces()
        self.fragments: list[str] = []
        self.done = False


class _Later:
    """Something other than a tool call that came while one was open: the call of `MessageStream` to make later."""

    __slots__ = ("kind", "parts")

    def __init__(self, kind: str, part: Any) -> None:
        self.kind = kind
        self.parts = [part]


class StreamError(Exception):
    """The provider's stream cannot be made into a valid one; ``type`` is an ``error.type`` of the Messages API."""

    def __init__(self, message: str, type: str = "api_error") -> None:
        super().__init__(message)
        self.message = message
        self.type = type


class ProviderError(StreamError):
    """The provider's own error inside an answer that began with status 200.

    ``of_model``: what the model wrote is at fault, which says nothing of the provider's health.
    """

    def __init__(self, message: str, type: str = "api_error", *, of_model: bool = False) -> None:
        super().__init__(message, type)
        self.of_model = of_model


class MessageStream:
    """See the module. `take` gives the events made since the last time, `message` all of an answer that came whole.

    ``message_id`` and ``model`` are what the client sees; ``show_thinking`` False empties thinking but keeps signatures
    (``display: omitted``), ``wants_thinking`` False leaves it out; ``stop_sequences`` are those that the provider does
    not watch for itself.
    """

    __slots__ = (
        "_cut",
        "_details",
        "_half",
        "_held",
        "_ids",
        "_index",
        "_kind",
        "_message_id",
        "_model",
        "_open_tool",
        "_queue",
        "_said",
        "_sequence",
        "_show_thinking",
        "_stop",
        "_tools",
        "_unwanted",
        "_wants_thinking",
        "_watch",
        "ended",
        "service_tier",
        "started",
        "tools_emitted",
        "usage",
    )

    def __init__(
        self,
        message_id: str,
        model: str,
        *,
        show_thinking: bool = True,
        wants_thinking: bool = True,
        stop_sequences: Sequence[str] = (),
    ) -> None:
        self._message_id = message_id
        self._model = model
        self._show_thinking = show_thinking
        self._wants_thinking = wants_thinking
        self._unwanted: list[str] = []
        """Signatures of thinking that was left out since the last tool call."""
        self._said: list[Said] = []
        # The open block, when `_kind` is not None
        self._index = -1
        self._kind: str | None = None
        self._half = ""  # of a character, at the end of its text or thinking
        self._open_tool: object = None
        # Tool calls by the decoder's key; `_queue` is what waits for its turn, in order: their keys, and `_Later`s
        self._tools: dict[object, _Tool] = {}
        self._queue: deque[object] = deque()
        self._held = 0
        self._ids: set[str] = set()
        self.tools_emitted = 0
        # Text on its way through the gateway's own stop sequences; `_cut` once one was met
        self._watch = Watch(stop_sequences) if stop_sequences else None
        self._cut = False
        # The end
        self._stop: StopReason | None = None
        self._sequence: str | None = None
        self._details: Json | None = None
        self.usage = Usage()
        """The counts so far; a decoder sets its fields."""
        self.service_tier: str | None = None
        """``standard`` or ``priority``, when the provider says which."""
        self.started = False
        self.ended = False

    def take(self) -> bytes:
        """The bytes of the events made since the last `take`."""
        said, self._said = self._said, []
        return stream_events.events(said)

    def message(self) -> bytes:
        """The Message of an answer that is over and of which nothing was taken; raises `StreamError` if it failed."""
        kind, _, value = self._said[-1]
        if kind == "error":
            raise StreamError(value["message"], value["type"])
        return stream_events.message(self._said)

    # The beginning

    def start(self) -> None:
        """The provider has begun to answer. Called by everything that needs it; repeated calls do nothing."""
        if self.started or self.ended:
            return
        self.started = True
        message: Json = {
            "id": self._message_id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": self._usage(),
        }
        self._said.append(("start", 0, message))

    # Blocks

    def text(self, text: str) -> None:
        """Some of the answer's text."""
        if text and not self._later("text", text):
            if self._half or text[-1] >= "\ud800" or text[0] >= "\ud800":
                self._into("text", {"type": "text", "text": ""})
                text = self._characters(text)
            if self._watch is None:
                self._say(text)
            else:
                self._say(self._watch.feed(text))
                if self._watch.matched is not None:
                    self._half = ""
                    self._close()
                    self.stop("stop_sequence", self._watch.matched)
                    self._cut = True

    def citation(self, citation: Mapping[str, object]) -> None:
        """A citation for the text that is open, or about to be."""
        if not self._later("citation", citation):
            self._into("text", {"type": "text", "text": "", "citations": []})
            self._said.append(("citation", self._index, citation))

    def thinking(self, text: str) -> None:
        """Some of the reasoning."""
        if text and self._wants_thinking and not self._later("thinking", text):
            self._into("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            if self._show_thinking:
                if self._half or text[-1] >= "\ud800" or text[0] >= "\ud800":
                    text = self._characters(text)
                self._said.append(("thinking", self._index, text))

    def signature(self, signature: str) -> None:
        """The reasoning's state, to be sent back: ends the thinking block, opening an empty one when none is open."""
        if signature and not self._later("signature", signature):
            if not self._wants_thinking:
                self._hold(len(signature))
                self._unwanted.append(signature)
                return
            self._into("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            self._close(signature)

    def end_block(self) -> None:
        """What comes next is another block, even if it is of the same kind. Tools are ended by `tool_end`."""
        if not self._later("end_block", None):
            self._leave_text()
            self._close()

    def block(self, block: Mapping[str, object]) -> None:
        """A whole block without deltas, such as a server tool's result."""
        if not self._later("block", block):
            self._leave_text()
            self._close()
            self._open("block", block)
            self._close()

    def _later(self, kind: str, part: object) -> bool:
        """Whether this has to wait, because a tool call is open (or the answer is over): then it is kept."""
        if self.ended or self._cut:
            return True
        if self._kind != "tool":
            return False
        self._hold(len(part) if isinstance(part, str) else 1024)
        last = self._queue[-1] if self._queue else None
        if isinstance(last, _Later) and last.kind == kind:
            last.parts.append(part)
        else:
            self._queue.append(_Later(kind, part))
        return True

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > MAX_HELD:
            raise StreamError("too much came while a tool call was open")

    def tool(self, key: object, id: str, name: str, kind: str = "tool_use", more: Json | None = None) -> None:
        """A tool call begins; ``key`` is how the decoder will refer to it. A repeated key does nothing.

        ``id`` may be empty or one that was there before: then the call gets one of its own. ``more`` is what else the
        block has, such as an MCP server's name.
        """
        if self.ended or key in self._tools:
            return
        self._tools[key] = _Tool({"type": kind, "id": self._own_id(id), "name": name, "input": {}, **(more or {})})
        if self._cut:
            return
        self._queue.append(key)
        self._turn()

    def _own_id(self, id: str) -> str:
        count = len(self._tools)
        if not id:
            id = f"toolu_{self._message_id.removeprefix('msg_')}_{count}"
        while id in self._ids:
            id = f"{id}_{count}"
        self._ids.add(id)
        return id

    def tool_json(self, key: object, fragment: str) -> None:
        """A piece of a tool call's input. Raises `StreamError` for a call that never began."""
        if self.ended or not fragment:
            return
        tool = self._tools.get(key)
        if tool is None:
            raise StreamError("a piece of a tool call came before its beginning")
        if not tool.done:
            self._input(key, tool, tool.pieces.feed(fragment))

    def _input(self, key: object, tool: _Tool, fragment: str) -> None:
        if not fragment:
            return
        if self._kind == "tool" and self._open_tool == key:
            self._said.append(("input", self._index, fragment))
        elif not self._cut:
            self._hold(len(fragment))
            tool.fragments.append(fragment)

    def tool_end(self, key: object) -> None:
        """A tool call is complete."""
        tool = self._tools.get(key)
        if self.ended or tool is None or tool.done:
            return
        self._input(key, tool, tool.pieces.end())
        tool.done = True
        if self._kind == "tool" and self._open_tool == key:
            self._close()
            self._turn()

    # The end

    def stop(self, reason: StopReason, sequence: str | None = None, details: Json | None = None) -> None:
        """Why it stopped, as the provider said; the end itself is `finish`."""
        if not self._cut:
            self._stop = reason
            self._sequence = sequence
            self._details = details

    @property
    def stopped(self) -> bool:
        """Whether the provider has said why it stopped."""
        return self._stop is not None

    def finish(self) -> None:
        """The provider's stream has ended: ends validly when it said why it stopped, otherwise with an error."""
        if self.ended:
            return
        if self._stop is None:
            self.fail("api_error", "The upstream's stream ended before the answer was complete")
            return
        self.start()
        self._end_tools()
        self._leave_text()
        self._close()
        reason = stop_reason(self._stop, self.tools_emitted)
        if reason == "stop_sequence" and self._sequence is None:
            reason = "end_turn"  # which one it was is not known
        sequence = self._sequence if reason == "stop_sequence" else None
        delta: Json = {"stop_reason": reason, "stop_sequence": sequence, "stop_details": self._details}
        self._said.append(("end", 0, {"delta": delta, "usage": self._usage()}))
        self.ended = True

    def fail(self, type: str, message: str) -> None:
        """End with an error event."""
        if not self.ended:
            self.ended = True
            self._said.append(("error", 0, {"type": type, "message": message}))

    # Within

    def _into(self, kind: str, block: Json) -> None:
        """Make the open block one of this kind."""
        if kind != "text":
            self._leave_text()
        if self._kind != kind:
            self._close()
            self._open(kind, block)

    def _open(self, kind: str, block: Mapping[str, object]) -> None:
        self.start()
        self._index += 1
        self._kind = kind
        self._said.append(("open", self._index, block))

    def _close(self, signature: str = UNSIGNED) -> None:
        if self._kind is not None:
            if self._half:
                self._half = ""
                self._said.append((self._kind, self._index, REPLACEMENT))
            if self._kind == "thinking":
                self._said.append(("signature", self._index, signature))
            self._said.append(("close", self._index, None))
            self._kind = None
            self._open_tool = None

    def _characters(self, text: str) -> str:
        """The text in whole characters; half of one at its end waits for the other."""
        text = self._half + text
        self._half = text[-1] if is_high(text[-1]) else ""
        return join_halves(text[:-1] if self._half else text)

    def _say(self, text: str) -> None:
        if text:
            self._into("text", {"type": "text", "text": ""})
            self._said.append(("text", self._index, text))

    def _leave_text(self) -> None:
        """Something other than text comes: what was held back as the beginning of a stop sequence is none."""
        if self._watch is not None:
            self._say(self._watch.end())

    def _turn(self) -> None:
        """While no tool call is open, let out what waits: a call opens, a complete one goes out whole."""
        while self._queue and self._kind != "tool" and not self._cut:
            turn = self._queue.popleft()
            if isinstance(turn, _Later):
                for part in turn.parts:
                    if turn.kind == "end_block":
                        self.end_block()
                    else:
                        getattr(self, turn.kind)(part)
                continue
            tool = self._tools[turn]
            self._leave_text()
            self._close()
            for signature in self._unwanted:
                self._open("thinking", {"type": "thinking", "thinking": "", "signature": ""})
                self._close(signature)
            self._unwanted.clear()
            self._open("tool", tool.block)
            self._open_tool = turn
            self.tools_emitted += tool.block["type"] == "tool_use"
            self._said.append(("input", self._index, ""))
            if tool.fragments:
                self._said.append(("input", self._index, "".join(tool.fragments)))
                tool.fragments.clear()
            if tool.done:
                self._close()

    def _end_tools(self) -> None:
        """The answer is over, so every tool call is complete, whether the provider said so or not."""
        for key, tool in self._tools.items():
            self._input(key, tool, tool.pieces.end())
            tool.done = True
        if self._kind == "tool":
            self._close()
        self._turn()

    def _usage(self) -> Json:
        usage = usage_json(self.usage)
        return usage if self.service_tier is None else {**usage, "service_tier": self.service_tier}
