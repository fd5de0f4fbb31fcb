"""Counting tokens: an estimate of four bytes each, the same everywhere, so that all counts agree with each other.

`prompt` gives the whole prompt as segments, one per tool and block, in the order the model reads them: tools, system,
messages. `cached` splits it into what a cache would read, write and not touch. It remembers nothing, so that the same
request has the same usage: what a conversation sent before its last answer counts as written then and read now;
what came after is written now. A first turn only writes, a later one reads what the turn before it wrote.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from asbru.sandbox.request import Block, Request

BYTES_PER_TOKEN = 4
MESSAGE_TOKENS = 3
"""What the frame around a message costs."""
MEDIA_TOKENS = 1_500
"""An image, or a document that cannot be read here."""
TOOLS_TOKENS = 250
"""What the model is told about tools when there are any."""


class Segment(msgspec.Struct):
    tokens: int
    message: int
    """Index of the message it is part of, -1 before the messages."""
    ttl: str | None = None
    """Set when a cache breakpoint follows it: ``5m`` or ``1h``."""


class Cached(msgspec.Struct, frozen=True):
    """A prompt's tokens by what the cache does with them."""

    plain: int
    read: int
    written_5m: int
    written_1h: int

    @property
    def total(self) -> int:
        return self.plain + self.read + self.written_5m + self.written_1h


def of_bytes(size: int) -> int:
    return -(-size // BYTES_PER_TOKEN)


def of_text(text: str) -> int:
    return of_bytes(len(text.encode()))


def of_json(value: object) -> int:
    return of_bytes(len(msgspec.json.encode(value)))


def _of_document(block: Block) -> int:
    source = block.source_fields()
    if source.get("type") == "text":
        return of_text(str(source["data"]))
    if source.get("type") == "content":
        return sum(map(of_block, Block(type="content", content=source["content"]).inner()))
    return MEDIA_TOKENS


def of_block(block: Block) -> int:
    """What one content block of a prompt costs."""
    match block.type:
        case "text":
            return of_text(block.text)
        case "thinking":
            return of_text(block.thinking)
        case "image":
            return MEDIA_TOKENS
        case "document":
            return _of_document(block)
        case "tool_result" | "search_result":
            return 5 + sum(map(of_block, block.inner()))
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            return 5 + of_text(block.name) + of_json(block.input)
        case _:
            return 5 + of_json(block.content) + of_text(block.data)


def ttl_of(cache_control: Mapping[str, object] | None) -> str | None:
    return None if cache_control is None else str(cache_control.get("ttl", "5m"))


def _of_tool(tool: Mapping[str, object]) -> int:
    return of_json({key: value for key, value in tool.items() if key != "cache_control"})


def prompt(request: Request) -> list[Segment]:
    """The prompt in the order it is read, with its cache breakpoints."""
    segments = [
        Segment(_of_tool(raw), -1, ttl_of(tool.cache_control))
        for raw, tool in zip(request.raw_tools, request.tools, strict=True)
    ]
    if segments:
        segments[0].tokens += TOOLS_TOKENS
    segments += [Segment(of_block(block), -1, ttl_of(block.cache_control)) for block in request.system]
    for index, message in enumerate(request.messages):
        segments.append(Segment(MESSAGE_TOKENS, index))
        for block in message.content:
            nested = [inner.cache_control for inner in block.inner()] if block.type == "tool_result" else []
            marks = [mark for mark in (block.cache_control, *nested) if mark is not None]
            segments.append(Segment(of_block(block), index, ttl_of(marks[0]) if marks else None))
    if request.cache_control is not None:
        # Automatic caching: a breakpoint after the last block there is.
        segments[-1].ttl = segments[-1].ttl or ttl_of(request.cache_control)
    return segments


def cached(request: Request) -> Cached:
    """The prompt's tokens split by what a cache would do with them."""
    segments = prompt(request)
    total = sum(segment.tokens for segment in segments)
    marks = [index for index, segment in enumerate(segments) if segment.ttl]
    if not marks:
        return Cached(total, 0, 0, 0)
    # What the last answer in the history was an answer to (a prefill is not one).
    answers = [
        index
        for index, message in enumerate(request.messages)
        if message.role == "assistant" and index < len(request.messages) - 1
    ]
    before = answers[-1] if answers else -1
    read = 0
    written = {"5m": 0, "1h": 0}
    for index, segment in enumerate(segments[: marks[-1] + 1]):
        if answers and segment.message < before:
            read += segment.tokens
        else:
            ttl = next(segments[mark].ttl for mark in marks if mark >= index)
            written[ttl or "5m"] += segment.tokens
    return Cached(total - read - sum(written.values()), read, written["5m"], written["1h"])
