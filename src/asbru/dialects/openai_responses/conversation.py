"""Messages' turns as the Responses API's input items, in the order of their blocks.

Contract: the turns have been through `prepare`. A call's outputs come before anything else of the user's turn, and
nothing stands between a call and its output. Reasoning is sent only in front of what it led to: alone it is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from asbru.dialects.codec import Context
from asbru.dialects.json_text import encode as to_json
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.messages import (
    Block,
    Document,
    Image,
    RedactedThinking,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    Turn,
    Unknown,
)
from asbru.dialects.openai_common import BREAKPOINT, breakpoint
from asbru.dialects.openai_responses import hosted, state

Json = dict[str, Any]

_NO_IMAGE = "[An image, left out: the model takes none.]"


def parts(blocks: Iterable[Block], context: Context, losses: Losses) -> list[Json]:
    """Content parts of what a user says, or of a call's output."""
    marks = breakpoint(context) == BREAKPOINT
    found: list[Json] = []
    for block in blocks:
        match block:
            case Text():
                found.append({"type": "input_text", "text": block.text})
            case Image():
                found.append(_image(block, context, losses))
            case Document():
                found += _file(block)
            case _:
                raise LossyError("messages", f"A block of type {block.type!r} is not supported here for this model")
        if marks and block.cache_control is not None:
            found[-1][BREAKPOINT] = {"mode": "explicit"}
    return found


def _image(block: Image, context: Context, losses: Losses) -> Json:
    source = block.source
    if context.facts.images is False:
        losses.note("dropped", f"image.{source.type}", "the model takes no images")
        return {"type": "input_text", "text": _NO_IMAGE}
    url = source.url if source.type == "url" else f"data:{source.media_type or 'image/png'};base64,{source.data or ''}"
    return {"type": "input_image", "image_url": url, "detail": "auto"}


def _file(block: Document) -> list[Json]:
    source = block.source
    if source.type == "url":
        part: Json = {"type": "input_file", "file_url": source.url}
    else:
        name = block.title or "document.pdf"
        part = {"type": "input_file", "filename": name if "." in name else f"{name}.pdf"}
        part["file_data"] = f"data:{source.media_type or 'application/pdf'};base64,{source.data or ''}"
    if not block.context:
        return [part]
    return [{"type": "input_text", "text": f"About {block.title or 'the document'}: {block.context}"}, part]


def message(role: str, content: Sequence[Json]) -> Json:
    return {"type": "message", "role": role, "content": content}


class Conversation:
    """The items of some turns, in ``items``."""

    def __init__(self, turns: Iterable[Turn], context: Context, losses: Losses) -> None:
        self.items: list[Json] = []
        self._context = context
        self._losses = losses
        self._marks = breakpoint(context) == BREAKPOINT
        self._open: set[str] = set()
        """Calls whose output has not come yet."""
        self._held: list[Json] = []
        """System messages that wait until all outputs are there."""
        for turn in turns:
            if turn.role == "system":
                self._held.append(message(context.quirks.system_role, parts(turn.content, context, losses)))
                if not self._open:
                    self._release()
            elif turn.role == "user":
                self._user(turn)
            else:
                self._assistant(turn)
        self._release()

    def _release(self) -> None:
        self.items += self._held
        self._held.clear()

    def _user(self, turn: Turn) -> None:
        said: list[Block] = []
        for block in turn.content:
            if isinstance(block, ToolResult):
                self._open.discard(block.tool_use_id)
                output = {"type": "function_call_output", "call_id": block.tool_use_id, "output": self._output(block)}
                self.items.append(output)
            else:
                said.append(block)
        self._release()
        if said:
            self.items.append(message("user", parts(said, self._context, self._losses)))

    def _output(self, result: ToolResult) -> str | list[Json]:
        """Plain text where it is no more than that: every host takes it."""
        content = parts(result.content, self._context, self._losses)
        if content and result.cache_control is not None and self._marks:
            content[-1][BREAKPOINT] = {"mode": "explicit"}
        if all(part.keys() == {"type", "text"} for part in content):
            return "\n".join(part["text"] for part in content)
        return content

    def _assistant(self, turn: Turn) -> None:
        answered = hosted.results(turn.content)
        reasoning: list[Json] = []
        """Items that have to stand in front of another one."""
        phase: str | None = None
        for block in turn.content:
            found: Json | None = None
            if self._marks and getattr(block, "cache_control", None) is not None:
                self._losses.note("approximated", "cache_control", "none on what the assistant said")
            match block:
                case Thinking() | RedactedThinking():
                    back = state.replay(block, self._context.provider, self._context.model)
                    phase = back.phase or phase
                    if back.item is not None and back.item.get("type") == "reasoning":
                        reasoning.append(back.item)
                    else:
                        found = back.item
                case Text():
                    found = message("assistant", [{"type": "output_text", "text": block.text}])
                    if phase is not None:
                        found["phase"], phase = phase, None
                case ToolUse():
                    self._open.add(block.id)
                    found = self._call(block)
                case Unknown():
                    found = hosted.item(block, answered, self._context.provider)
                case _:
                    self._losses.meet("block.unknown", "messages")
            if found is not None:
                self.items += reasoning
                self.items.append(found)
                reasoning = []
        if reasoning:
            self._losses.note("dropped", "thinking", "reasoning that led to nothing is refused")

    def _call(self, block: ToolUse) -> Json:
        arguments = to_json(block.input).decode()
        return {"type": "function_call", "call_id": block.id, "name": block.name, "arguments": arguments}
