"""The conversation as chat messages.

What the API insists on: an assistant message with tool calls is followed by one tool message for each of them, in any
order, and by nothing else before; tool messages hold text only. So results go first, in the order of their calls; a
system message that stood between waits; images and documents of results go into the user message behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from asbru.dialects import json_text
from asbru.dialects.blobs import unseal
from asbru.dialects.codec import Context
from asbru.dialects.losses import Losses
from asbru.dialects.messages import (
    Block,
    Document,
    Image,
    RedactedThinking,
    Request,
    Source,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    Turn,
)
from asbru.dialects.openai_chat.wire import OPAQUE

Json = dict[str, Any]

BETWEEN_TEXTS = "\n\n"
NO_OUTPUT = "(no output)"
DONE = "Done."


class Conversation:
    """One request's messages, written turn by turn. ``breakpoint`` is how a part is marked to be cached, if at all."""

    def __init__(self, context: Context, losses: Losses, breakpoint: str | None, keep_reasoning: bool) -> None:
        self.messages: list[Json] = []
        self.breakpoints = 0
        self._context = context
        self._quirks = context.quirks
        self._losses = losses
        self._breakpoint = breakpoint
        self._reasoning_field = context.quirks.reasoning_field if keep_reasoning else None
        self._unanswered: list[str] = []
        """Ids of the tool calls of the last assistant message, until their results have come."""
        self._waiting: list[Json] = []
        """System messages that stood between calls and results."""

    def write(self, request: Request) -> None:
        if request.system:
            self.messages.append({"role": self._quirks.system_role, "content": self._content(request.system)})
        for turn in request.messages:
            if turn.role == "user":
                self._user(turn)
            elif turn.role == "assistant":
                self._assistant(turn)
            else:
                message = {"role": self._quirks.system_role, "content": self._content(turn.content)}
                (self._waiting if self._unanswered else self.messages).append(message)
        self._answered()

    def _answered(self) -> None:
        self._unanswered = []
        self.messages += self._waiting
        self._waiting = []

    # Content

    def _content(self, blocks: Sequence[Block]) -> str | list[Json]:
        """Text as a string, which every host takes; anything else as parts."""
        if len(blocks) == 1 and isinstance(block := blocks[0], Text) and not self._cached(block):
            return block.text
        if any(not isinstance(block, Text) or self._cached(block) for block in blocks):
            return [part for block in blocks for part in self._parts(block)]
        return BETWEEN_TEXTS.join(block.text for block in blocks if isinstance(block, Text))

    def _cached(self, block: Block | ToolResult) -> bool:
        return self._breakpoint is not None and getattr(block, "cache_control", None) is not None

    def _parts(self, block: Block) -> Iterable[Json]:
        parts: list[Json] = []
        match block:
            case Text():
                parts.append({"type": "text", "text": block.text})
            case Image():
                parts.append(self._image(block.source))
            case Document():
                parts += self._document(block)
        if parts and self._cached(block):
            self._mark(parts[-1], block)
        return parts

    def _mark(self, part: Json, block: Block | ToolResult) -> None:
        assert self._breakpoint is not None
        self.breakpoints += 1
        if self._breakpoint == "cache_control":
            part["cache_control"] = getattr(block, "cache_control", None)
        else:
            part[self._breakpoint] = {"mode": "explicit"}

    def _image(self, source: Source) -> Json:
        if self._context.facts.images is False:
            self._losses.note("dropped", f"image.{source.type}", "the model takes no images")
            return {"type": "text", "text": "[An image, left out: the model takes none.]"}
        url = source.url if source.type == "url" else _data_url(source, "image/png")
        return {"type": "image_url", "image_url": {"url": url}}

    def _document(self, block: Document) -> list[Json]:
        name = block.title or "document.pdf"
        file = {"filename": name if "." in name else f"{name}.pdf"}
        file["file_data"] = _data_url(block.source, "application/pdf")
        part: Json = {"type": "file", "file": file}
        if not block.context:
            return [part]
        return [{"type": "text", "text": f"About {file['filename']}: {block.context}"}, part]

    # Turns

    def _assistant(self, turn: Turn) -> None:
        texts: list[Text] = []
        calls: list[Json] = []
        reasoning: list[Thinking | RedactedThinking] = []
        beside: dict[str, Json] = {}
        last: Block | None = None
        for block in turn.content:
            match block:
                case Text():
                    if calls:
                        self._losses.note("approximated", "tool_use", "text after a tool call goes before it")
                    if isinstance(last, Text) and not self._cached(last):
                        # Neighbours are one text: a citation may have cut it anywhere.
                        block = Text(text=texts.pop().text + block.text, cache_control=block.cache_control)
                    texts.append(block)
                case ToolUse():
                    if self._cached(block):
                        self._losses.note("approximated", "cache_control", "none on a tool call")
                    calls.append(_call(block, beside.pop(block.id, {}) or beside.pop("", {})))
                case Thinking() | RedactedThinking():
                    state = self._state(block)
                    if isinstance(state.get("beside"), dict):
                        beside[str(state.get("call"))] = state["beside"]
                    else:
                        reasoning.append(block)
            last = block
        message: Json = {"role": "assistant", "content": self._content(texts) if texts else None}
        if calls:
            message["tool_calls"] = calls
        self._reason(message, reasoning)
        if not texts and not calls:
            return
        self._answered()
        self.messages.append(message)
        self._unanswered = [call["id"] for call in calls]

    def _state(self, block: Thinking | RedactedThinking) -> Json:
        sealed = block.signature if isinstance(block, Thinking) else block.data
        return unseal(sealed, self._context.provider, self._context.model) or {}

    def _reason(self, message: Json, blocks: list[Thinking | RedactedThinking]) -> None:
        """Reasoning, where the host takes it back."""
        field = self._reasoning_field
        if field is None:
            if blocks:
                self._losses.note("dropped", "thinking", "the provider takes no reasoning back")
            return
        texts: list[str] = []
        details: list[Json] = []
        for block in blocks:
            state = self._state(block)
            details += state.get("details") or []
            texts.append(str(state.get("text") or (block.thinking if isinstance(block, Thinking) else "")))
        text = "".join(texts)
        if field == "thinking":
            if text:
                parts: list[Json] = [{"type": "thinking", "thinking": [{"type": "text", "text": text}], "closed": True}]
                said = message["content"]
                parts += [{"type": "text", "text": said}] if isinstance(said, str) else said or []
                message["content"] = parts
        elif field == "reasoning_details" and details:
            message[field] = details
        elif text or ("tool_calls" in message and self._quirks.reasoning_required):
            message["reasoning" if field == "reasoning_details" else field] = text

    def _user(self, turn: Turn) -> None:
        results = {block.tool_use_id: block for block in turn.content if isinstance(block, ToolResult)}
        rest: list[Block] = []
        for tool_id in self._unanswered:
            result = results.pop(tool_id, None)
            if result is not None:
                self._result(result, rest)
        after_tools = bool(self._unanswered)
        self._answered()
        for block in turn.content:
            if not isinstance(block, ToolResult):
                rest.append(block)
            elif block.tool_use_id in results:
                # Its call is further back than the message before: no tool message may stand here.
                self._losses.meet("tool_result.orphan")
                rest += [Text(text="Result of an earlier tool call:"), *block.content]
        if not rest:
            return
        if after_tools and not self._quirks.user_after_tool:
            self._losses.note("approximated", "tool_result", "an assistant message goes between it and the user's text")
            self.messages.append({"role": "assistant", "content": DONE})
        self.messages.append({"role": "user", "content": self._content(rest)})

    def _result(self, block: ToolResult, rest: list[Block]) -> None:
        """One tool message; what it cannot hold goes to the rest."""
        texts: list[str] = []
        for part in block.content:
            if isinstance(part, Text):
                texts.append(part.text)
            else:
                kind = "document" if isinstance(part, Document) else "image"
                texts.append(f"[{kind.capitalize()}: see the {kind} for {block.tool_use_id} in the next message.]")
                rest += [Text(text=f"The {kind} for {block.tool_use_id}:"), part]
        text = "\n".join(texts)
        if not text and not self._quirks.empty_text:
            text = NO_OUTPUT
        content: str | list[Json] = text
        if self._cached(block):
            content = [{"type": "text", "text": text}]
            self._mark(content[0], block)
        self.messages.append({"role": "tool", "tool_call_id": block.tool_use_id, "content": content})


def _call(block: ToolUse, beside: Json) -> Json:
    function = {"name": block.name, "arguments": json_text.encode(block.input).decode()}
    opaque = {field: beside[field] for field in OPAQUE if field in beside}
    return {"id": block.id, "type": "function", "function": function, **opaque}


def _data_url(source: Source, media_type: str) -> str:
    return f"data:{source.media_type or media_type};base64,{source.data or ''}"
