"""What all connections of one listener share, and the bound on the request bodies that they hold together.

Counted is what has come of a body that was not all there with the read that brought its head, until the body is let
go: taken in pieces, or answered. What lies in one read is bounded by the number of connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from asbru import config
from asbru.server.cors import Cors

if TYPE_CHECKING:
    from asbru.server.connection import Connection
    from asbru.server.http_exchange import HttpExchange


BURST_BYTES = 33_554_432


class Holder(Protocol):
    """Whoever holds some: an exchange."""

    held_bytes: int


class Held:
    """The count. ``limit_bytes`` is for all holders together."""

    __slots__ = ("after_burst", "limit_bytes", "peak_bytes", "total_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.total_bytes = 0
        self.peak_bytes = 0
        """The most since nothing was held."""
        self.after_burst: Callable[[], object] | None = None
        """Called when the last of more than `BURST_BYTES` has been let go."""

    def add(self, holder: Holder, size_bytes: int) -> bool:
        """Count some more; whether it is within the bound."""
        holder.held_bytes += size_bytes
        self.total_bytes += size_bytes
        self.peak_bytes = max(self.peak_bytes, self.total_bytes)
        return self.total_bytes <= self.limit_bytes

    def drop(self, holder: Holder) -> None:
        """It holds nothing any more."""
        self.total_bytes -= holder.held_bytes
        holder.held_bytes = 0
        if not self.total_bytes:
            if self.peak_bytes > BURST_BYTES and self.after_burst is not None:
                self.after_burst()
            self.peak_bytes = 0


class Shared:
    """What all connections of one listener share."""

    __slots__ = ("connections", "cors", "draining", "emptied", "held", "leaving", "limits", "running")

    def __init__(self, limits: config.Server) -> None:
        self.limits = limits
        self.held = Held(limits.max_buffered_bytes)
        self.cors = Cors(limits.cors) if limits.cors.origins else None
        self.connections: set[Connection] = set()
        self.running: set[HttpExchange] = set()
        """Exchanges whose task has not ended; they may have outlived their connection."""
        self.leaving = False
        """Whether the process has been told to end: readiness says so, and responses close their connection."""
        self.draining = False
        """Whether nothing new is taken any more."""
        self.emptied = asyncio.Event()
        """Set when the last connection is gone."""
