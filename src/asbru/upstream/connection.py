"""One connection to an upstream: the asyncio protocol, the parser's callbacks, and the one timer.

A connection serves one exchange after another. It never decides to retry, dial or reuse: it tells its pool
(`Owner`) when it is free again or gone. Phases:

    DIALLED -> HEAD -> BODY -> IDLE -> HEAD -> …       and from each of them -> CLOSED

- DIALLED, HEAD  a call of `Pool.request` owns the connection and its place in the pool, and gives that place
                 back itself when the connection fails: so that it can retry in it.
- BODY           the `Response` owns both.
- IDLE           the pool owns both; anything the upstream says now, or its end, closes the connection.

Parsing is httptools (llhttp, strict): it refuses content-length with transfer-encoding, repeated lengths, folded
headers and bare LF. What it cannot say is added here: the end of a body that runs to the connection's end, bytes
after the end of a response, limits, and responses that have no business here (101, other transfer codings). Header
fields are read from the head's bytes once it has judged them, not by a callback for each.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final, NoReturn, cast

import httptools

from asbru.turns import Reading, Upload, turns_of
from asbru.upstream.head import Heads, Refused, read
from asbru.upstream.origin import Kind, Limits, UpstreamError
from asbru.upstream.owner import Owner
from asbru.upstream.response import PIECE_BYTES, Response, Sink
from asbru.upstream.salvage import unread

CLOSED, DIALLED, HEAD, BODY, IDLE = range(5)

_NEVER: Final = math.inf
_TIMER_SLACK_S: Final = 0.002
"""uvloop's timers count whole milliseconds: one that fires this early is on time."""
_JOIN_BELOW_BYTES: Final = 131_072
"""Bodies smaller than this are copied behind their head: one write costs less than two."""
_YIELD_BYTES: Final = 65_536
"""After a read of this size, others have their turns first."""


class Connection(asyncio.Protocol):
    """See the module. Made by the event loop when the socket (and TLS) stands."""

    __slots__ = (
        "_buffered_bytes",
        "_complete",
        "_deadline",
        "_expires",
        "_feed",
        "_framing_bytes",
        "_head_bytes",
        "_head_only",
        "_heads",
        "_keep_alive",
        "_limits",
        "_loop",
        "_now",
        "_owner",
        "_parser",
        "_reader",
        "_reading",
        "_refusal",
        "_response",
        "_room",
        "_runs_to_end",
        "_sink",
        "_timer",
        "_timer_at",
        "_transport",
        "_turn",
        "_turn_bytes",
        "_upload",
        "_waiter",
        "on_body",
        "parts",
        "phase",
        "reused",
        "uploading",
    )

    def __init__(self, owner: Owner, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        # the connection's life
        self._owner = owner
        self._limits = limits
        self._loop = loop
        self._now = loop.time
        self._transport: asyncio.Transport
        self.phase = DIALLED
        self.reused = False
        self.parts: list[bytes] = []
        """Body bytes that nobody has taken yet; always the same list, so that the parser appends to it directly."""
        self.on_body = self.parts.append
        self._parser = httptools.HttpResponseParser(self)
        self._feed = self._parser.feed_data
        # the timer: fires at `_timer_at`, which is never later than `_expires`, and is moved on only when it fires
        self._expires = _NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = _NEVER
        # one exchange, request side
        self._deadline = _NEVER
        self._head_only = False
        self._upload: Upload | None = None
        self.uploading = False
        self._room: asyncio.Future[None] | None = None
        # one exchange, response side
        self._waiter: asyncio.Future[Response] | None = None
        self._head_bytes = 0
        """All that came before the final response's body, interim responses included."""
        self._heads = Heads()
        self._response: Response | None = None
        self._complete = self._keep_alive = self._runs_to_end = False
        self._refusal: str | None = None
        self._reader: asyncio.Future[None] | None = None
        self._sink: Sink | None = None
        self._buffered_bytes = self._framing_bytes = 0
        # what the sink was given in this turn of the loop: uvloop reads a socket up to 32 times in one
        self._turn, self._turn_bytes = 0.0, 0

    # ---- for the pool

    def send(
        self, head: bytes, body: bytes | None, deadline: float | None, head_only: bool
    ) -> asyncio.Future[Response]:
        """Write a request; the future becomes its final response, or an `UpstreamError`. Must be DIALLED or IDLE."""
        waiter = self._waiter = self._loop.create_future()
        if self.phase == CLOSED:  # between dialling and now
            waiter.set_exception(UpstreamError("reset", "the upstream closed the connection at once"))
            return waiter
        self.phase = HEAD
        self._head_only = head_only
        self._heads.clear()
        self._head_bytes = 0
        self._complete = False
        self._runs_to_end = False
        self._deadline = _NEVER if deadline is None else deadline
        self._expire_in(self._limits.first_byte_s)
        if body and len(body) >= _JOIN_BELOW_BYTES:
            self._transport.write(head)
            self.uploading = True
            self._upload = Upload(self._transport, turns_of(self._loop), body, self._written)
            self._upload.go_on()
        else:
            self._transport.write(head + body if body else head)
        return waiter

    def close(self) -> None:
        """Close at once; nobody is told but the pool. Never fails, may be repeated."""
        if self.phase != CLOSED:
            self._shut()
            self._response = None

    def fail(self, kind: Kind, message: str) -> None:
        """Close at once, and tell whoever waits for the response why."""
        phase = self.phase
        if phase == CLOSED:
            return
        responded = phase == BODY or self._head_bytes > 0
        error = UpstreamError(kind, message, responded=responded)
        self._shut()
        if phase == HEAD:
            waiter, self._waiter = self._waiter, None  # the error will refer to whoever waits, and so to the waiter
            if waiter is not None and not waiter.done():
                waiter.set_exception(error)
        elif phase == BODY:
            self._hand_over(error)

    # ---- for the sender of a body in pieces

    async def write(self, data: bytes) -> None:
        """More of the request; returns when there is room for more, or when the connection is closed."""
        if self.phase == CLOSED:
            return
        self._transport.write(data)
        if self._room is not None:
            await self._room
        self._written()

    def _written(self) -> None:
        """Some of the request; the upstream's time to answer begins with the last of it."""
        if self._upload is not None and self._upload.rest is None:
            self._upload = None
            self.uploading = False
        if self.phase == HEAD:
            self._expire_in(self._limits.first_byte_s)

    # ---- for the response

    def take(self) -> bytes:
        """All buffered body bytes; there must be some."""
        parts = self.parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._buffered_bytes = 0
        if self._reading.paused:
            self._reading.resume()
            self._expire_in(self._limits.idle_s)
        return data

    async def readable(self, sink: Sink | None = None) -> None:
        """Returns when there is something in `parts`, or when the response has ended.

        What comes goes to ``sink`` at once, where one is given; then it also returns when that has no more room.
        """
        if self._reader is not None:
            raise RuntimeError("two readers of one response")
        self._reader = self._loop.create_future()
        self._sink = sink
        try:
            await self._reader
        finally:
            self._reader = self._sink = None

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._reading = Reading(self._transport, turns_of(self._loop))

    def data_received(self, data: bytes) -> None:
        try:
            if self.phase == BODY:
                self._feed(data)
            elif self.phase == HEAD:
                self._feed_head(data)
            else:
                self.close()  # said without being asked: whatever it is, it is not an answer to the next request
                return
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                self.fail("protocol", f"the upstream's response is not valid: {self._refusal or error}")
                return
            self._keep_alive = False  # bytes after the end of the response
        if self._complete:
            self._finish()
        elif self.phase == BODY:
            self._arrived(len(data))
        elif self._head_bytes > self._limits.max_header_bytes:
            self.fail("protocol", f"the response's head is over {self._limits.max_header_bytes} bytes")

    def eof_received(self) -> None:
        self._ended(in_order=True)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and (self.phase == HEAD or self.phase == BODY):
            self._salvage()
        # Without an end before it, it is a loss, even with no error: so uvloop tells of a TLS connection that was cut
        # off without close_notify (RFC 9112 §9.8). asyncio calls that an end.
        self._ended(in_order=False)

    def pause_writing(self) -> None:
        if self._room is None:
            self._room = self._loop.create_future()
        if self._upload is not None:
            self._upload.full = True

    def resume_writing(self) -> None:
        room = self._room
        self._room = None
        if room is not None and not room.done():
            room.set_result(None)
        if self._upload is not None:
            self._upload.resume()

    # ---- the parser's callbacks (and `on_body`, which is `parts.append`)

    def on_message_begin(self) -> None:
        if self._complete:
            raise Refused  # bytes after the end of the response

    def on_headers_complete(self) -> None:
        try:
            head = read(self._heads.take(), self._limits)
        except Refused as refused:
            self._refuse(str(refused))
        status = self._parser.get_status_code()
        if not 200 <= status <= 599:
            if status < 100 or status == 101 or status > 599:
                self._refuse(f"status {status}")
            return  # an interim response: the final one follows
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._refuse("nobody waits for it")  # cancelled in this turn of the loop
        self._waiter = None
        self._framing_bytes = -self._head_bytes  # so that the bytes which brought the head do not count
        self.phase = BODY
        self._complete = self._head_only
        self._keep_alive = self._parser.should_keep_alive()
        if not self._keep_alive:
            self._runs_to_end = not (b"content-length" in head.said or b"transfer-encoding" in head.said)
        if self._head_only:
            self._keep_alive = False  # the parser cannot be told, and waits for a body
        self._response = Response(self, status, head, self.reused)
        waiter.set_result(self._response)

    def on_message_complete(self) -> None:
        if self.phase == BODY:
            self._complete = True
        elif self.parts:
            self._refuse("an interim response with a body")

    def _refuse(self, reason: str) -> NoReturn:
        self._refusal = reason
        raise Refused(reason)

    # ---- the response's progress

    def _feed_head(self, data: bytes) -> None:
        """Have the parser judge what came of a head, or of several: interim responses go before the final one."""
        self._head_bytes += len(data)
        for piece in self._heads.pieces(data):
            self._feed(piece)

    def _arrived(self, size_bytes: int) -> None:
        """Some of a body came, and there is more to come."""
        if size_bytes >= _YIELD_BYTES:
            self._reading.let_others()
        if not self.parts:
            # Only framing. Chunk extensions and trailers are dropped, but without bound they are an attack.
            self._framing_bytes += size_bytes
            if self._framing_bytes > self._limits.max_header_bytes:
                self.fail("protocol", "the upstream sends chunk framing without data")
                return
        else:
            self._framing_bytes = 0
            reader = self._reader
            waits = reader is not None and not reader.done()
            if waits and self._sink is not None and self._is_little(size_bytes):
                self._pour(self._sink)
            else:
                self._buffered_bytes += size_bytes
                if waits:
                    self._wake_reader()
                elif self._buffered_bytes > self._limits.read_buffer_bytes and not self._reading.paused:
                    self._reading.pause()
                    self._expires = self._deadline  # the upstream is not to blame for this silence
                    return
        self._expire_in(self._limits.idle_s)

    def _is_little(self, size_bytes: int) -> bool:
        """Whether so many more bytes may be handled in this turn of the loop, in which its clock stands still."""
        now = self._now()
        if now != self._turn:
            self._turn, self._turn_bytes = now, 0
        self._turn_bytes += size_bytes
        return self._turn_bytes <= PIECE_BYTES

    def _pour(self, sink: Sink) -> None:
        """Give the sink what has come; whoever waits goes on when it is full, has failed or has closed the response."""
        try:
            if sink(self.take()):
                return
        except Exception as error:
            if self._reader is not None and not self._reader.done():
                self._reader.set_exception(error)
        self._wake_reader()

    def _finish(self) -> None:
        """The response is complete: hand over what is left of it, and the connection to whoever is next."""
        if self._head_only:
            self.parts.clear()  # llhttp took what followed the head for a body
        self._hand_over(None)
        # An answer before the whole request was sent leaves the connection in the middle of a request.
        if self._keep_alive and not self.uploading and not self._transport.get_write_buffer_size():
            self.phase = IDLE
            self.reused = True
            self._deadline = _NEVER
            self._expire_in(self._limits.keep_alive_s)
            self._owner.released(self)
        else:
            self._shut()

    def _hand_over(self, error: UpstreamError | None) -> None:
        response = self._response
        self._response = None
        if response is not None:
            response.settle(self.take() if self.parts else b"", error)
        self._wake_reader()

    def _wake_reader(self) -> None:
        reader = self._reader
        if reader is not None and not reader.done():
            reader.set_result(None)

    # ---- the end

    def _ended(self, in_order: bool) -> None:
        """The upstream says no more."""
        if self.phase == BODY:
            if in_order and self._runs_to_end:
                self._finish()
            else:
                self.fail("reset", "the upstream closed the connection in the middle of the body")
        elif self.phase == HEAD:
            where = "in the middle of the head" if self._head_bytes else "before it answered"
            self.fail("reset", f"the upstream closed the connection {where}")
        else:
            self.close()

    def _salvage(self) -> None:
        """Take in what the upstream said before our write failed."""
        self.uploading = True  # whatever comes, this connection is not used again
        for data in unread(self._transport):
            self.data_received(data)
            if self.phase == CLOSED:
                return

    def _shut(self) -> None:
        """Close the socket and forget everything that refers back here; the pool learns of it."""
        place_is_free = self.phase == BODY or self.phase == IDLE
        self.phase = CLOSED
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._upload is not None:
            self._upload.stop()
            self._upload = None
        self._transport.abort()
        self.resume_writing()
        self._wake_reader()
        del self._feed, self._parser  # they refer back here: without the cycle, memory is free at once
        self._owner.dropped(self, place_is_free)

    # ---- the timer

    def _expire_in(self, seconds: float) -> None:
        expires = self._now() + seconds
        if expires > self._deadline:
            expires = self._deadline
        self._expires = expires
        if expires < self._timer_at:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._expires
        self._timer = self._loop.call_at(self._expires, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = _NEVER
        expires = self._expires
        if expires == _NEVER:
            return
        if expires - self._now() > _TIMER_SLACK_S:
            self._arm()
        elif expires == self._deadline:
            self.fail("deadline", "the request's deadline passed")
        elif self.phase == HEAD:
            self.fail("first_byte_timeout", f"no response within {self._limits.first_byte_s:g} s")
        elif self.phase == BODY:
            self.fail("idle_timeout", f"the response stood still for {self._limits.idle_s:g} s")
        else:
            self.close()
