"""What the upstream client is told, and what it says when it fails.

`Origin` and `Limits` are given to a `Pool`; `UpstreamError` is the only exception that leaves the client besides
what a caller's own body iterator raises. Nothing here does I/O.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

Kind = Literal[
    "connect",  # refused, unreachable, unknown host, or the proxy said no
    "tls",  # the handshake failed, or the certificate is not trusted
    "connect_timeout",  # no connection within `connect_s`
    "no_connection",  # every connection is busy and too many requests wait already, or the pool is closed
    "wait_timeout",  # every connection stayed busy for `wait_s`
    "reset",  # the connection was lost before the response was complete
    "first_byte_timeout",  # no response head within `first_byte_s`
    "idle_timeout",  # the body stood still for `idle_s`
    "deadline",  # the caller's own deadline passed, in whatever phase
    "protocol",  # not HTTP/1.1: garbage, contradicting lengths, a head beyond its limits
    "too_large",  # a body beyond what `read_all` was allowed to hold
]


class UpstreamError(Exception):
    """An exchange with an upstream that failed; ``message`` holds no credential and none of the upstream's text.

    ``responded`` says whether any byte of a response had come: if not, the request may be tried elsewhere as
    though it had never been sent (it may have been executed all the same, as with any lost connection).
    """

    def __init__(self, kind: Kind, message: str, *, responded: bool = False) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message
        self.responded = responded

    def again(self) -> UpstreamError:
        """The same to be raised where this one is kept: a raised error holds the frames it went through."""
        return UpstreamError(self.kind, self.message, responded=self.responded)

    def __repr__(self) -> str:
        return f"UpstreamError({self.kind}: {self.message})"


class Origin(NamedTuple):
    """Where a pool's connections lead. ``host`` is a bare name or address, IPv6 without brackets."""

    scheme: Literal["http", "https"]
    host: str
    port: int

    @property
    def authority(self) -> str:
        """``host:port``, as in a CONNECT request."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Limits(msgspec.Struct, kw_only=True, frozen=True):
    """Bounds of a pool and of every exchange on it."""

    max_connections: int = 1000
    max_waiters: int = 1000
    """Requests that may wait for a connection; one more fails with ``no_connection``."""
    wait_s: float = 10.0
    connect_s: float = 5.0
    """Name lookup, TCP, proxy and TLS together."""
    first_byte_s: float = 600.0
    """From the request's last piece handed to the socket to the response's complete head."""
    idle_s: float = 300.0
    """The longest silence within a body; time in which the caller does not read does not count."""
    keep_alive_s: float = 60.0
    """How long an unused connection is kept."""
    max_header_bytes: int = 65_536
    max_headers: int = 200
    read_buffer_bytes: int = 262_144
    """Reading pauses when more than this is buffered, and resumes when the caller reads."""
