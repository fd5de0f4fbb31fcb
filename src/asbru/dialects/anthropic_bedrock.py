"""Claude on Amazon Bedrock by InvokeModel: Messages in an envelope.

The model is in the path, ``anthropic_version`` and ``anthropic_beta`` are in the body; a stream is AWS frames, each
with one Anthropic event in base64. Facts: the official Python SDK ``anthropic`` 2.11.0, lib/bedrock; botocore 1.44.5
(``InvokeModel``, ``InvokeModelWithResponseStream``, ``CountTokens``); what Bedrock refused of clients (LiteLLM 19877,
20951, 27532; Claude Code 24168); contract/translation.md §8.4.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from asbru.dialects import bedrock, betas, splice, sse
from asbru.dialects.codec import Context, Envelope, Fault, Sent, Unwrapper
from asbru.dialects.enveloping import Host, changes, table
from asbru.dialects.eventstream import Frame, Reader
from asbru.dialects.losses import Losses, Row
from asbru.dialects.message_stream import StreamError
from asbru.dialects.splice import Members

_NO_SUCH = "not supported for Claude on Bedrock"

FIDELITY = table(
    {
        "anthropic-beta": Row("approximated", "in the body; those that Bedrock does not take are dropped"),
        "billing_policy": Row("dropped", _NO_SUCH),
        "cache_control": Row("exact", "automatic caching becomes a breakpoint on the last block"),
        "compaction": Row("refused", f"Compaction requests are {_NO_SUCH}"),
        "container": Row("refused", f"Containers and skills are {_NO_SUCH}"),
        "container_upload": Row("refused", f"Container uploads are {_NO_SUCH}"),
        "context_management": Row("dropped", "edits that clear thinking; others go through"),
        "diagnostics": Row("dropped", _NO_SUCH),
        "document.file": Row("refused", f"Files of the Files API are {_NO_SUCH}"),
        "fallback_credit_token": Row("refused", f"Fallback credit is {_NO_SUCH}"),
        "fallbacks.objects": Row("dropped", "the gateway's own `fallbacks` are names"),
        "image.file": Row("refused", f"Files of the Files API are {_NO_SUCH}"),
        "inference_geo": Row("dropped", "the region or the inference profile says where"),
        "mcp_servers": Row("refused", f"Remote MCP servers are {_NO_SUCH}"),
        "service_tier": Row("exact", "there is one tier only"),
        "speed": Row("dropped", _NO_SUCH),
        "system.billing_header": Row("exact", "removed, as Anthropic itself does"),
        "tags": Row("dropped", _NO_SUCH),
        "thread": Row("refused", "answered so that SDKs send the whole conversation"),
        "tools.advisor": Row("refused", f"The advisor is {_NO_SUCH}"),
        "tools.code_execution": Row("refused", f"Code execution is {_NO_SUCH}"),
        "tools.web_fetch": Row("refused", f"Web fetch is {_NO_SUCH}"),
        "tools.web_search": Row("refused", f"Web search is {_NO_SUCH}"),
    }
)

_HOST = Host(
    version="bedrock-2023-05-31",
    betas=betas.BEDROCK,
    fidelity=FIDELITY,
    refused_tools={
        "advisor": "tools.advisor",
        "code_execution": "tools.code_execution",
        "mcp_toolset": "mcp_servers",
        "web_fetch": "tools.web_fetch",
        "web_search": "tools.web_search",
    },
    edits=False,
)


class AnthropicBedrock(Envelope):
    """The envelope."""

    dialect = "anthropic+bedrock"
    fidelity = FIDELITY
    counts = True

    def wrap(self, members: Members, context: Context, losses: Losses) -> Sent:
        stream = members.boolean("stream") is True
        body = _body(members, context, losses, {})
        operation, accept = ("invoke-with-response-stream", bedrock.EVENT_STREAM) if stream else ("invoke", None)
        return Sent(bedrock.target(context.model, operation), body, accept=accept)

    def wrap_count(self, members: Members, context: Context, losses: Losses) -> Sent:
        """CountTokens takes a whole request of InvokeModel, which must have ``max_tokens``."""
        more = {} if "max_tokens" in members else {"max_tokens": b"%d" % _enough(members)}
        body = base64.b64encode(_body(members, context, losses, more))
        target = bedrock.target(bedrock.base_model(context.model), "count-tokens")
        return Sent(target, b'{"input":{"invokeModel":{"body":"%b"}}}' % body)

    def unwrapper(self) -> Unwrapper:
        return FrameUnwrapper()

    def unwrap_count(self, body: bytes) -> bytes:
        try:
            tokens = msgspec.json.decode(body, type=_Count).tokens
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise StreamError("Bedrock's count cannot be read") from None
        return msgspec.json.encode({"input_tokens": tokens})

    def fault(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> Fault:
        return bedrock.fault(status, headers, body)


def _body(members: Members, context: Context, losses: Losses, more: Mapping[str, bytes]) -> bytes:
    made, sent = changes(members, context, losses, _HOST)
    made |= {"model": None, "stream": None, **more}
    if sent:
        made["anthropic_beta"] = msgspec.json.encode(sent)
    return splice.replace(members.body, members, made)


class _Thinking(msgspec.Struct):
    budget_tokens: int | None = None


_LEAST_TOKENS = 1024


def _enough(members: Members) -> int:
    """A ``max_tokens`` that any model takes with this request's thinking."""
    try:
        thinking = msgspec.json.decode(members.get("thinking") or b"{}", type=_Thinking | None)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _LEAST_TOKENS
    return max(_LEAST_TOKENS, (thinking.budget_tokens or 0) + 1 if thinking is not None else 0)


class _Count(msgspec.Struct):
    tokens: int = msgspec.field(name="inputTokens")


class _Chunk(msgspec.Struct):
    data: bytes | None = msgspec.field(name="bytes", default=None)  # msgspec reads base64


class _Typed(msgspec.Struct):
    type: str | None = None


_chunk = msgspec.json.Decoder(_Chunk).decode
_typed = msgspec.json.Decoder(_Typed).decode
_plain_name = re.compile(r"[a-z_]{1,64}").fullmatch


class FrameUnwrapper:
    """See `Unwrapper`: AWS frames in, server-sent events out; their data is as the model made it."""

    __slots__ = ("_ended", "_reader")

    def __init__(self) -> None:
        self._reader = Reader()
        self._ended = False

    def feed(self, data: bytes) -> bytes:
        out: list[bytes] = []
        for frame in self._reader.feed(data):
            if self._ended:
                break
            out.append(self._event(frame))
        if self._reader.error is not None and not self._ended:
            out.append(self._fail("api_error", f"Bedrock's stream is broken: {self._reader.error}"))
        return out[0] if len(out) == 1 else b"".join(out)

    def _event(self, frame: Frame) -> bytes:
        fault = bedrock.exception(frame)
        if fault is not None:
            return self._fail(fault.type, fault.message)
        if frame.headers.get(":event-type") != "chunk":
            return b""
        try:
            data = _chunk(frame.payload).data
            name = _typed(data).type if data else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._fail("api_error", "Bedrock's stream cannot be read")
        if not data or name is None or not _plain_name(name):
            return b""
        if name in ("message_stop", "error"):
            self._ended = True
        return sse.encode(name.encode("ascii"), data)

    def _fail(self, type: str, message: str) -> bytes:
        self._ended = True
        error: dict[str, Any] = {"type": "error", "error": {"type": type, "message": message}}
        return sse.encode(b"error", msgspec.json.encode(error))


CODEC = AnthropicBedrock()
