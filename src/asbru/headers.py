"""Which headers cross the bridge, in both directions, as tables.

Towards the provider everything goes through as it came, except what belongs to this connection (hop-by-hop, host,
length, encodings), what identifies the caller to the gateway (credentials, cookies) and what is said to the gateway
itself (``x-bf-*``, ``x-asbru-*``). ``x-bf-eh-<name>`` is forwarded as ``<name>`` unless that is one of these.
Towards the client every end-to-end header goes through as it came, except what only the gateway itself may say
(``x-asbru-*``, ``x-bifrost-*``).

Facts: RFC 9110 §7.6.1 (hop-by-hop fields); contract/gateway.md §§2, 4, 5.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from asbru.errors import Headers

CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"x-bf-vk"})
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_USUAL_CONNECTION = (b"keep-alive", b"close")
_NOT_UPSTREAM = (
    CREDENTIALS
    | HOP_BY_HOP
    | {
        b"cookie",
        b"host",
        b"content-length",
        b"content-encoding",  # a compressed body is inflated before it is read
        b"accept-encoding",  # replaced: see providers.head
        b"expect",
        b"forwarded",
        b"via",
        b"x-real-ip",
    }
)
_PRIVATE_PREFIXES = (b"x-bf-", b"x-asbru-", b"x-forwarded-", b"proxy-")
_NOT_DOWNSTREAM = HOP_BY_HOP | {b"content-length"}
_OWN_PREFIXES = (b"x-asbru-", b"x-bifrost-")

# What the gateway reads from a request's head itself; everything else it only forwards or drops.
_READ = frozenset(
    {
        b"anthropic-version",
        b"content-type",
        b"x-asbru-strict",
        b"x-bf-async",
        b"x-bf-async-id",
        b"x-bf-session-id",
        b"x-bf-api-key",
        b"x-bf-api-key-id",
        b"x-asbru-dry-run",
        b"x-claude-code-session-id",
        b"x-claude-code-agent-id",
        b"x-claude-code-parent-agent-id",
        b"host",
        b"x-forwarded-proto",
    }
)
_EXTRA = b"x-bf-eh-"
# What means the same to a provider of any dialect.
_TO_ANY = frozenset({b"traceparent", b"tracestate", b"baggage", b"idempotency-key"})
_DIMENSION = b"x-bf-dim-"
MAX_DIMENSIONS = 16
MAX_DIMENSION_CHARS = 128


@lru_cache(maxsize=4096)
def _role(name: bytes) -> tuple[bytes | None, bool]:
    """How the header's line towards the provider begins (None: it does not go there), and whether the gateway reads it.

    Remembered, because clients send the same few names again and again.
    """
    is_read = name in _READ or name == b"connection" or name.startswith(_DIMENSION)
    sent = name[len(_EXTRA) :] if name.startswith(_EXTRA) else name
    goes = bool(sent) and sent not in _NOT_UPSTREAM and not sent.startswith(_PRIVATE_PREFIXES)
    return (sent + b": " if goes else None), is_read


class Ingress:
    """A request's head, read once: what goes upstream, and what was said to the gateway."""

    __slots__ = ("_headers", "dimensions", "forwarded", "said")

    def __init__(self, headers: Headers) -> None:
        self._headers = headers
        self.said: dict[bytes, bytes] = {}
        self.dimensions: dict[str, str] = {}
        lines: list[bytes] = []
        named: list[bytes] = []
        for name, value in headers:
            begin, is_read = _role(name)
            if begin is not None:
                lines += (begin, value, b"\r\n")
            if is_read:
                self._read(name, value, named)
        if named:  # the client says of these that they are for this connection alone
            lines = [part for at in range(0, len(lines), 3) if lines[at] not in named for part in lines[at : at + 3]]
        self.forwarded = b"".join(lines)
        """Header lines for the upstream request, each ended with CRLF."""

    def _read(self, name: bytes, value: bytes, named: list[bytes]) -> None:
        """Take in a header that says something to the gateway, or about other headers."""
        if name == b"connection":
            if value.lower() not in _USUAL_CONNECTION:
                named += (option.strip() + b": " for option in value.lower().split(b","))
        elif name.startswith(_DIMENSION):
            if len(self.dimensions) < MAX_DIMENSIONS:
                key = name[len(_DIMENSION) :].decode("latin-1")[:MAX_DIMENSION_CHARS]
                self.dimensions[key] = value.decode("latin-1")[:MAX_DIMENSION_CHARS]
        else:
            self.said[name] = value

    @property
    def forwarded_to_any(self) -> bytes:
        """The header lines that make sense to a provider of any dialect: few, and those the client insists on."""
        lines: list[bytes] = []
        for name, value in self._headers:
            extra = name.startswith(_EXTRA)
            sent = name[len(_EXTRA) :] if extra else name
            if name in _TO_ANY or (
                extra and sent and sent not in _NOT_UPSTREAM and not sent.startswith(_PRIVATE_PREFIXES)
            ):
                lines += (sent, b": ", value, b"\r\n")
        return b"".join(lines)

    @property
    def betas(self) -> list[str]:
        """The values of ``anthropic-beta``, from one line or several."""
        lines = [value.decode("latin-1") for name, value in self._headers if name == b"anthropic-beta"]
        return [beta.strip() for line in lines for beta in line.split(",") if beta.strip()]

    def text(self, name: bytes) -> str | None:
        """A header the gateway reads, or None when it is absent or empty."""
        value = self.said.get(name)
        return value.decode("latin-1") if value else None

    @property
    def session(self) -> str | None:
        """The conversation this request belongs to."""
        return self.text(b"x-bf-session-id") or self.text(b"x-claude-code-session-id")

    def flag(self, name: bytes) -> bool:
        return self.said.get(name, b"").lower() in (b"true", b"1")


@lru_cache(maxsize=4096)
def _goes_downstream(name: bytes) -> bool:
    return name not in _NOT_DOWNSTREAM and not name.startswith(_OWN_PREFIXES)


def downstream(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The end-to-end headers of an upstream's answer, as they came and in their order."""
    kept: Headers = []
    named: list[bytes] = []
    for header in headers:
        if _goes_downstream(header[0]):
            kept.append(header)
        elif header[0] == b"connection" and header[1].lower() not in _USUAL_CONNECTION:
            named += (option.strip() for option in header[1].lower().split(b","))
    return [header for header in kept if header[0] not in named] if named else kept
