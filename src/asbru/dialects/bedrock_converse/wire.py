"""What Bedrock says in a Converse answer, as structs. Nothing is required; nulls are as if they were not there."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from asbru.dialects.message_stream import StreamError
from asbru.dialects.upstream_json import INVALID, Reader

Json = dict[str, Any]


class Reasoning(msgspec.Struct):
    text: str | None = None
    signature: str | None = None
    redacted: str | None = msgspec.field(name="redactedContent", default=None)


class ToolInput(msgspec.Struct):
    input: str | None = None


class Citation(msgspec.Struct):
    title: str | None = None
    source: str | None = None
    quoted: list[Json] | None = msgspec.field(name="sourceContent", default=None)
    location: Json | None = None


class Delta(msgspec.Struct):
    text: str | None = None
    tool: ToolInput | None = msgspec.field(name="toolUse", default=None)
    reasoning: Reasoning | None = msgspec.field(name="reasoningContent", default=None)
    citation: Citation | None = None


class BlockDelta(msgspec.Struct):
    delta: Delta | None = None
    index: int = msgspec.field(name="contentBlockIndex", default=0)


class ToolUse(msgspec.Struct):
    id: str | None = msgspec.field(name="toolUseId", default=None)
    name: str | None = None
    type: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"null")


class Start(msgspec.Struct):
    tool: ToolUse | None = msgspec.field(name="toolUse", default=None)
    result: Json | None = msgspec.field(name="toolResult", default=None)
    image: Json | None = None


class BlockStart(msgspec.Struct):
    start: Start | None = None
    index: int = msgspec.field(name="contentBlockIndex", default=0)


class BlockStop(msgspec.Struct):
    index: int = msgspec.field(name="contentBlockIndex", default=0)


class CacheDetail(msgspec.Struct):
    ttl: str | None = None
    tokens: int | None = msgspec.field(name="inputTokens", default=None)


class Usage(msgspec.Struct):
    input: int | None = msgspec.field(name="inputTokens", default=None)
    output: int | None = msgspec.field(name="outputTokens", default=None)
    cache_read: int | None = msgspec.field(name="cacheReadInputTokens", default=None)
    cache_write: int | None = msgspec.field(name="cacheWriteInputTokens", default=None)
    details: list[CacheDetail] | None = msgspec.field(name="cacheDetails", default=None)


class Tier(msgspec.Struct):
    type: str | None = None


class Metadata(msgspec.Struct):
    usage: Usage | None = None
    tier: Tier | None = msgspec.field(name="serviceTier", default=None)


class Stop(msgspec.Struct):
    reason: str | None = msgspec.field(name="stopReason", default=None)
    more: object = msgspec.field(name="additionalModelResponseFields", default=None)


class ReasoningBlock(msgspec.Struct):
    text: Reasoning | None = msgspec.field(name="reasoningText", default=None)
    redacted: str | None = msgspec.field(name="redactedContent", default=None)


class Text(msgspec.Struct):
    text: str | None = None


class Cited(msgspec.Struct):
    content: list[Text] | None = None
    citations: list[Citation] | None = None


class Block(msgspec.Struct):
    text: str | None = None
    tool: ToolUse | None = msgspec.field(name="toolUse", default=None)
    reasoning: ReasoningBlock | None = msgspec.field(name="reasoningContent", default=None)
    cited: Cited | None = msgspec.field(name="citationsContent", default=None)


class Message(msgspec.Struct):
    content: list[Block] | None = None


class Output(msgspec.Struct):
    message: Message | None = None


class Whole(Metadata):
    output: Output | None = None
    reason: str | None = msgspec.field(name="stopReason", default=None)
    more: object = msgspec.field(name="additionalModelResponseFields", default=None)


class Count(msgspec.Struct):
    tokens: int = msgspec.field(name="inputTokens")


block_delta = Reader(BlockDelta)
block_start = Reader(BlockStart, raw=("input",))
block_stop = Reader(BlockStop)
stop = Reader(Stop)
metadata = Reader(Metadata)
whole = Reader(Whole, raw=("input",))
count = Reader(Count)

T = TypeVar("T")


def read(decoder: Reader[T], data: bytes) -> T:
    """The struct that ``data`` is; raises `StreamError`."""
    try:
        return decoder(data)
    except INVALID:
        raise StreamError("Bedrock's answer cannot be read") from None
