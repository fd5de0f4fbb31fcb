"""Claude on Google Cloud (Vertex AI): Messages in an envelope.

The model is in the path, ``anthropic_version`` in the body; the betas stay a header, and answers and events are as
Anthropic's own. Errors are Anthropic's, or Google's where the request never came to Anthropic. Facts: the official
Python SDK ``anthropic`` 2.11.0, lib/vertex; contract/translation.md §8.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from asbru.dialects import betas, faults, splice
from asbru.dialects.codec import Context, Envelope, Fault, Sent, Unwrapper
from asbru.dialects.enveloping import Host, changes, table
from asbru.dialects.losses import Losses, Row
from asbru.dialects.splice import Members

_NO_SUCH = "not supported for Claude on Vertex AI"

FIDELITY = table(
    {
        "anthropic-beta": Row("approximated", "those that Vertex AI does not take are dropped"),
        "billing_policy": Row("dropped", _NO_SUCH),
        "cache_control": Row("exact", "automatic caching becomes a breakpoint on the last block"),
        "container": Row("refused", f"Containers and skills are {_NO_SUCH}"),
        "container_upload": Row("refused", f"Container uploads are {_NO_SUCH}"),
        "diagnostics": Row("dropped", _NO_SUCH),
        "document.file": Row("refused", f"Files of the Files API are {_NO_SUCH}"),
        "fallback_credit_token": Row("refused", f"Fallback credit is {_NO_SUCH}"),
        "fallbacks.objects": Row("dropped", "the gateway's own `fallbacks` are names"),
        "image.file": Row("refused", f"Files of the Files API are {_NO_SUCH}"),
        "inference_geo": Row("dropped", "the location in the URL says where"),
        "mcp_servers": Row("refused", f"Remote MCP servers are {_NO_SUCH}"),
        "service_tier": Row("exact", "there is one tier only"),
        "speed": Row("dropped", _NO_SUCH),
        "system.billing_header": Row("exact", "removed, as Anthropic itself does"),
        "tags": Row("dropped", _NO_SUCH),
        "thread": Row("refused", "answered so that SDKs send the whole conversation"),
        "tools.advisor": Row("refused", f"The advisor is {_NO_SUCH}"),
        "tools.code_execution": Row("refused", f"Code execution is {_NO_SUCH}"),
        "tools.web_fetch": Row("refused", f"Web fetch is {_NO_SUCH}"),
        "tools.web_search": Row("refused", f"Web search is {_NO_SUCH}, but for `web_search_20250305`"),
    }
)

_HOST = Host(
    version="vertex-2023-10-16",
    betas=betas.VERTEX,
    fidelity=FIDELITY,
    refused_tools={
        "advisor": "tools.advisor",
        "code_execution": "tools.code_execution",
        "mcp_toolset": "mcp_servers",
        "web_fetch": "tools.web_fetch",
        "web_search": "tools.web_search",
    },
    allowed_tools=frozenset({"web_search_20250305"}),
)


class AnthropicVertex(Envelope):
    """The envelope. The base URL ends with ``/projects/…/locations/…/publishers/anthropic``."""

    dialect = "anthropic+vertex"
    fidelity = FIDELITY
    counts = True

    def wrap(self, members: Members, context: Context, losses: Losses) -> Sent:
        made, sent = changes(members, context, losses, _HOST)
        method = "streamRawPredict" if members.boolean("stream") is True else "rawPredict"
        target = f"/models/{quote(context.model, safe='')}:{method}".encode("ascii")
        body = splice.replace(members.body, members, {**made, "model": None})
        return Sent(target, body, _lines(sent))

    def wrap_count(self, members: Members, context: Context, losses: Losses) -> Sent:
        """The one request whose body names the model."""
        made, sent = changes(members, context, losses, _HOST)
        made["model"] = msgspec.json.encode(context.model)
        body = splice.replace(members.body, members, made)
        sent = [beta for beta in sent if not beta.startswith("web-search")]  # refused here: Claude Code 12429
        return Sent(b"/models/count-tokens:rawPredict", body, _lines(sent))

    def unwrapper(self) -> Unwrapper:
        return Plain()

    def unwrap_count(self, body: bytes) -> bytes:
        return body

    def fault(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> Fault | None:
        try:
            said = msgspec.json.decode(body, type=_Error | list[_Error])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return faults.fault(status, body[: faults.MAX_MESSAGE_CHARS].decode("utf-8", "replace"), headers)
        error = said if isinstance(said, _Error) else said[0] if said else _Error()
        if error.type == "error" and error.error is not None and error.error.type is not None:
            return None
        message = (error.error.message if error.error is not None else None) or ""
        if status in (400, 413) and faults.says_too_long(message):
            return faults.too_long(message)
        return faults.fault(status, message, headers)


class _Inside(msgspec.Struct):
    type: str | None = None
    message: str | None = None


class _Error(msgspec.Struct):
    type: str | None = None
    error: _Inside | None = None


def _lines(sent: list[str]) -> bytes:
    return b"anthropic-beta: %b\r\n" % ",".join(sent).encode("ascii") if sent else b""


class Plain:
    """See `Unwrapper`: there is nothing around the events."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        return data


CODEC = AnthropicVertex()
