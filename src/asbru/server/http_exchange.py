"""The `Exchange` of an HTTP/1 connection: one request as it was parsed, and its response as it is written.

Here is what HTTP says about one message: how long the body may be, how the response is framed, what a HEAD request
or an HTTP/1.0 client gets, when the connection may be kept. What HTTP says about a connection (parsing, pipelining,
time-outs) is in `connection`, which an exchange sees only as a `Wire`.

The methods of the contract (`body`, `pieces`, `respond`, `start`, `write`, `finish`, `abort`) are for handlers; they
suspend only where there is something to wait for. `give`, `put`, `end` and `fail` never do, and are what the server
itself uses.
"""

from __future__ import annotations

import asyncio
import http
import re
import secrets
from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from asbru import errors
from asbru.errors import GatewayError, Headers
from asbru.headers import RequestHead, lines, pairs
from asbru.server import cors
from asbru.server.inflate import gunzip
from asbru.server.shared import Held
from asbru.turns import PIECE_BYTES


class Wire(Protocol):
    """What an exchange needs of its connection."""

    loop: asyncio.AbstractEventLoop
    held: Held
    full: bool
    """Whether the client has yet to take what it has been sent before there is room for more."""

    def send(self, data: bytes) -> None:
        """Write; after the connection is gone, do nothing."""
        ...

    async def room(self) -> None:
        """Return when the client has taken enough."""
        ...

    def want_body(self) -> None:
        """The current exchange waits for its request body: read on, and watch that it comes."""
        ...

    def body_came(self) -> None:
        """It waits no longer."""
        ...

    def exchange_finished(self) -> None:
        """The current exchange has its response."""
        ...

    def exchange_ended(self, exchange: HttpExchange) -> None:
        """The task of an exchange has ended, one way or another."""
        ...

    def cut(self, *, reset: bool) -> None:
        """Close the connection: after what was sent, or with a reset where a plain end would look like success."""
        ...


def _status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")


STATUS_LINES = {status: _status_line(status) for status in range(200, 1000)}
NO_BODY_STATUSES = (204, 304)
NO_HEAD = RequestHead(b"")
_content_length = re.compile(rb"(?i)\ncontent-length:[ \t]*(\d+)").search
_event_stream = re.compile(rb"(?i)\ncontent-type:[ \t]*text/event-stream").search

_SMALL_PART_BYTES = 1_024
_MAX_SMALL_PARTS = 1_024
# Above this, a second write costs less than a copy of the body to join it with its head.
JOIN_MAX_BYTES = 65_536
JOIN_ON_LOOP_BYTES = 1_048_576
"""A larger body is joined in a thread."""


class HttpExchange(msgspec.Struct, eq=False, weakref=False):
    """One request and the response to it; see `asbru.server.exchange.Exchange` for the contract."""

    wire: Wire
    client: str

    # The head of the request.
    method: str = ""
    path: bytes = b""
    query: bytes = b""
    head: RequestHead = NO_HEAD
    is_http_1_0: bool = False
    content_length: int | None = None
    """None when the body is chunked; 0 when there is none."""
    content_encoding: bytes = b""
    expects_continue: bool = False

    # The body of the request: what has arrived and has not been taken.
    parts: list[bytes] = []
    small_parts: int = 0
    """How many of the last parts in a row are small."""
    received_bytes: int = 0
    """All of it so far, taken or not."""
    joined: int = 0
    """How many of the parts are large, or have been joined; see `receive` …"""
    loose_bytes: int = 0
    """… and what the others hold."""
    held_bytes: int = 0
    """Of it, what counts against the bound on all bodies."""
    complete: bool = False
    """Whether the whole request has arrived."""
    failure: GatewayError | None = None
    """Why the rest of the body will never arrive."""
    waiter: asyncio.Future[None] | None = None
    """The handler, while it waits for the body …"""
    wake_at_bytes: int = 0
    """… to be complete, or to be longer than this."""

    # The response.
    started: bool = False
    finished: bool = False
    aborted: bool = False
    keep_alive: bool = True
    """Whether another request may follow on the connection."""
    unsent_head: bytes = b""
    """The head that `start` was given, until it goes out with the first bytes of the body."""
    has_body: bool = True
    chunked: bool = False
    left_bytes: int | None = None
    """What the response's content-length still promises."""
    is_event_stream: bool = False
    request_id: str = ""
    tail_open: bool = False

    # Who runs it.
    refusal: GatewayError | None = None
    """Set on a request that the server itself refuses; it has no handler."""
    task: asyncio.Task[None] | None = None
    is_drained: bool = False
    """Whether the handler was cancelled because the process ends, not because the client went away."""
    cors: Headers = []
    """Headers that the response carries besides its own."""

    def __repr__(self) -> str:
        # The default would print the headers, and with them credentials.
        state = "finished" if self.finished else "started" if self.started else "waiting"
        return f"<HttpExchange {self.method} {self.path!r} {state}>"

    def name(self) -> str:
        """The request's id in the answers that the server itself makes."""
        self.request_id = self.request_id or f"req_{secrets.token_hex(11)}"
        return self.request_id

    # The request body

    async def body(self, limit_bytes: int) -> bytes:
        self._check_announced(limit_bytes)
        if not self.complete:
            self.wake_at_bytes = limit_bytes
            await self._arrival()
        if self.received_bytes > limit_bytes:
            raise _too_large(limit_bytes)
        if self.failure is not None:
            raise self.failure
        parts = self._take_parts()
        if self.received_bytes > JOIN_ON_LOOP_BYTES and len(parts) > 1:
            data = await asyncio.to_thread(b"".join, parts)  # which lets go of the interpreter meanwhile
        else:
            data = parts[0] if len(parts) == 1 else b"".join(parts)
        del parts
        if self.content_encoding in (b"", b"identity") or not data:
            return data
        if self.content_encoding not in (b"gzip", b"x-gzip"):
            raise GatewayError("unsupported_media_type", "The request body's content-encoding must be gzip or identity")
        data = await asyncio.to_thread(gunzip, data, limit_bytes)
        if not self.wire.held.add(self, len(data)):
            raise too_much_held()
        return data

    async def pieces(self, limit_bytes: int) -> AsyncIterator[bytes]:
        self._check_announced(limit_bytes)
        while True:
            parts = self._take_parts()
            self.let_go()
            for part in parts:
                yield part
            if self.parts:
                continue
            if self.received_bytes > limit_bytes:
                raise _too_large(limit_bytes)
            if self.failure is not None:
                raise self.failure
            if self.complete:
                return
            self.wake_at_bytes = self.received_bytes
            await self._arrival()

    def _take_parts(self) -> list[bytes]:
        parts, self.parts = self.parts, []
        self.joined = self.loose_bytes = self.small_parts = 0
        return parts

    def _check_announced(self, limit_bytes: int) -> None:
        if self.content_length is not None and self.content_length > limit_bytes:
            raise _too_large(limit_bytes)

    async def _arrival(self) -> None:
        """Return when the body is complete, has failed, or is longer than `wake_at_bytes`."""
        if self.finished or self.aborted:
            raise RuntimeError("the body is read before the response is finished")
        self.wire.want_body()
        try:
            while not self.complete and self.failure is None and self.received_bytes <= self.wake_at_bytes:
                self.waiter = self.wire.loop.create_future()
                await self.waiter
        finally:
            self.waiter = None
            self.wire.body_came()

    def receive(self, part: bytes) -> None:
        """Some of the body has arrived."""
        parts = self.parts
        parts.append(part)
        self.received_bytes += len(part)
        self.loose_bytes += len(part)
        self.small_parts = self.small_parts + 1 if len(part) < _SMALL_PART_BYTES else 0
        if self.loose_bytes >= PIECE_BYTES:
            # A large body is held in large parts, whose memory goes back to the system (`serve._tune_memory`).
            parts[self.joined :] = [b"".join(parts[self.joined :])]
            self.joined += 1
            self.small_parts = self.loose_bytes = 0
        elif self.small_parts == _MAX_SMALL_PARTS:
            # A body of one-byte chunks would otherwise be an object for every byte, 40 times its size.
            parts[-_MAX_SMALL_PARTS:] = [b"".join(parts[-_MAX_SMALL_PARTS:])]
            self.small_parts = 0
        if self.waiter is not None and self.received_bytes > self.wake_at_bytes:
            self._wake()

    def let_go(self) -> None:
        """Its body is held no longer."""
        if self.held_bytes:
            self.wire.held.drop(self)

    def receive_end(self) -> None:
        """All of it has."""
        self.complete = True
        if self.waiter is not None:
            self._wake()

    def receive_failure(self, error: GatewayError) -> None:
        """The rest never will."""
        self.failure = error
        self.keep_alive = False
        if self.waiter is not None:
            self._wake()

    def _wake(self) -> None:
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # The response, as handlers give it

    async def respond(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        self.give(status, headers, body)

    async def start(self, status: int, headers: Headers | bytes) -> None:
        self._must_not_be_started()
        head = self._head(status, headers)
        self.has_body = self.method != "HEAD" and status not in NO_BODY_STATUSES
        if length := _content_length(head):
            self.left_bytes = int(length[1])
        elif self.has_body:
            if self.is_http_1_0:
                self.keep_alive = False  # the end of the connection is the end of the body
            else:
                self.chunked = True
        framing = b"transfer-encoding: chunked\r\n" if self.chunked else b""
        self.unsent_head = b"%b%b%b\r\n" % (head, framing, self._connection_line())
        self.is_event_stream = _event_stream(head) is not None
        self.started = True
        self.let_go()
        # The first bytes of the body usually follow at once, and then go out in the same packet.
        self.wire.loop.call_soon(self._send_head)

    async def write(self, data: bytes) -> None:
        if not self.put(data):
            await self.room()

    async def room(self) -> None:
        if self.wire.full:
            await self.wire.room()

    async def finish(self) -> None:
        self.end()

    # The response, as the server gives it

    def give(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        """The whole response."""
        self._must_not_be_started()
        head = self._head(status, headers)
        is_head = self.method == "HEAD"
        # An upstream's answer to a HEAD comes without its body, and 0 is not what that would be long.
        is_unknown = status in NO_BODY_STATUSES or (is_head and not body)
        length = b"" if is_unknown else b"content-length: %d\r\n" % len(body)
        head = b"%b%b%b\r\n" % (head, length, self._connection_line())
        if is_head or is_unknown:
            body = b""
        self.started = True
        if len(body) < JOIN_MAX_BYTES:
            self.wire.send(head + body)
        else:
            self.wire.send(head)
            self.wire.send(body)
        self._finish()

    def put(self, data: bytes) -> bool:
        if not self.started or self.finished:
            raise RuntimeError("a response's body is written after its start and before its end")
        if not data or not self.has_body:
            return not self.wire.full
        if self.left_bytes is not None:
            if len(data) > self.left_bytes:
                raise RuntimeError("the response is longer than its content-length")
            self.left_bytes -= len(data)
        head, self.unsent_head = self.unsent_head, b""
        if not self.chunked:
            self.wire.send(head + data if head else data)
        else:
            self.wire.send(b"%b%x\r\n%b\r\n" % (head, len(data), data))
        return not self.wire.full

    def end(self) -> None:
        """The end of the body."""
        if not self.started or self.finished:
            raise RuntimeError("a response is finished once, after its start")
        if self.left_bytes and self.has_body:
            raise RuntimeError("the response is shorter than its content-length")
        head, self.unsent_head = self.unsent_head, b""
        if self.chunked:
            self.wire.send(head + b"0\r\n\r\n")
        elif head:
            self.wire.send(head)
        self._finish()

    def fail(self, error: GatewayError) -> None:
        """End as an error: as the whole response, as a stream's last event, or, where neither is possible, as a cut."""
        if self.finished or self.aborted:
            return
        request_id = self.name()
        if not self.started:
            self.give(*errors.render(error, request_id))
        elif self.is_event_stream and not self.tail_open and self.left_bytes is None:
            self.put(errors.event(error, request_id))
            self.end()
        else:
            self.abort()

    def abort(self) -> None:
        if not self.finished and not self.aborted:
            self._send_head()
            self.aborted = True
            self.let_go()
            # Without a length or a last chunk, only a reset tells the client that this was not all.
            self.wire.cut(reset=self.started and self.has_body and not self.chunked and self.left_bytes is None)

    def cancel(self) -> None:
        """The client is gone: whatever runs for it ends now."""
        if not self.finished and not self.aborted:
            self._cancel("client gone")
            self.let_go()
            self.receive_failure(GatewayError("invalid_request", "The client went away"))

    def drain(self) -> None:
        """The process ends: the handler has had its time."""
        self.is_drained = True
        self._cancel("drain")

    def _cancel(self, why: str) -> None:
        if self.task is not None:
            self.task.cancel(msg=why)
            # A task that is cancelled before its first step never comes to its own clean-up.
            self.task.add_done_callback(lambda _: self.wire.exchange_ended(self))

    def _must_not_be_started(self) -> None:
        if self.started:
            raise RuntimeError("a response is given once")

    def _head(self, status: int, headers: Headers | bytes) -> bytes:
        """The status line and the headers, each with its line end."""
        if self.cors:
            if isinstance(headers, bytes):
                headers = pairs(b"\r\n" + headers)
            headers = cors.merge(headers, self.cors)
        if isinstance(headers, bytes):
            return STATUS_LINES[status] + headers
        head = STATUS_LINES[status] + lines(headers)
        # A line end inside a header would be a second header, or a second response.
        if head.count(b"\n") != len(headers) + 1 or head.count(b"\r") != len(headers) + 1:
            raise ValueError("a response header holds a line end")
        return head

    def _connection_line(self) -> bytes:
        if not self.complete:
            self.keep_alive = False
        return b"" if self.keep_alive else b"connection: close\r\n"

    def _send_head(self) -> None:
        if self.unsent_head:
            head, self.unsent_head = self.unsent_head, b""
            self.wire.send(head)

    def _finish(self) -> None:
        self.finished = True
        self.let_go()
        if self.waiter is not None:  # an upload that was answered early
            self.receive_failure(GatewayError("invalid_request", "The request was answered before its body was read"))
        self.wire.exchange_finished()


def _too_large(limit_bytes: int) -> GatewayError:
    return GatewayError("too_large", f"The request body is larger than {limit_bytes} bytes")


def too_much_held() -> GatewayError:
    return GatewayError(
        "shed",
        "The gateway's memory for request bodies is full (server.max_buffered_bytes); retry shortly",
        retry_after_s=1,
    )
