"""What a client connection waits for."""

from __future__ import annotations

import enum


class Phase(enum.Enum):
    """What a connection waits for, and so what its deadline means."""

    HEAD = enum.auto()
    """The rest of a request's head, or the first byte on a new connection."""
    RUNNING = enum.auto()
    """A handler, or the client to take a response; the former has no deadline of ours."""
    BODY = enum.auto()
    """The request's body, for a handler."""
    IDLE = enum.auto()
    """The next request."""
    LINGERING = enum.auto()
    """The client's end, after the response."""
    CLOSING = enum.auto()
    """The client to take what is left of the response."""


HEAD, RUNNING, BODY, IDLE, LINGERING, CLOSING = Phase
