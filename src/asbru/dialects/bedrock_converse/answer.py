"""A Converse answer, whole or as a stream of events, said to a `MessageStream`.

In a stream only tool calls announce their block; text and reasoning begin with the first delta of a new
``contentBlockIndex``. ``messageStop`` comes before ``metadata``, which has the usage: the end is held back until then.
Facts: botocore 1.44.5 (``ConverseResponse``, ``ConverseStreamOutput``).
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from asbru.dialects import bedrock, blobs
from asbru.dialects.bedrock_converse import wire
from asbru.dialects.bedrock_converse.wire import Block, Citation, Delta, Metadata, Reasoning, ToolInput, ToolUse, Usage
from asbru.dialects.codec import Context
from asbru.dialects.eventstream import Frame, Reader
from asbru.dialects.message_stream import MessageStream, ProviderError, StreamError
from asbru.dialects.messages import StopReason

Json = dict[str, Any]

_MAX_COUNT = 2**53
_SERVER_TOOL = "server_tool_use"

_STOP_REASONS: dict[str, StopReason] = {
    "end_turn": "end_turn",
    "tool_use": "tool_use",
    "max_tokens": "max_tokens",
    "stop_sequence": "stop_sequence",
    "model_context_window_exceeded": "model_context_window_exceeded",
    "guardrail_intervened": "refusal",
    "content_filtered": "refusal",
}
_REFUSED: Json = {"type": "refusal", "category": None, "explanation": None}
_TIERS = {"default": "standard", "flex": "standard", "priority": "priority", "reserved": "priority"}


def decode_count(body: bytes) -> int:
    """See `Codec.decode_count`."""
    return max(0, wire.read(wire.count, body).tokens)


def decode(body: bytes, context: Context) -> MessageStream:
    """See `Codec.decode`."""
    whole = wire.read(wire.whole, body)
    answer = Answer(context)
    answer.metadata(whole)
    answer.stream.start()
    message = whole.output.message if whole.output is not None else None
    for index, block in enumerate((message.content or ()) if message is not None else ()):
        answer.block(index, block)
    answer.stop(whole.reason, whole.more)
    answer.stream.finish()
    return answer.stream


class Answer:
    """One answer, block by block. A block is ended by its end, by the next one, or by the end of the answer."""

    __slots__ = ("_context", "_held", "_index", "_kind", "_redacted", "_signature", "_thought", "stream")

    def __init__(self, context: Context) -> None:
        self._context = context
        self.stream = context.new_stream()
        # The open block: its index and kind, and what is told at its end only
        self._index = -1
        self._kind = ""
        self._signature: list[str] = []
        self._thought: list[str] = []
        self._redacted: list[bytes] = []
        self._held = 0

    def block(self, index: int, block: Block) -> None:
        """A whole block."""
        if block.text is not None:
            self.delta(index, Delta(text=block.text))
        elif block.tool is not None:
            self.tool(index, block.tool)
            written = _text(block.tool.input)
            if written != "null":
                self.delta(index, Delta(tool=ToolInput(written)))
        elif block.reasoning is not None:
            reasoning = block.reasoning.text or Reasoning()
            reasoning.redacted = block.reasoning.redacted
            self.delta(index, Delta(reasoning=reasoning))
        elif block.cited is not None:
            text = "".join(part.text or "" for part in block.cited.content or ())
            self.delta(index, Delta(text=text))
            for citation in block.cited.citations or ():
                self.delta(index, Delta(citation=citation))
        self.end_block(index)

    def tool(self, index: int, tool: ToolUse) -> None:
        """A tool call begins. Those that Bedrock makes itself are not the client's to answer."""
        self._open(index, "tool")
        if tool.type == _SERVER_TOOL:
            self._kind = "skipped"
        elif not tool.name:
            raise StreamError("Bedrock's answer has a tool call without a name")
        elif tool.name == self._context.structured_tool:
            self._kind = "structured"
        else:
            self.stream.tool(
                index, self._context.client_tool_id(tool.id or ""), self._context.tool_names.get(tool.name, tool.name)
            )

    def skip(self, index: int) -> None:
        """A block that the Messages API has no words for begins."""
        self._open(index, "skipped")

    def delta(self, index: int, delta: Delta) -> None:
        """A piece of a block."""
        if index != self._index:
            self._open(index, "")
        if self._kind == "skipped":
            return
        if delta.text is not None:
            self.stream.text(delta.text)
        elif delta.tool is not None:
            if self._kind == "structured":
                self.stream.text(delta.tool.input or "")
            else:
                self.stream.tool_json(index, delta.tool.input or "")
        elif delta.reasoning is not None:
            self._reasoning(delta.reasoning)
        elif delta.citation is not None:
            citation = self._citation(delta.citation)
            if citation is not None:
                self.stream.citation(citation)

    def end_block(self, index: int) -> None:
        """A block has ended."""
        if index == self._index:
            self._close()

    def stop(self, reason: str | None, more: object) -> None:
        """Why it stopped; raises `StreamError` when that means that the answer is of no use."""
        self._close()
        known = _STOP_REASONS.get(reason or "")
        if known is None:
            of_model = str(reason).startswith("malformed")
            raise ProviderError(f"Bedrock stopped for the reason {str(reason)[:64]!r}", of_model=of_model)
        sequence = None
        if known == "stop_sequence" and isinstance(more, dict):
            found = more.get("stop_sequence", more.get("/stop_sequence"))
            sequence = found if isinstance(found, str) else None
        self.stream.stop(known, sequence, _REFUSED if known == "refusal" else None)

    def metadata(self, metadata: Metadata) -> None:
        """What it cost."""
        said, usage = metadata.usage or Usage(), self.stream.usage
        usage.input_tokens = _number(said.input)
        usage.output_tokens = _number(said.output)
        usage.cache_read_input_tokens = _number(said.cache_read)
        usage.cache_creation_input_tokens = _number(said.cache_write)
        for detail in said.details or ():
            if detail.ttl == "1h":
                usage.cache_creation_1h_tokens = _number(detail.tokens)
            elif detail.ttl == "5m":
                usage.cache_creation_5m_tokens = _number(detail.tokens)
        if metadata.tier is not None:
            self.stream.service_tier = _TIERS.get(metadata.tier.type or "")

    def _open(self, index: int, kind: str) -> None:
        self._close()
        self._index = index
        self._kind = kind

    def _close(self) -> None:
        if self._index < 0:
            return
        if self._kind == "tool":
            self.stream.tool_end(self._index)
            self._index = -1
            return
        if self._redacted:
            data = base64.b64encode(b"".join(self._redacted)).decode("ascii")
            sealed = blobs.seal(self._context.provider, bedrock.maker(self._context), {"redacted": data})
            if self._context.wants_thinking:
                self.stream.block({"type": "redacted_thinking", "data": sealed})
            else:
                self.stream.signature(sealed)
        elif self._signature:
            state = {"signature": "".join(self._signature)}
            if self._thought:
                state["text"] = "".join(self._thought)
            self.stream.signature(blobs.seal(self._context.provider, bedrock.maker(self._context), state))
        self.stream.end_block()
        self._index = -1
        self._signature.clear()
        self._thought.clear()
        self._redacted.clear()
        self._held = 0

    def _reasoning(self, reasoning: Reasoning) -> None:
        if reasoning.text:
            self.stream.thinking(reasoning.text)
            if not self._context.show_thinking:
                self._hold(len(reasoning.text))
                self._thought.append(reasoning.text)  # the client will not see it, but it goes back with its signature
        if reasoning.signature:
            self._hold(len(reasoning.signature))
            self._signature.append(reasoning.signature)
        if reasoning.redacted:
            self._hold(len(reasoning.redacted))
            try:
                self._redacted.append(base64.b64decode(reasoning.redacted, validate=True))
            except (binascii.Error, ValueError):
                raise StreamError("Bedrock's answer cannot be read") from None

    def _hold(self, chars: int) -> None:
        self._held += chars
        if self._held > blobs.MAX_CHARS:
            raise StreamError("Bedrock's answer holds too much reasoning")

    def _citation(self, said: Citation) -> Json | None:
        """The citation as the Messages API has it; None for one that it has no words for, such as a web page's."""
        kind, place = next(iter((said.location or {}).items()), ("", None))
        fields = _LOCATIONS.get(kind)
        if fields is None or not isinstance(place, dict):
            return None
        made: Json = {
            "type": fields[0],
            "cited_text": "".join(str(part.get("text") or "") for part in said.quoted or ()),
        }
        for theirs, ours in fields[1]:
            made[ours] = _number(place.get(theirs))
        if kind == "searchResultLocation":
            made |= {"source": said.source or "", "title": said.title}
        else:
            titles = self._context.document_titles
            made["document_title"] = titles.get(said.title or "", said.title)
        return made


_SPAN = (("documentIndex", "document_index"),)
_LOCATIONS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "documentChar": ("char_location", (*_SPAN, ("start", "start_char_index"), ("end", "end_char_index"))),
    "documentPage": ("page_location", (*_SPAN, ("start", "start_page_number"), ("end", "end_page_number"))),
    "documentChunk": ("content_block_location", (*_SPAN, ("start", "start_block_index"), ("end", "end_block_index"))),
    "searchResultLocation": (
        "search_result_location",
        (("searchResultIndex", "search_result_index"), ("start", "start_block_index"), ("end", "end_block_index")),
    ),
}


def _text(raw: msgspec.Raw) -> str:
    try:
        return bytes(raw).decode()
    except UnicodeDecodeError:
        raise StreamError("Bedrock's answer cannot be read") from None


def _number(value: object) -> int:
    return value if type(value) is int and 0 <= value <= _MAX_COUNT else 0


class FrameDecoder:
    """See `Decoder`: the frames of a ConverseStream."""

    __slots__ = ("_answer", "_reader", "stream")

    def __init__(self, context: Context) -> None:
        self._answer = Answer(context)
        self._reader = Reader()
        self.stream = self._answer.stream

    def feed(self, data: bytes) -> bytes:
        for frame in self._reader.feed(data):
            if self.stream.ended:
                break
            self._frame(frame)
        if self._reader.error is not None and not self.stream.ended:
            raise StreamError(f"Bedrock's stream is broken: {self._reader.error}")
        return self.stream.take()

    def end(self) -> bytes:
        self.stream.finish()
        return self.stream.take()

    def _frame(self, frame: Frame) -> None:
        fault = bedrock.exception(frame)
        if fault is not None:
            raise ProviderError(fault.message, fault.type, of_model=fault.of_model)
        answer = self._answer
        match frame.headers.get(":event-type"):
            case "contentBlockDelta":
                delta = wire.read(wire.block_delta, frame.payload)
                if delta.delta is not None:
                    answer.delta(delta.index, delta.delta)
            case "contentBlockStart":
                start = wire.read(wire.block_start, frame.payload)
                if start.start is None:
                    return
                if start.start.tool is not None:
                    answer.tool(start.index, start.start.tool)
                elif start.start.result is not None or start.start.image is not None:
                    answer.skip(start.index)
            case "contentBlockStop":
                answer.end_block(wire.read(wire.block_stop, frame.payload).index)
            case "messageStart":
                self.stream.start()
            case "messageStop":
                stop = wire.read(wire.stop, frame.payload)
                answer.stop(stop.reason, stop.more)
            case "metadata":
                answer.metadata(wire.read(wire.metadata, frame.payload))
                if self.stream.stopped:
                    self.stream.finish()
