"""Tool calls of a chat completion: told apart, and said to a `MessageStream`.

OpenAI numbers the calls of an answer. Hosts give several of them the same index, none, or another with each piece;
no ids, or a name with every piece. So a piece belongs to the call with its id, otherwise to the one with its index, and
begins another where it has a new id or name or where the call's arguments were a complete object already.

What a host wants to have back beside a call (``extra_content``: Gemini's thought signatures) is sealed with its id into
a thinking block in front of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from asbru.dialects import blobs, json_text
from asbru.dialects.codec import Context
from asbru.dialects.message_stream import MessageStream, StreamError
from asbru.dialects.openai_chat.wire import OPAQUE, Call
from asbru.dialects.whole import tool_input

Json = dict[str, Any]


class _ToolCall:
    """A tool call as far as it has come. It begins when its name is known; ``early`` is what came before."""

    __slots__ = ("begun", "early", "id", "input", "key", "name", "opaque", "structured")

    def __init__(self, key: int, id: str) -> None:
        self.key = key
        self.id = id
        self.name = ""
        self.begun = False
        self.early: list[str] = []
        self.structured = False
        self.opaque: Json = {}
        self.input = _Input()


_mark = re.compile(r'["\\{}\[\]]').finditer


class _Input:
    """What a call was given, and whether that is a whole object; each character is looked at once, if ever."""

    __slots__ = ("_depth", "_quoted", "_skip", "_unread", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._unread = 0  # pieces before this have been looked at
        self._depth = 0
        self._quoted = False
        self._skip = False  # an escape was cut behind its backslash

    def is_whole(self) -> bool:
        for piece in self.pieces[self._unread :]:
            self._read(piece)
        self._unread = len(self.pieces)
        return bool(self.pieces) and self._depth == 0 and not self._quoted and self.pieces[-1].rstrip()[-1:] == "}"

    def _read(self, piece: str) -> None:
        after = 1 if self._skip else 0  # of an escaped character
        self._skip = False
        for match in _mark(piece):
            at, mark = match.start(), match[0]
            if at < after:
                continue
            if self._quoted:
                if mark == "\\":
                    after = at + 2
                    self._skip = after > len(piece)
                elif mark == '"':
                    self._quoted = False
            elif mark == '"':
                self._quoted = True
            elif mark != "\\":
                self._depth += 1 if mark in "{[" else -1

    def repeats(self, text: str) -> bool:
        """Whether the text is all that there is."""
        return self.pieces == [text] or (len(text) == sum(map(len, self.pieces)) and text == "".join(self.pieces))


class Calls:
    """Says the pieces of calls to the stream."""

    __slots__ = ("_by_id", "_by_index", "_context", "_count", "_early_chars", "_last", "_next", "_stream")

    def __init__(self, context: Context, stream: MessageStream) -> None:
        self._context = context
        self._stream = stream
        self._by_index: dict[int, _ToolCall] = {}
        self._by_id: dict[str, _ToolCall] = {}
        self._last: _ToolCall | None = None
        self._next = 0
        """Above every index so far."""
        self._early_chars = 0
        self._count = 0

    def piece(self, piece: Call) -> None:
        """A piece of a call."""
        function = piece.function
        name = (function.name if function is not None else None) or ""
        arguments = _text(function.arguments) if function is not None else ""
        call = self._find(piece, name, arguments)
        if call is None:
            return
        if not call.begun:
            call.id = call.id or piece.id or ""
            call.opaque |= {field: value for field in OPAQUE if isinstance(value := getattr(piece, field), dict)}
            if name:
                self._begin(call, name)
        if arguments:
            self._input(call, arguments)

    def whole(self, calls: Sequence[Call]) -> None:
        """The calls of a whole answer: each is one, and its input is made sound, which a stream's cannot be."""
        for index, call in enumerate(calls):
            if call.function is not None:
                text = _text(call.function.arguments)
                call.function.arguments = json_text.encode(tool_input(text)).decode() if text.strip() else "{}"
            self._by_id.clear()
            call.index = index
            self.piece(call)

    def end(self) -> None:
        """No more is coming."""
        if not self._stream.ended and any(not call.begun for call in self._by_index.values()):
            raise StreamError("a tool call has no name")

    def _find(self, piece: Call, name: str, arguments: str) -> _ToolCall | None:
        """The call that a piece belongs to; None for a repetition of what was said."""
        id = piece.id or ""
        known = self._by_id.get(id) if id else None
        if known is None and piece.index is not None:
            known = self._by_index.get(piece.index)
        elif known is None and not id and not name:
            known = self._last
        if known is None:
            return self._new(piece, id)
        if known.begun and (name or id or (arguments[:1] == "{" and known.input.pieces)):
            # fast path: nearly all pieces have neither name nor id, and none but the first begins with a brace
            other_id = bool(id and known.id and id != known.id)
            if name and other_id:
                return self._new(piece, id)
            if name and name != known.name and (not known.input.pieces or known.input.is_whole()):
                return self._new(piece, id)
            if arguments.strip() and known.input.is_whole():
                if not other_id and (id or not name) and known.input.repeats(arguments):
                    return None
                if other_id or not id:
                    return self._new(piece, id, name or known.name)
        self._last = known
        return known

    def _new(self, piece: Call, id: str, name: str = "") -> _ToolCall:
        self._count += 1
        index = piece.index if piece.index is not None else self._next
        self._next = max(self._next, index + 1)
        call = self._by_index[index] = self._last = _ToolCall(self._count, id)
        if id:
            self._by_id[id] = call
        if name:
            call.opaque |= {field: value for field in OPAQUE if isinstance(value := getattr(piece, field), dict)}
            self._begin(call, name)
        return call

    def _begin(self, call: _ToolCall, name: str) -> None:
        call.begun = True
        call.name = name
        call.structured = name == self._context.structured_tool
        if not call.structured:
            if call.opaque:
                state = {"call": call.id, "beside": call.opaque}
                self._stream.signature(blobs.seal(self._context.provider, self._context.model, state))
            shown = self._context.tool_names.get(name, name)
            self._stream.tool(call.key, self._context.client_tool_id(call.id), shown)
        if call.early:
            early = "".join(call.early)
            call.early.clear()
            self._input(call, early)

    def _input(self, call: _ToolCall, fragment: str) -> None:
        if not call.begun:
            call.early.append(fragment)
            self._early_chars += len(fragment)
            if self._early_chars > blobs.MAX_CHARS:
                raise StreamError("a tool call has no name")
            return
        call.input.pieces.append(fragment)
        if call.structured:
            self._stream.text(fragment)
        else:
            self._stream.tool_json(call.key, fragment)


def _text(arguments: str | Json | None) -> str:
    """A piece of input as text. ``null`` by itself is how some hosts say that there is none."""
    if isinstance(arguments, dict):
        return json_text.encode(arguments).decode()
    return "" if arguments is None or arguments == "null" else arguments
