"""Request bytes -> exchanges. Sans-I/O: it is fed, it fills in `HttpExchange`s, it never waits and knows no clock.

llhttp (through httptools) does the parsing and refuses what is malformed: line ends, lengths that disagree, a length
next to a transfer-encoding. Here is what it leaves open: how large a head may be, how much framing a body may have,
which versions, codings, expectations and targets there are, and what becomes of a request to change the protocol.

An exchange is handed over (`take`) when its head is complete; its body follows through `HttpExchange.receive`. A
request that cannot be one is handed over with its `refusal`, and then the parser is `deaf`: it takes nothing more. Any
split of the same bytes gives the same exchanges.

llhttp judges every byte, but header fields are read from the head's own bytes (`RequestHead`), not by a callback for
each. So it must be known where a head begins, and llhttp is never given bytes of two requests at once (`_reach`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import httptools

from asbru import config
from asbru.errors import GatewayError
from asbru.headers import RequestHead
from asbru.server.http_exchange import NO_HEAD, HttpExchange, Wire

log = logging.getLogger("asbru.server")

MAX_HEADERS = 256
LEAST_FIELD_BYTES = 4  # "a:\r\n"
MAX_LENGTH_DIGITS = 18
END = b"\r\n\r\n"
"""The end of a head, and of a chunked body."""
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")
CHUNK_OVERHEAD_BYTES = 65_536
CHUNK_OVERHEAD_RATIO = 16
"""A chunked body may take this many times its size plus the constant on the wire: its framing is data nobody sees."""


class StopParsing(Exception):
    """Raised in a parser callback: the rest of the data is of no interest."""


class BodyTail:
    """Parser callbacks for the body of a request whose head asked for an upgrade; see `_ignore_upgrade`."""

    def __init__(self, parser: RequestParser) -> None:
        self.on_body = parser.on_body
        self.on_message_complete = parser.on_message_complete


class RequestParser:
    """The requests of one connection."""

    __slots__ = (
        "_body_tail",
        "_body_wire_bytes",
        "_client",
        "_content_length",
        "_head",
        "_head_complete",
        "_last_head",
        "_limits",
        "_llhttp",
        "_seen",
        "_tail_head",
        "_take",
        "_wire",
        "deaf",
        "incoming",
        "refusal",
    )

    def __init__(self, wire: Wire, client: str, limits: config.Server, take: Callable[[HttpExchange], None]) -> None:
        # The connection
        self._wire = wire
        self._client = client
        self._limits = limits
        self._take = take
        self._llhttp = httptools.HttpRequestParser(self)
        self.deaf = False
        """Nothing more is parsed."""
        self.refusal: GatewayError | None = None
        """What every request is answered with, on a connection that is one too many."""

        # The request
        self.incoming: HttpExchange | None = None
        """The one of which a part has arrived."""
        self._seen = bytearray()
        """What has come of its head, until all of it has."""
        self._head: RequestHead | None = None
        """Its head, while llhttp is told that it ends."""
        self._last_head = NO_HEAD
        """The one before, or the same; it may be known by it."""
        self._head_complete = False
        self._content_length: int | None = 0
        """None for a chunked body."""
        self._body_tail = b""
        """The last three bytes of a chunked body so far."""
        self._body_wire_bytes = 0
        """What was certainly part of it, framing included."""
        self._tail_head = b""

    @property
    def in_head(self) -> bool:
        """Whether a part of a head has arrived."""
        return self.incoming is not None and not self._head_complete

    def feed(self, data: bytes) -> None:
        at = 0
        while at < len(data) and not self.deaf:
            end = self._reach(data, at)
            try:
                self._llhttp.feed_data(data if not at and end >= len(data) else memoryview(data)[at:end])
            except httptools.HttpParserUpgrade as upgrade:
                self._ignore_upgrade()
                end = at + upgrade.args[0]
            except httptools.HttpParserError as error:
                self._broken(error)
            if self._head is not None and not self.deaf:
                self.refuse(GatewayError("invalid_request", "Malformed HTTP request: the headers are incomplete"))
            at = end
        # fast path: nothing is left open when a read is exactly one request.
        if self.incoming is not None:
            self._account(self.incoming, len(data))

    def _reach(self, data: bytes, at: int) -> int:
        """How far what begins at ``at`` is surely of one request, or of the empty lines that may stand before one."""
        if self._head_complete:
            return self._reach_of_body(data, at)
        known_bytes = len(self._seen)
        if known_bytes:  # then nothing of this read has been fed
            seen: bytes | bytearray = self._seen
            seen += data
            end = seen.find(END, max(0, known_bytes - 3)) + 4
        elif data[at] in b"\r\n":
            return len(data) - len(data[at:].lstrip(b"\r\n"))
        else:
            seen = data
            end = data.find(END, at) + 4
        if end < 4:
            if not known_bytes:
                self._seen += data[at:]
            return len(data)
        self._body_tail = b""
        # What it says of the length is not judged yet, but llhttp will find in it what we did, or refuse it.
        raw = bytes(seen[at:end])
        self._seen.clear()
        self._head = self._last_head = head = self._last_head.again(raw) or RequestHead(raw)
        if b"transfer-encoding" in head.said:
            self._content_length = None
            return end - known_bytes
        length = head.said.get(b"content-length", b"")
        self._content_length = int(length) if length.isdigit() and len(length) <= MAX_LENGTH_DIGITS else 0
        return end - known_bytes + self._content_length

    def _reach_of_body(self, data: bytes, at: int) -> int:
        if self._content_length is not None:
            assert self.incoming is not None
            return at + self._content_length - self.incoming.received_bytes
        # A chunked body ends with an empty line; empty lines in its middle do no harm.
        tail = self._body_tail
        found = (tail + data[at : at + 3]).find(END)
        if found >= 0:
            end = at + found + 4 - len(tail)
        else:
            found = data.find(END, at)
            end = found + 4 if found >= 0 else len(data)
        self._body_tail = (tail + data[max(at, end - 3) : end])[-3:]
        return end

    def refuse(self, error: GatewayError) -> None:
        """Hand over, as its own refusal, what cannot become an exchange."""
        self.deaf = True
        exchange = self.incoming or HttpExchange(self._wire, self._client)
        self.incoming = None
        exchange.refusal = error
        if not self._head_complete:
            # As far as it came: whether the answer is for another origin's page.
            exchange.head = self._head or RequestHead(bytes(self._seen))
        exchange.keep_alive = False
        self._take(exchange)

    def close(self) -> None:
        self.deaf = True
        # Each of them refers back to us: without this, only the garbage collector could free a connection, and with it
        # whatever had come of a body.
        if self.incoming is not None:
            self.incoming.let_go()
            self.incoming = None
        del self._llhttp, self._take, self._wire

    # Callbacks of llhttp

    def on_message_begin(self) -> None:
        if self.deaf:
            raise StopParsing
        self.incoming = HttpExchange(self._wire, self._client)
        self._head_complete = False

    def on_headers_complete(self) -> None:
        exchange, head = self.incoming, self._head
        assert exchange is not None
        if head is None:
            self.refuse(GatewayError("invalid_request", "Malformed HTTP request: the end of the headers is ambiguous"))
            raise StopParsing
        self._head = None
        exchange.head = head
        error = self._read_head(exchange, head)
        self._head_complete = True
        self._body_wire_bytes = 0
        if error is not None:
            self.refuse(error)
            raise StopParsing
        self._take(exchange)

    def on_body(self, body: bytes) -> None:
        assert self.incoming is not None
        self.incoming.receive(body)

    def on_message_complete(self) -> None:
        if self._tail_head:
            return  # the parser skips this body; see _ignore_upgrade
        exchange = self.incoming
        assert exchange is not None
        self.incoming = None
        self._head_complete = False
        self.deaf = not exchange.keep_alive
        exchange.receive_end()

    # Heads

    def _read_head(self, exchange: HttpExchange, head: RequestHead) -> GatewayError | None:
        """Fill in what the head says about the message; the error says why it cannot be one."""
        raw, said = head.raw, head.said
        if len(raw) > self._limits.max_header_bytes or (
            len(raw) > LEAST_FIELD_BYTES * MAX_HEADERS and raw.count(b"\n") > MAX_HEADERS + 2
        ):
            return self._head_too_large()
        if self.refusal is not None:
            return self.refusal
        request_line = raw[: raw.find(b"\r")].split()
        if len(request_line) != 3 or request_line[2] not in VERSIONS:
            return GatewayError("invalid_request", "The HTTP version must be 1.1 or 1.0")
        method, target, version = request_line
        exchange.method = method.decode("ascii")
        if version == b"HTTP/1.0":
            exchange.is_http_1_0 = True
            exchange.keep_alive = False
        elif not self._llhttp.should_keep_alive():
            exchange.keep_alive = False
        if (error := _read_target(exchange, target)) is not None:
            return error
        # RFC 9112 §3.2: which of two is meant, others may judge differently.
        if b"host" in head.repeated or not (b"host" in said or exchange.is_http_1_0):
            return GatewayError("invalid_request", "A request has one Host header")
        exchange.content_length = self._content_length
        if self._content_length is None and (
            # RFC 9112 §6.1: other codings, or an HTTP/1.0 client that cannot know them, are how requests are smuggled.
            exchange.is_http_1_0
            or b"transfer-encoding" in head.repeated
            or said[b"transfer-encoding"].lower() != b"chunked"
        ):
            return GatewayError("invalid_request", "The only transfer-encoding of a request can be chunked")
        if b"content-encoding" in said:
            exchange.content_encoding = said[b"content-encoding"].lower()
        if b"expect" in said and not exchange.is_http_1_0:
            if said[b"expect"].lower() != b"100-continue":
                return GatewayError("invalid_request", "Unsupported Expect header; only 100-continue is supported")
            exchange.expects_continue = True
        if b"upgrade" in said and exchange.content_length != 0 and self._llhttp.should_upgrade():
            self._prepare_tail(exchange)
        return None

    def _prepare_tail(self, exchange: HttpExchange) -> None:
        exchange.keep_alive = False
        length = exchange.content_length
        framing = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
        self._tail_head = b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing

    def _ignore_upgrade(self) -> None:
        """Go on after a request that asks for another protocol: we speak no other, and may ignore it (RFC 9110 §7.8).

        Java's HttpClient asks for HTTP/2 with every first request. llhttp takes whatever follows such a head for the
        other protocol, so the body is left to a second parser, which is told its length.
        """
        if self._tail_head:
            self._llhttp = httptools.HttpRequestParser(BodyTail(self))
            self._llhttp.feed_data(self._tail_head)
            self._tail_head = b""

    def _broken(self, error: httptools.HttpParserError) -> None:
        """The parser has stopped."""
        if self.deaf:
            return  # because it was told to, or at what follows the last request
        if isinstance(error, httptools.HttpParserCallbackError):
            log.error("a callback of the HTTP parser failed", exc_info=error)
            self._wire.cut(reset=True)
            return
        hint = "; this port speaks plain HTTP, not HTTPS" if self._is_tls() else ""
        reason = GatewayError("invalid_request", f"Malformed HTTP request: {error}{hint}")
        if self.incoming is not None and self._head_complete:
            self.fail(self.incoming, reason)
        else:
            self.refuse(reason)

    def _is_tls(self) -> bool:
        """Whether the client began a TLS handshake: no method begins with that byte."""
        return self._seen[:1] == b"\x16"

    # Bounds

    def _account(self, exchange: HttpExchange, fed_bytes: int) -> None:
        """Bound what has arrived of a request that is not complete, when a read has been parsed."""
        if not self._head_complete:
            if len(self._seen) > self._limits.max_header_bytes or self._seen.count(b"\n") > MAX_HEADERS + 1:
                self.refuse(self._head_too_large())
        elif exchange.content_length is None:
            self._body_wire_bytes += fed_bytes
            if self._body_wire_bytes > CHUNK_OVERHEAD_BYTES + CHUNK_OVERHEAD_RATIO * exchange.received_bytes:
                self.fail(exchange, GatewayError("invalid_request", "The chunks of the request body are too small"))

    def fail(self, exchange: HttpExchange, error: GatewayError) -> None:
        """The rest of a body will never come, and what came of it is of no use."""
        self.deaf = True
        exchange.parts = []
        exchange.let_go()
        exchange.receive_failure(error)

    def _head_too_large(self) -> GatewayError:
        return GatewayError(
            "headers_too_large",
            f"The request's head is larger than {self._limits.max_header_bytes} bytes or {MAX_HEADERS} headers",
        )


def _read_target(exchange: HttpExchange, target: bytes) -> GatewayError | None:
    """Set path and query from the request line; the error says why there are none."""
    if not target.startswith(b"/"):
        if exchange.method == "CONNECT":
            return GatewayError("method_not_allowed", "CONNECT is not supported", headers=[(b"allow", b"GET, POST")])
        if target != b"*":  # the absolute form, as sent to a proxy: http://host/path
            absolute = _absolute_form(target)
            if absolute is None:
                return GatewayError("invalid_request", "The request target must be a path or an http or https URL")
            target = b"/" + (absolute[1] or b"").removeprefix(b"/")
    exchange.path, _, exchange.query = target.partition(b"?")
    return None


_absolute_form = re.compile(rb"(?i:https?)://[^/?#@]+([/?].*)?", re.DOTALL).fullmatch
