"""The seam between the server and everything behind it.

An `Exchange` is one client request and the response to it. The pipeline, the sandbox and every handler see only
this; which server made it (today ``asgi.py`` on uvicorn) they cannot tell. A faster server may stand behind the
same contract later, so keep it narrow.

Contract
- The head (`method`, `path`, `query`, `head` with the header fields) is there from the start. `path` is the raw path
  as the client sent it, still percent-encoded.
- The body is read once: either whole with `body`, or piece by piece with `pieces`. Both are bounded and both
  time out on a client that stops sending.
- The response is given once: either whole with `respond`, or as `start`, any number of `write`, `finish`.
  `write` returns when there is room for more: that is the backpressure. A client that does not read for too
  long is cut off like one that has gone away. Headers are given without hop-by-hop ones, as pairs with names in
  lower case, or as lines that each end with CRLF: these are sent as they are, so whoever gives them vouches for them.
  A HEAD request is answered like its GET, the server leaves the body out.
- When the client goes away before the response is finished, the task that runs the handler is cancelled. A
  handler therefore cleans up in ``finally`` and must not swallow ``CancelledError``.
- When the process ends and the handler has had its time, its task is cancelled too. The server then ends the
  response by itself: with an error, with a last event when `tail_open` allows it, or with a cut.
- When a handler ends without having finished a started response, the server closes the connection without the
  terminating chunk, so that the client can see the response is incomplete.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from asbru.errors import Headers
from asbru.headers import RequestHead


class Exchange(Protocol):
    """One client request and the response to it."""

    method: str
    path: bytes
    query: bytes
    head: RequestHead
    client: str
    """The peer's address, for logs only; empty when unknown."""
    started: bool
    """Whether the response's head has been given; from then on an error can only be an event or a cut."""
    request_id: str
    """Set by the handler: how errors that the server itself makes name the exchange. Empty at first."""
    is_drained: bool
    """Why the handler was cancelled: true when the process ends, false when the client has gone."""
    tail_open: bool
    """Kept by the handler: whether the last bytes written to an event stream ended inside an event."""

    async def body(self, limit_bytes: int) -> bytes:
        """The whole request body, joined once and inflated when it came with ``content-encoding: gzip``.

        Raises `GatewayError`: ``too_large`` beyond ``limit_bytes`` (before and after inflation, and early where
        content-length says so), ``unsupported_media_type`` for another encoding, ``invalid_request`` for a broken one,
        ``request_timeout`` when the client stops sending.
        """
        ...

    def pieces(self, limit_bytes: int) -> AsyncIterator[bytes]:
        """The request body as it arrives, as sent (never inflated); raises as `body` does."""
        ...

    async def respond(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        """The whole response. ``content-length`` is added by the server; ``headers`` must not hold it."""
        ...

    async def start(self, status: int, headers: Headers | bytes) -> None:
        """The head of a response whose body follows; chunked unless ``headers`` has ``content-length``."""
        ...

    async def write(self, data: bytes) -> None:
        """Some of the body; returns when there is room for more."""
        ...

    def put(self, data: bytes) -> bool:
        """As `write`, without waiting: whether there is room for more. Where there is none, `room` is to be awaited."""
        ...

    async def room(self) -> None:
        """Returns when the client has taken enough for more to be written."""
        ...

    async def finish(self) -> None:
        """The end of a body given with `write`."""
        ...

    def abort(self) -> None:
        """Cut the response off: the only way to say that what was written is not all. Nothing after the end."""
        ...


Handler = Callable[[Exchange], Awaitable[None]]
