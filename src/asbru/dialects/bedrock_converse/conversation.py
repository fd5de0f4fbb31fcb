"""Turns and their blocks as Converse has them: contract/translation.md §8.4.

Cache breakpoints are blocks of their own behind what they cache. Documents have neutral names, unique in the request
(a title could be read as an instruction, and Bedrock refuses a name that occurs twice); titles go into the context.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asbru.dialects import bedrock, blobs
from asbru.dialects.as_text import document_text
from asbru.dialects.bedrock import Family
from asbru.dialects.codec import Context
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.messages import (
    Block,
    Document,
    Image,
    RedactedThinking,
    Request,
    SearchResult,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
)

Json = dict[str, Any]

NO_OUTPUT = "(no output)"
NO_IMAGE = "[An image, left out: the model takes none.]"
ATTACHED = "Attached:"
DONE = "Done."

_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_DOCUMENTS = {
    "application/pdf": "pdf",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
}


def native(family: Family) -> frozenset[str]:
    """What `prepare` leaves as it is."""
    found = {"cache_control"}
    if family in ("claude", "nova"):
        found.add("tool_result.is_error")
    if family == "claude":
        found |= {"document.text", "document.content", "search_result", "tool_result.search_result"}
    return frozenset(found)


def without_blank(request: Request) -> None:
    """Take out text of white space alone, which Converse refuses; before `prepare`, which drops turns left empty."""
    request.system = [block for block in request.system if not block.text.isspace()]
    for turn in request.messages:
        turn.content = _not_blank(turn.content)
        for block in turn.content:
            if isinstance(block, ToolResult):
                block.content = _not_blank(block.content)


def _not_blank(content: list[Block]) -> list[Block]:
    return [block for block in content if not (isinstance(block, Text) and (not block.text or block.text.isspace()))]


def note_plain(request: Request, losses: Losses) -> None:
    """What models other than Claude get as plain text; before `prepare`, which makes it that."""
    for turn in request.messages:
        for outer in turn.content:
            for block in outer.content if isinstance(outer, ToolResult) else (outer,):
                if isinstance(block, SearchResult):
                    losses.note("approximated", "search_result", "text in `<search_result>`")
                elif isinstance(block, Document) and block.source.type in ("text", "content"):
                    losses.note("approximated", f"document.{block.source.type}", "text in `<document>`")


class Conversation:
    """Writes the turns of one request that `prepare` has been through."""

    __slots__ = ("_caches", "_context", "_documents", "_family", "_losses")

    def __init__(self, context: Context, family: Family, losses: Losses) -> None:
        self._context = context
        self._family = family
        self._losses = losses
        self._documents = 0
        self._caches = family in ("claude", "nova")

    def messages(self, request: Request) -> list[Json]:
        """All turns. A breakpoint for the whole request goes behind the last block."""
        turns: list[Json] = []
        for turn in request.messages:
            results = [block for block in turn.content if isinstance(block, ToolResult)]
            if results and len(results) < len(turn.content) and not self._context.quirks.user_after_tool:
                self._losses.note(
                    "approximated", "tool_result", "an assistant turn goes between it and the user's text"
                )
                rest = [block for block in turn.content if not isinstance(block, ToolResult)]
                turns.append({"role": "user", "content": self._turn(results)})
                turns.append({"role": "assistant", "content": [{"text": DONE}]})
                turns.append({"role": "user", "content": self._turn(rest)})
            else:
                turns.append({"role": turn.role, "content": self._turn(turn.content)})
        if turns and request.cache_control is not None:
            last = turns[-1]["content"]
            if last and "cachePoint" not in last[-1] and "reasoningContent" not in last[-1]:
                last += self.cache_point(request.cache_control)
        return [turn for turn in turns if turn["content"]]

    def cache_point(self, control: Json | None, *, tools: bool = False) -> list[Json]:
        """The breakpoint to put behind a block that has this ``cache_control``."""
        if control is None:
            return []
        if not self._caches or (tools and self._family != "claude"):
            self._losses.note("dropped", "cache_control", "this model has no cache points here")
            return []
        point = {"type": "default"}
        if control.get("ttl") == "1h":
            if self._family == "claude":
                point["ttl"] = "1h"
            else:
                self._losses.note("approximated", "cache_control", "five minutes is the longest that this model caches")
        return [{"cachePoint": point}]

    def _turn(self, content: Iterable[Block]) -> list[Json]:
        made: list[Json] = []
        for block in content:
            made += self._block(block)
            made += self.cache_point(_breakpoint(block))
        if any("document" in block for block in made) and not any("text" in block for block in made):
            self._losses.note("approximated", "document.base64", "Converse wants a text beside documents")
            made.insert(0, {"text": ATTACHED})
        return made

    def _block(self, block: Block) -> list[Json]:
        match block:
            case Text():
                return [{"text": block.text}]
            case ToolUse():
                return [{"toolUse": {"toolUseId": block.id, "name": block.name, "input": block.input}}]
            case ToolResult():
                return [{"toolResult": self._result(block)}]
            case Image():
                return [self._image(block)]
            case Document():
                return self._document(block)
            case SearchResult():
                return [_search_result(block)]
            case Thinking() | RedactedThinking():
                return self._reasoning(block)
            case _:
                raise LossyError("messages", f"Content of type {block.type!r} is not supported for this model")

    def _result(self, block: ToolResult) -> Json:
        content = [made for part in block.content for made in self._block(part)]
        if not content:
            self._losses.note("approximated", "tool_result", "that there is no output is said in words")
            content = [{"text": NO_OUTPUT}]
        result: Json = {"toolUseId": block.tool_use_id, "content": content}
        if block.is_error:
            if self._family in ("claude", "nova"):
                result["status"] = "error"
            else:
                self._losses.note("approximated", "tool_result.is_error", "text beginning with `Error: `")
        return result

    def _reasoning(self, block: Thinking | RedactedThinking) -> list[Json]:
        sealed = block.signature if isinstance(block, Thinking) else block.data
        state = blobs.unseal(sealed, self._context.provider, bedrock.maker(self._context)) or {}
        if isinstance(state.get("redacted"), str):
            return [{"reasoningContent": {"redactedContent": state["redacted"]}}]
        if not isinstance(state.get("signature"), str):
            return []
        text = state.get("text", block.thinking if isinstance(block, Thinking) else "")
        return [{"reasoningContent": {"reasoningText": {"text": str(text), "signature": state["signature"]}}}]

    def _image(self, block: Image) -> Json:
        if self._context.facts.images is False:
            self._losses.note("dropped", "image.base64", "the model takes no images")
            return {"text": NO_IMAGE}
        kind = _IMAGES.get(block.source.media_type or "")
        if kind is None or not block.source.data:
            raise LossyError("image.source", f"Images of type {block.source.media_type!r} are not supported here")
        return {"image": {"format": kind, "source": {"bytes": block.source.data}}}

    def _document(self, block: Document) -> list[Json]:
        source, made = block.source, {}
        if source.type == "base64":
            kind = _DOCUMENTS.get(source.media_type or "")
            if kind is None or not source.data:
                raise LossyError("document.source", f"Documents of type {source.media_type!r} are not supported here")
            made = {"format": kind, "source": {"bytes": source.data}}
        elif source.type == "text":
            if not source.data or source.data.isspace():
                self._losses.note("dropped", "document.text", "a document without text is refused here")
                return []
            made = {"format": "txt", "source": {"text": source.data}}
        else:
            texts = _texts(source.content)
            if texts is None:  # Converse's documents hold no images
                self._losses.note("approximated", "document.content", "text and images in `<document>`")
                return [
                    part for text in document_text(block, "document.source", self._losses) for part in self._block(text)
                ]
            made = {"source": {"content": [{"text": text} for text in texts]}}
        return [{"document": self._described(block, made)}]

    def _described(self, block: Document, made: Json) -> Json:
        self._documents += 1
        name = f"Document {self._documents}"
        self._context.document_titles[name] = block.title
        context = block.context
        if block.title:
            self._losses.note("approximated", f"document.{block.source.type}", "the title is said in the context")
            context = f"Title: {block.title}\n{context}" if context else f"Title: {block.title}"
        described: Json = {"name": name, **made}
        if context:
            described["context"] = context
        if (block.citations or {}).get("enabled"):
            described["citations"] = {"enabled": True}
        return described


def _breakpoint(block: Block) -> Json | None:
    """A block's ``cache_control``; a tool result's parts count for the whole of it."""
    control: Json | None = getattr(block, "cache_control", None)
    if control is None and isinstance(block, ToolResult):
        inner = (getattr(part, "cache_control", None) for part in block.content)
        control = next((found for found in inner if found is not None), None)
    return control


def _search_result(block: SearchResult) -> Json:
    made: Json = {
        "source": block.source,
        "title": block.title,
        "content": [{"text": part.text} for part in block.content],
    }
    if block.citations is not None:
        made["citations"] = {"enabled": block.citations.get("enabled") is True}
    return {"searchResult": made}


def _texts(content: str | list[Json] | None) -> list[str] | None:
    """The texts of a document of content; None when it is not all text."""
    if isinstance(content, str):
        return [content]
    texts = [part.get("text") for part in content or () if part.get("type") == "text"]
    if not texts or len(texts) != len(content or ()):
        return None
    return [text for text in texts if isinstance(text, str)]
