"""One client connection: bytes in, exchanges out, every bound enforced. uvicorn makes one per accepted socket.

uvicorn's own protocol class bounds neither heads nor bodies, does not notice slow clients, and costs twice as much per
request, so this one takes its place (``uvicorn.Config(http=...)``). Rules:

- One exchange runs at a time. Pipelined requests wait in `queue`, a bounded number of them.
- A request that is not HTTP, too large, too slow or one too many is an exchange without a handler: its `refusal` is
  rendered in its turn, and nothing after it is parsed.
- Whoever is answered before all of a request has arrived is closed gently (`_linger`): an immediate close would make
  the kernel send a reset, and the client would lose the answer that it has not read yet. What it still sends is read
  and dropped, as much as the largest body may have, for `LINGER_S` at most; many clients send all of a body first.
- Time is kept by one lazily re-armed timer per connection: requests only move `deadline`.
- When the connection is lost, the running exchange's task is cancelled in that same turn of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from math import inf
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from asbru.config import Server
from asbru.errors import GatewayError
from asbru.server.asgi import Application, call
from asbru.server.http_exchange import HttpExchange, too_much_held
from asbru.server.phase import BODY, CLOSING, HEAD, IDLE, LINGERING, RUNNING, Phase
from asbru.server.request_parser import RequestParser
from asbru.server.shared import Shared
from asbru.turns import PIECE_BYTES, Reading, turns_of

MAX_PIPELINED = 16
READ_AHEAD_BYTES = 262_144
"""What may lie unread per connection before reading stops: bodies that no handler has asked for, later requests."""
LEAST_BODY_BYTES_PER_S = 1024
"""On average, on top of the first `body_timeout_s`."""
DRAINING_IDLE_S = 1.0
IGNORED_BYTES = 1_048_576
"""What is read of a request that is not parsed any more, before its answer has been given."""
LINGER_S = 30.0
LINGER_SILENCE_S = 2.0
REFUSED_CONNECTIONS = 1000
"""So many connections beyond the limit are told why; further ones are dropped."""

NO_LINGER = struct.pack("ii", 1, 0)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HostConfig(uvicorn.Config):
    """uvicorn's configuration with what our connections need besides; everything uvicorn would add is off."""

    def __init__(self, app: Application, shared: Shared) -> None:
        super().__init__(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )
        self.shared = shared


def _largest_body(limits: Server) -> int:
    return max(limits.max_body_bytes, limits.max_batch_body_bytes, limits.max_file_bytes)


class Connection(asyncio.Protocol):
    """One client connection; its attributes are grouped by what they live as long as."""

    __slots__ = (
        "ahead_bytes",
        "app",
        "body_began",
        "body_left",
        "closed",
        "current",
        "deadline",
        "discarded_bytes",
        "full",
        "held",
        "limits",
        "linger_until",
        "loop",
        "parser",
        "phase",
        "queue",
        "reading",
        "shared",
        "timer",
        "timer_at",
        "transport",
        "unsent_bytes",
        "write_deadline",
        "writers",
    )

    def __init__(
        self,
        config: HostConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        # The listener
        self.app: Application = config.loaded_app
        self.shared = config.shared
        self.limits = config.shared.limits
        self.held = config.shared.held
        self.loop = _loop or asyncio.get_running_loop()

        # The connection
        self.transport: asyncio.Transport
        self.parser: RequestParser
        self.closed = False
        """Nothing more is written."""
        self.discarded_bytes = 0
        """What has come since nothing is parsed any more."""
        self.linger_until = 0.0
        """When a client that still sends is waited for no longer."""

        # Time
        self.phase = HEAD
        self.deadline = inf
        self.write_deadline = inf
        self.timer: asyncio.TimerHandle | None = None
        self.timer_at = inf
        self.body_began = 0.0, 0
        """When the handler began to wait for the body, and how much of it there was."""
        self.body_left: float | None = None
        """When it last stopped waiting."""

        # Flow
        self.reading: Reading
        self.ahead_bytes = 0
        self.full = False
        self.unsent_bytes = 0
        self.writers: list[asyncio.Future[None]] = []

        # The exchanges
        self.current: HttpExchange | None = None
        self.queue: list[HttpExchange] = []

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.reading = Reading(self.transport, turns_of(self.loop))
        peer = transport.get_extra_info("peername")
        self.parser = RequestParser(self, peer[0] if isinstance(peer, tuple) else "", self.limits, self._take)
        self.shared.connections.add(self)
        self.shared.emptied.clear()
        beyond = len(self.shared.connections) - self.limits.max_connections
        if beyond > REFUSED_CONNECTIONS or self.shared.draining:
            self.abort()
            return
        if beyond > 0:
            self.parser.refusal = GatewayError("shed", "The gateway has too many connections", retry_after_s=1)
        self._watch(HEAD, self.limits.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.parser.close()
        if self.timer is not None:
            self.timer.cancel()
        current, self.current = self.current, None
        if current is not None:
            current.cancel()
        for exchange in self.queue:
            exchange.let_go()
        self.queue.clear()
        self._room_made()
        self.shared.connections.discard(self)
        if not self.shared.connections:
            self.shared.emptied.set()

    def eof_received(self) -> None:
        # A client that has ended its side is gone, as for other proxies. The transport would close itself, but only
        # after it has sent what the client may never take.
        if self.current is not None:
            self.abort()
        else:
            self._close()

    def pause_writing(self) -> None:
        self.full = True
        self._watch_writing()

    def resume_writing(self) -> None:
        if self.phase is not CLOSING:
            self.write_deadline = inf
        self._room_made()
        if self.current is None and not self.closed:
            self._next()

    def data_received(self, data: bytes) -> None:
        parser = self.parser
        if parser.deaf:
            self._discard(len(data))
            return
        parser.feed(data)
        # fast path: nothing is left open when a read is exactly one request.
        if parser.incoming is not None or self.queue:
            self._account(len(data))

    def _account(self, fed_bytes: int) -> None:
        """Bound what has arrived and is not done with: how late it may be, and how much nobody has asked for."""
        if self.phase is IDLE and self.parser.in_head:
            self._watch(HEAD, self.limits.header_timeout_s)
        incoming = self.parser.incoming
        if incoming is not None and not self.parser.in_head and not self.held.add(incoming, fed_bytes):
            self.parser.fail(incoming, too_much_held())
        if self.phase is BODY:
            self._expect_body()
        elif self.current is not None or self.queue:
            self.ahead_bytes += fed_bytes
            if self.ahead_bytes > READ_AHEAD_BYTES:
                self.reading.pause()
        if incoming is not None and incoming.received_bytes > PIECE_BYTES:
            self.reading.let_others()

    def _discard(self, fed_bytes: int) -> None:
        self.discarded_bytes += fed_bytes
        if self.phase is not LINGERING:
            if self.discarded_bytes > IGNORED_BYTES:
                self.reading.pause()
        elif self.discarded_bytes > _largest_body(self.limits):
            self._close()
        else:
            self.deadline = min(self.linger_until, self.loop.time() + LINGER_SILENCE_S)
            self.reading.let_others()

    # Exchanges

    def _take(self, exchange: HttpExchange) -> None:
        """The parser has a new one: begin, unless one runs or the client has yet to take the last response."""
        if self.current is None and not self.full and not self.queue:
            self._begin(exchange)
            return
        if len(self.queue) >= MAX_PIPELINED:
            exchange.keep_alive = False  # the parser takes no request after such a one
        self.queue.append(exchange)

    def _begin(self, exchange: HttpExchange) -> None:
        self.current = exchange
        self.body_left = None
        self.phase = RUNNING
        self.deadline = inf
        if self.shared.leaving:
            exchange.keep_alive = False
        if self.shared.cors is not None:
            exchange.cors = self.shared.cors.headers(exchange.head.headers)
        if exchange.refusal is not None:
            exchange.fail(exchange.refusal)
        else:
            self.shared.running.add(exchange)
            exchange.task = self.loop.create_task(call(self.app, exchange))

    def _next(self) -> None:
        """Between two exchanges: begin with the next, or wait for it."""
        if self.full:
            # Not before the client has taken the last response, for which it has `write_timeout_s` at a time.
            self.phase = RUNNING
            self.deadline = inf
        elif self.queue:
            self._begin(self.queue.pop(0))
        elif self.parser.in_head:
            self._watch(HEAD, self.limits.header_timeout_s)
        else:
            self._watch(IDLE, self.limits.keep_alive_s)

    # Wire: what an exchange needs of us

    def send(self, data: bytes) -> None:
        if not self.closed:
            self.transport.write(data)

    async def room(self) -> None:
        while self.full:
            writer = self.loop.create_future()
            self.writers.append(writer)
            await writer

    def want_body(self) -> None:
        exchange = self.current
        if self.closed or exchange is None:
            return
        if exchange.expects_continue:
            exchange.expects_continue = False
            if not exchange.received_bytes and not exchange.started:
                self.send(CONTINUE)
        self.ahead_bytes = 0
        self.reading.resume()
        now = self.loop.time()
        if self.body_left is None:
            self.body_began = now, exchange.received_bytes
        else:  # what the handler did between two pieces is not the client's time
            self.body_began = self.body_began[0] + now - self.body_left, self.body_began[1]
        self.phase = BODY
        self._expect_body()
        self._arm(self.deadline)

    def _expect_body(self) -> None:
        """More of it must come in time, and all of it not too slowly: else one byte a minute would hold the rest."""
        began, before_bytes = self.body_began
        came_bytes = self.current.received_bytes - before_bytes if self.current is not None else 0
        patience_s = self.limits.body_timeout_s
        self.deadline = patience_s + min(self.loop.time(), began + came_bytes / LEAST_BODY_BYTES_PER_S)

    def body_came(self) -> None:
        if self.phase is BODY:
            self.body_left = self.loop.time()
            self.phase = RUNNING
            self.deadline = inf

    def exchange_finished(self) -> None:
        exchange, self.current = self.current, None
        if self.closed or exchange is None:
            return
        if not exchange.keep_alive:
            self.parser.deaf = True
            if exchange.complete:
                self._close()
            else:
                self._linger()
            return
        self.reading.resume()
        self.ahead_bytes = 0
        self._next()

    def exchange_ended(self, exchange: HttpExchange) -> None:
        """Its task has ended."""
        self.shared.running.discard(exchange)
        exchange.task = None  # whose exception, when it was cancelled, refers back to the exchange
        if not exchange.finished:
            exchange.abort()

    def cut(self, *, reset: bool) -> None:
        if self.closed:
            return
        if reset:
            self.abort()
        else:
            self._close()

    # The connection's end

    def drain(self) -> None:
        """The process ends: close soon when idle. What runs says so in its response and is closed by it.

        One more request is answered meanwhile: whoever asks on an open connection whether we are ready shall be told.
        """
        if self.current is None and not self.queue:
            self._watch(self.phase, min(DRAINING_IDLE_S, self.limits.drain_s / 2))
        if self.current is not None:
            self.current.keep_alive = False
        for exchange in self.queue:
            exchange.keep_alive = False

    def _linger(self) -> None:
        """End our side and read on for a while, so that the client reads the answer before it meets a reset."""
        self.closed = self.parser.deaf = True
        self.discarded_bytes = 0
        self.reading.resume()
        self.transport.write_eof()
        self.linger_until = self.loop.time() + LINGER_S
        self._watch(LINGERING, LINGER_SILENCE_S)

    def _close(self) -> None:
        """Close when everything has been sent, as long as the client takes it."""
        self.closed = self.parser.deaf = True
        self.phase = CLOSING
        self.deadline = inf
        self.transport.close()
        self._watch_writing()

    def abort(self) -> None:
        """Close with a reset: what has not been sent is dropped, and the client can tell that this was not the end."""
        self.closed = self.parser.deaf = True
        with contextlib.suppress(OSError):  # the peer may have been faster
            raw: socket.socket = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.transport.abort()

    # Flow and time

    def _room_made(self) -> None:
        self.full = False
        writers, self.writers = self.writers, []
        for writer in writers:
            if not writer.done():
                writer.set_result(None)

    def _watch(self, phase: Phase, timeout_s: float) -> None:
        self.phase = phase
        self.deadline = self.loop.time() + timeout_s
        self._arm(self.deadline)

    def _watch_writing(self) -> None:
        """Expect that by the next deadline the client has taken something of what waits for it."""
        self.unsent_bytes = self.transport.get_write_buffer_size()
        if self.unsent_bytes:
            self.write_deadline = self.loop.time() + self.limits.write_timeout_s
            self._arm(self.write_deadline)
        else:
            self.write_deadline = inf

    def _arm(self, when: float) -> None:
        """See that the timer fires by then. When a deadline moves away it stays: it fires, looks and is set anew."""
        if when < self.timer_at:
            if self.timer is not None:
                self.timer.cancel()
            self.timer = self.loop.call_at(when, self._on_timer)
            self.timer_at = when

    def _on_timer(self) -> None:
        self.timer, self.timer_at = None, inf
        now = self.loop.time()
        if now >= self.write_deadline:
            if self.transport.get_write_buffer_size() >= self.unsent_bytes:
                self.abort()
                return
            self._watch_writing()
        if now >= self.deadline:
            self.deadline = inf
            self._expire()
        self._arm(min(self.deadline, self.write_deadline))

    def _expire(self) -> None:
        if self.phase is BODY and self.current is not None:
            self.parser.deaf = True
            self.current.receive_failure(GatewayError("request_timeout", "The request body stopped coming"))
        elif self.phase is HEAD and self.parser.in_head:
            self.parser.refuse(GatewayError("request_timeout", "The request's head did not come in time"))
        else:
            self._close()
