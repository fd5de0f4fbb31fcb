"""The upstream HTTP/1.1 client: a pool of connections to one origin, and requests on it.

It moves bytes. It knows nothing of providers, JSON or models; it never follows a redirect, never decodes a body
unasked (`Response.inflate`), and never retries, with one exception: a request on a reused connection that is lost
before any byte of a response is sent once more on a fresh one, since the upstream had most likely closed the
connection just before. A body in pieces cannot be sent once more, and always goes on a fresh one.

The caller gives the whole request head as bytes and owns what it says. `Pool.request` returns at the final
response's head; its body is read from the `Response`, which must be closed or read to its end. Every failure is an
`UpstreamError`. Cancelling at any await closes the connection and leaves nothing behind.

Places: a connection, live or being dialled, takes one of ``max_connections`` places. A request takes

1. the most recently used idle connection (LIFO: the others age and are closed by their own timers), or else
2. a free place, and dials, or else
3. waits in a queue, first come first served, for a released connection or a freed place.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial

from asbru.upstream.connection import CLOSED, DIALLED, HEAD, Connection
from asbru.upstream.dial import Admits, TlsContexts, dial, tls_context
from asbru.upstream.origin import Kind, Limits, Origin, UpstreamError
from asbru.upstream.proxy import Proxy, proxy_for
from asbru.upstream.response import Response

__all__ = [
    "Kind",
    "Limits",
    "Origin",
    "Pool",
    "Proxy",
    "Response",
    "TlsContexts",
    "UpstreamError",
    "proxy_for",
    "tls_context",
]


class Pool:
    """Connections to one origin, and the requests that wait for one. Belongs to one event loop.

    ``ssl_context`` is used for an ``https`` origin only, and needed there. ``admits`` is `dial`'s.
    """

    __slots__ = (
        "_admits",
        "_closed",
        "_connections",
        "_idle",
        "_limits",
        "_loop",
        "_places",
        "_proxy",
        "_ssl_context",
        "_waiters",
        "origin",
    )

    def __init__(
        self,
        origin: Origin,
        limits: Limits,
        *,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        admits: Admits | None = None,
    ) -> None:
        if origin.scheme == "https" and ssl_context is None:
            raise ValueError(f"{origin} needs a TLS context")
        self.origin = origin
        self._limits = limits
        self._ssl_context = ssl_context if origin.scheme == "https" else None
        self._proxy = proxy
        self._admits = admits
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._places = 0
        """Places taken: connections, dials under way, and places on their way to a waiter."""
        self._connections: set[Connection] = set()
        self._idle: dict[Connection, None] = {}
        """A stack from which one in the middle can be taken: dicts keep their order."""
        self._waiters: OrderedDict[asyncio.Future[Connection | None], None] = OrderedDict()
        """Each gets an idle connection, or None for a free place."""

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    @property
    def busy(self) -> int:
        """Places in use: exchanges and dials."""
        return self._places - len(self._idle)

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return len(self._waiters)

    def __repr__(self) -> str:
        closed = " closed" if self._closed else ""
        return f"<Pool {self.origin} idle={self.idle} busy={self.busy} waiting={self.waiting}{closed}>"

    async def request(
        self,
        head: bytes,
        body: bytes | AsyncIterator[bytes] | None = None,
        *,
        deadline: float | None = None,
        method: bytes = b"POST",
    ) -> Response:
        """Send a request and return the final response's head, with its body to be read.

        ``head`` is complete: request line, fields (``host``; ``content-length`` or ``transfer-encoding: chunked``
        when there is a body) and the empty line. A body in pieces is framed here when the head says chunked.
        ``deadline`` is a time of the loop's clock that bounds everything, the response's body included.
        ``method`` tells whether the response has a body.

        Raises `UpstreamError`, and whatever ``body`` raises.
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        if deadline is not None and deadline <= loop.time():
            raise UpstreamError("deadline", "the request's deadline had passed before it was sent")
        if not (body is None or isinstance(body, bytes)):
            return await self._upload(loop, head, body, deadline, method)
        if self._idle:  # fast path: saves a coroutine per request
            connection, _ = self._idle.popitem()
        else:
            connection = await self._acquire(loop, deadline)
        while True:
            waiter = connection.send(head, body, deadline, method == b"HEAD")
            try:
                return await waiter
            except BaseException as error:
                if not (_was_stale(error) and connection.reused):
                    self._give_up(connection, waiter)
                    raise
            finally:
                del waiter  # it holds the error, whose traceback holds this frame
            connection = await self._dial(loop, deadline)  # in the same place; fresh, so this happens once

    async def close(self) -> None:
        """Close every connection; requests under way and waiting fail. No request may follow."""
        self._closed = True
        while self._waiters:
            waiter, _ = self._waiters.popitem()
            if not waiter.done():
                waiter.set_exception(UpstreamError("no_connection", "the pool was closed"))
        for connection in list(self._connections):
            connection.fail("no_connection", "the pool was closed")
        await asyncio.sleep(0)  # the transports close their sockets in the next turn

    # ---- places

    async def _acquire(self, loop: asyncio.AbstractEventLoop, deadline: float | None) -> Connection:
        """A connection for a request, by the rules at the top of the file."""
        while True:
            if self._closed:
                raise UpstreamError("no_connection", "the pool was closed")
            if self._idle:
                return self._idle.popitem()[0]
            if self._places < self._limits.max_connections:
                self._places += 1
                return await self._dial(loop, deadline)
            connection = await self._wait(loop, deadline)
            if connection is None:
                return await self._dial(loop, deadline)
            if connection.phase != CLOSED:
                return connection
            # It closed on its way here: once more.

    async def _wait(self, loop: asyncio.AbstractEventLoop, deadline: float | None) -> Connection | None:
        """An idle connection, or None with a place: first come, first served."""
        limits = self._limits
        if len(self._waiters) >= limits.max_waiters:
            raise UpstreamError("no_connection", f"{self.origin}: too many requests wait for a connection")
        wait_until = loop.time() + limits.wait_s
        error = UpstreamError("wait_timeout", f"{self.origin}: no connection became free in {limits.wait_s:g} s")
        if deadline is not None and deadline < wait_until:
            wait_until = deadline
            error = UpstreamError("deadline", "the request's deadline passed while it waited for a connection")
        waiter: asyncio.Future[Connection | None] = loop.create_future()
        self._waiters[waiter] = None
        timer = loop.call_at(wait_until, _expire, waiter, error)
        try:
            return await waiter
        except BaseException:
            if waiter in self._waiters:
                del self._waiters[waiter]
            elif not waiter.cancelled() and waiter.exception() is None:
                # Cancelled in the turn in which it was served: the next one gets it.
                connection = waiter.result()
                if connection is None:
                    self._free_place()
                elif connection.phase != CLOSED:
                    self.released(connection)
            raise
        finally:
            timer.cancel()
            del waiter, error  # an error that is raised refers to this frame

    async def _dial(self, loop: asyncio.AbstractEventLoop, deadline: float | None) -> Connection:
        """A fresh connection in a place that the caller holds; when it fails, the place is free again."""
        try:
            limit_s = self._limits.connect_s
            left_s = limit_s if deadline is None else deadline - loop.time()
            make = partial(Connection, self, self._limits, loop)
            try:
                within_s = min(limit_s, left_s)
                connection = await dial(self.origin, make, self._ssl_context, self._proxy, within_s, self._admits)
            except UpstreamError as error:
                if error.kind == "connect_timeout" and left_s < limit_s:
                    raise UpstreamError("deadline", "the request's deadline passed while connecting") from error
                raise
            if self._closed:
                connection.close()
                raise UpstreamError("no_connection", "the pool was closed")
        except BaseException:
            self._free_place()
            raise
        self._connections.add(connection)
        return connection

    def _give_up(self, connection: Connection, waiter: asyncio.Future[Response]) -> None:
        """A request failed or was cancelled before it returned a response: close all it holds."""
        if waiter.cancel() or waiter.cancelled() or waiter.exception() is not None:
            connection.close()
            self._free_place()
        else:
            waiter.result().close()  # cancelled in the turn in which the response came

    def _free_place(self) -> None:
        if not self._serve_next(None):
            self._places -= 1

    def _serve_next(self, connection: Connection | None) -> bool:
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    # ---- what connections say (`connection.Owner`)

    def released(self, connection: Connection) -> None:
        if not (self._waiters and self._serve_next(connection)):
            self._idle[connection] = None

    def dropped(self, connection: Connection, place_is_free: bool) -> None:
        self._connections.discard(connection)
        self._idle.pop(connection, None)
        if place_is_free:
            self._free_place()

    # ---- bodies in pieces

    async def _upload(
        self,
        loop: asyncio.AbstractEventLoop,
        head: bytes,
        pieces: AsyncIterator[bytes],
        deadline: float | None,
        method: bytes,
    ) -> Response:
        """`request` for a body in pieces, which cannot be sent twice: so not on a connection that may be stale."""
        length_bytes = _declared_length(head)
        connection = await self._acquire(loop, deadline)
        if connection.reused:
            connection.phase = DIALLED  # its place stays ours
            connection.close()
            connection = await self._dial(loop, deadline)
        waiter = connection.send(head, None, deadline, method == b"HEAD")
        connection.uploading = True
        sender = loop.create_task(_send_pieces(connection, pieces, length_bytes))
        sender.add_done_callback(partial(_report, waiter))
        try:
            response = await waiter
            sender.cancel()  # an early answer: the rest is not wanted
            await asyncio.wait((sender,))
            return response
        except BaseException:
            self._give_up(connection, waiter)
            sender.cancel()
            await asyncio.wait((sender,))
            raise
        finally:
            del waiter, sender  # they hold the error, whose traceback holds this frame


def _was_stale(error: BaseException) -> bool:
    """Whether a reused connection that failed so had most likely been closed before the request was sent."""
    return isinstance(error, UpstreamError) and error.kind == "reset" and not error.responded


def _expire(waiter: asyncio.Future[Connection | None], error: UpstreamError) -> None:
    if not waiter.done():
        waiter.set_exception(error)


def _declared_length(head: bytes) -> int | None:
    """What the request's head says of its body: a length, or None for chunked."""
    if re.search(rb"(?i)\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", head):
        return None
    length = re.search(rb"(?i)\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", head)
    if length is None:
        raise ValueError("the head of a request with a body in pieces must declare its length, or chunked")
    return int(length[1])


async def _send_pieces(connection: Connection, pieces: AsyncIterator[bytes], length_bytes: int | None) -> None:
    """Send the body until it ends, or until the response or the connection's end makes it pointless."""
    sent_bytes = 0
    try:
        async for piece in pieces:
            sent_bytes += len(piece)
            if length_bytes is not None:
                if sent_bytes > length_bytes:
                    raise ValueError(f"the request body is longer than the {length_bytes} bytes its head declares")
                await connection.write(piece)
            elif piece:
                await connection.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if connection.phase != HEAD:
                return
        if length_bytes is None:
            await connection.write(b"0\r\n\r\n")
        elif sent_bytes < length_bytes:
            raise ValueError(f"the request body ended after {sent_bytes} of the {length_bytes} bytes its head declares")
        connection.uploading = False
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def _report(waiter: asyncio.Future[Response], sender: asyncio.Task[None]) -> None:
    """A body that fails fails its request; so does one that cancels itself."""
    if sender.cancelled():
        waiter.cancel()  # does nothing when it was stopped from here: then there is an outcome
    elif (error := sender.exception()) is not None and not waiter.done():
        waiter.set_exception(error)
