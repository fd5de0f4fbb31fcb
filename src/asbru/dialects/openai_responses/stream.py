"""The Responses API's event stream, told to a `MessageStream` item by item.

Items may interleave; Messages' blocks may not. The item whose event comes first is told at once; what comes for
another one meanwhile is held, and told when the first is done, in the order of ``output_index``.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import msgspec

from asbru.dialects import sse
from asbru.dialects.codec import Context
from asbru.dialects.message_stream import MAX_HELD, StreamError
from asbru.dialects.openai_errors import in_answer
from asbru.dialects.openai_responses.answer import (
    Annotation,
    Item,
    Output,
    Part,
    Response,
    finish,
)
from asbru.dialects.upstream_json import INVALID, MAX_EVENT_VALUES, Reader


class Event(msgspec.Struct):
    """An event of any type; which fields are set depends on it."""

    type: str | None = None
    output_index: int | None = None
    delta: str | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: Any = None
    content_index: int | None = None
    summary_index: int | None = None
    item: Item | None = None
    part: Part | None = None
    annotation: Annotation | None = None
    response: Response | None = None
    error: Any = None
    code: Any = None
    message: Any = None


class _Named(msgspec.Struct):
    """No more of an event than its name."""

    type: str | None = None


_event = Reader(Event, max_values=MAX_EVENT_VALUES)
_named = Reader(_Named, max_values=MAX_EVENT_VALUES)


class EventDecoder:
    """See `Decoder`."""

    __slots__ = (
        "_context",
        "_held",
        "_held_bytes",
        "_index",
        "_items",
        "_output",
        "_reader",
        "_seen",
        "_waiting",
        "stream",
    )

    def __init__(self, context: Context) -> None:
        self.stream = context.new_stream()
        self._context = context
        self._reader = sse.Reader()
        self._output = Output(context, self.stream)
        self._items = 0
        """How many items have begun."""
        self._seen: set[object] = set()
        """Their indexes, where the host gives any, and their ids."""
        self._index: int | None = None
        """The item that is open."""
        self._held: dict[int, list[Event]] = {}
        """Events of items that wait for it, by their index."""
        self._held_bytes = 0
        self._waiting: list[int] = []
        """The indexes of `_held`, as a heap."""

    def feed(self, data: bytes) -> bytes:
        """See `Decoder.feed`; raises `StreamError`."""
        try:
            events = self._reader.feed(data)
        except sse.SseError as error:
            raise StreamError(str(error)) from None
        for event in events:
            if not self.stream.ended and not sse.is_filler(event):
                self._take(event.data)
        return self.stream.take()

    def end(self) -> bytes:
        """See `Decoder.end`."""
        self.stream.finish()
        return self.stream.take()

    def _take(self, data: bytes) -> None:
        event = _read(data)
        if event is None or event.type is None:
            return
        if event.type in _OF_AN_ITEM:
            self._of_an_item(event, len(data))
        elif event.type in _TERMINAL:
            self._finish(event.response or Response(), _TERMINAL[event.type])
        elif event.type in ("response.created", "response.in_progress"):
            self.stream.start()
        elif event.type == "error":
            raise in_answer(event.error or {"code": event.code, "message": event.message})

    def _of_an_item(self, event: Event, size_bytes: int) -> None:
        index = event.output_index or 0
        if self._index is not None and index != self._index:
            self._held_bytes += size_bytes
            if self._held_bytes > MAX_HELD:
                raise StreamError("too much came for one output item while another was open")
            if index not in self._held:
                self._held[index] = []
                heappush(self._waiting, index)
            self._held[index].append(event)
            return
        self._tell(event)
        while self._index is None and self._held:
            for waiting in self._held.pop(heappop(self._waiting)):
                self._tell(waiting)
            if not self._held:
                self._held_bytes = 0

    def _tell(self, event: Event) -> None:
        assert event.type is not None
        if self._index is None or event.type == _ADDED:
            item = event.item
            if item is None:
                kind = _OF_AN_ITEM[event.type]
                if kind is None:
                    return  # a call's input before the call: it comes again, whole
                item = Item(type=kind)
            self._items += 1
            self._index = event.output_index or 0
            self._seen |= {event.output_index, item.id}
            self._output.begin(self._items, item)
        _TELL[event.type](self._output, event)
        if event.type == _DONE:
            self._index = None

    def _finish(self, response: Response, status: str) -> None:
        for _, events in sorted(self._held.items()):
            self._index = None
            for event in events:
                self._tell(event)
        self._held.clear()
        self._waiting.clear()
        items = response.output or []
        if self._index is not None and self._index < len(items):
            self._output.done(items[self._index])  # what no event has told of the item that was open
            self._index = None
        if len(items) > self._items:
            for index, item in enumerate(items):
                if index not in self._seen and (item.id is None or item.id not in self._seen):
                    self._output.begin(f"output-{index}", item)
                    self._output.done(item)
        response.status = response.status or status
        finish(self.stream, response, self._output.refused, self._context)


def _read(data: bytes) -> Event | None:
    """The event; None for one that means nothing here, whatever its shape. Raises `StreamError`."""
    try:
        return _event(data)
    except INVALID:
        if data.strip() == b"[DONE]":
            return None
        try:
            kind = _named(data).type
        except INVALID:
            raise StreamError("The provider's stream holds an event that is no JSON object") from None
        if kind in _OF_AN_ITEM or kind in _TERMINAL or kind == "error":
            raise StreamError(f"The provider's stream holds a {kind} event that makes no sense") from None
        return None


def _nothing(output: Output, event: Event) -> None:
    """Told already, by the events before it or when the item began."""


def _done(output: Output, event: Event) -> None:
    output.done(event.item or Item())


def _text(output: Output, event: Event) -> None:
    output.text(event.delta or "", event.content_index or 0)


def _refusal(output: Output, event: Event) -> None:
    output.refusal(event.delta or "", event.content_index or 0)


def _annotation(output: Output, event: Event) -> None:
    if event.annotation is not None:
        output.annotation(event.annotation)


def _whole_text(output: Output, event: Event) -> None:
    output.whole_text(event.text or "", event.content_index or 0)


def _whole_refusal(output: Output, event: Event) -> None:
    if event.refusal:
        output.refused = True
        output.whole_text(event.refusal, event.content_index or 0)


def _whole_part(output: Output, event: Event) -> None:
    if event.part is not None and event.part.type in ("output_text", "refusal"):
        _whole_text(output, Event(text=event.part.text, content_index=event.content_index))
        _whole_refusal(output, Event(refusal=event.part.refusal, content_index=event.content_index))


def _whole_summary(output: Output, event: Event) -> None:
    output.whole_thinking(event.text or "", event.summary_index or 0, "summary")


def _whole_reasoning(output: Output, event: Event) -> None:
    output.whole_thinking(event.text or "", event.content_index or 0, "text")


def _whole_arguments(output: Output, event: Event) -> None:
    output.whole_arguments(event.arguments)


def _summary(output: Output, event: Event) -> None:
    output.thinking(event.delta or "", event.summary_index or 0, "summary")


def _reasoning(output: Output, event: Event) -> None:
    output.thinking(event.delta or "", event.content_index or 0, "text")


def _arguments(output: Output, event: Event) -> None:
    output.arguments(event.delta or "")


_ADDED = "response.output_item.added"
_DONE = "response.output_item.done"
_TELL: dict[str, Callable[[Output, Event], None]] = {
    _ADDED: _nothing,
    _DONE: _done,
    "response.output_text.delta": _text,
    "response.refusal.delta": _refusal,
    "response.output_text.annotation.added": _annotation,
    "response.reasoning_summary_text.delta": _summary,
    "response.reasoning_text.delta": _reasoning,
    "response.function_call_arguments.delta": _arguments,
    "response.output_text.done": _whole_text,
    "response.refusal.done": _whole_refusal,
    "response.content_part.done": _whole_part,
    "response.reasoning_summary_text.done": _whole_summary,
    "response.reasoning_text.done": _whole_reasoning,
    "response.function_call_arguments.done": _whole_arguments,
}
_OF_AN_ITEM: dict[str, str | None] = {
    _ADDED: "",
    _DONE: "",
    "response.output_text.delta": "message",
    "response.refusal.delta": "message",
    "response.output_text.annotation.added": "message",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.reasoning_text.delta": "reasoning",
    "response.function_call_arguments.delta": None,
    "response.output_text.done": "message",
    "response.refusal.done": "message",
    "response.content_part.done": None,
    "response.reasoning_summary_text.done": "reasoning",
    "response.reasoning_text.done": "reasoning",
    "response.function_call_arguments.done": None,
}
"""The type of the item that an event belongs to, for hosts that do not say that one begins."""
_TERMINAL = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}
