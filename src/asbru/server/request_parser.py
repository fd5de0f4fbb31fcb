"""Request bytes -> exchanges. Sans-I/O: it is fed, it fills in `HttpExchange`s, it never waits and knows no clock.

llhttp (through httptools) does the parsing and refuses what is malformed: line ends, lengths that disagree, a length
next to a transfer-encoding. Here is what it leaves open: how large a head may be, how much framing a body may have,
which versions, codings, expectations and targets there are, and what becomes of a request to change the protocol.

An exchange is handed over (`take`) when its head is complete; its body follows through `HttpExchange.receive`. A
request that cannot be one is handed over with its `refusal`, and then the parser is `deaf`: it takes nothing more. Any
split of the same bytes gives the same exchanges.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import httptools

from asbru import config
from asbru.errors import GatewayError, Headers
from asbru.server.http_exchange import HttpExchange, Wire

log = logging.getLogger("asbru.server")

MAX_HEADERS = 256
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
        "_body_wire_bytes",
        "_client",
        "_fed_bytes",
        "_head_bytes",
        "_head_complete",
        "_headers",
        "_is_fresh",
        "_limits",
        "_llhttp",
        "_tail_head",
        "_take",
        "_url",
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

        # The read
        self._fed_bytes = 0
        """Its size."""
        self._is_fresh = True
        """Whether the next request to begin is the first thing in it."""

        # The request
        self.incoming: HttpExchange | None = None
        """The one of which a part has arrived."""
        self._url = b""
        self._headers: Headers = []
        self._head_complete = False
        self._head_bytes = 0
        """What was certainly part of its head, in the reads before."""
        self._body_wire_bytes = 0
        """The same of its body, framing included."""
        self._tail_head = b""

    @property
    def in_head(self) -> bool:
        """Whether a part of a head has arrived."""
        return self.incoming is not None and not self._head_complete

    def feed(self, data: bytes) -> None:
        self._fed_bytes = len(data)
        self._is_fresh = self.incoming is None
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data, upgrade.args[0])
            return
        except httptools.HttpParserError as error:
            self._broken(error)
        # fast path: nothing is left open when a read is exactly one request.
        if self.incoming is not None:
            self._account(self.incoming)

    def refuse(self, error: GatewayError) -> None:
        """Hand over, as its own refusal, what cannot become an exchange."""
        self.deaf = True
        exchange = self.incoming or HttpExchange(self._wire, self._client)
        self.incoming = None
        exchange.refusal = error
        if not self._head_complete:
            exchange.headers = self._headers  # as far as they came: whether the answer is for another origin's page
        exchange.keep_alive = False
        self._take(exchange)

    def close(self) -> None:
        self.deaf = True
        # Each of them refers back to us: without this, only the garbage collector could free a connection.
        del self._llhttp, self._take, self._wire

    # Callbacks of llhttp

    def on_message_begin(self) -> None:
        if self.deaf:
            raise StopParsing
        self.incoming = HttpExchange(self._wire, self._client)
        self._url = b""
        self._headers = []
        self._head_complete = False
        self._head_bytes = 0 if self._is_fresh else 1 - self._fed_bytes
        self._is_fresh = False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come here too, when the exchange has its headers: nobody looks at the list any more.
        self._headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        exchange = self.incoming
        assert exchange is not None
        exchange.headers = self._headers
        self._headers = []
        self._head_complete = True
        self._body_wire_bytes = -self._fed_bytes
        error = self._read_head(exchange)
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
        self.deaf = not exchange.keep_alive
        exchange.receive_end()

    # Heads

    def _read_head(self, exchange: HttpExchange) -> GatewayError | None:
        """Fill in what the head says about the message; the error says why it cannot be one."""
        llhttp, headers = self._llhttp, exchange.headers
        exchange.method = llhttp.get_method().decode("ascii")
        # fast path: a head that came whole in a short read needs no counting.
        if (self._head_bytes or self._fed_bytes > self._limits.max_header_bytes) and (
            len(self._url) + sum(len(name) + len(value) + 4 for name, value in headers) > self._limits.max_header_bytes
        ):
            return self._head_too_large()
        if len(headers) > MAX_HEADERS:
            return self._head_too_large()
        if self.refusal is not None:
            return self.refusal
        version = llhttp.get_http_version()
        if version == "1.0":
            exchange.is_http_1_0 = True
            exchange.keep_alive = False
        elif version != "1.1":
            return GatewayError("invalid_request", "The HTTP version must be 1.1 or 1.0")
        elif not llhttp.should_keep_alive():
            exchange.keep_alive = False
        if not self._read_target(exchange):
            return GatewayError("method_not_allowed", "CONNECT is not supported", headers=[(b"allow", b"GET, POST")])
        fields = dict(headers)
        # RFC 9112 §3.2: which of two is meant, others may judge differently. (Two of a name make a shorter dict.)
        if (b"host" not in fields and not exchange.is_http_1_0) or (
            len(fields) < len(headers) and sum(name == b"host" for name, _ in headers) > 1
        ):
            return GatewayError("invalid_request", "A request has one Host header")
        if b"transfer-encoding" in fields:
            # RFC 9112 §6.1: other codings, or an HTTP/1.0 client that cannot know them, are how requests are smuggled.
            codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
            if codings != [b"chunked"] or exchange.is_http_1_0:
                return GatewayError("invalid_request", "The only transfer-encoding of a request can be chunked")
        else:
            exchange.content_length = int(fields.get(b"content-length", b"0"))
        exchange.content_encoding = fields.get(b"content-encoding", b"").lower()
        if b"expect" in fields and not exchange.is_http_1_0:
            if fields[b"expect"].lower() != b"100-continue":
                return GatewayError("invalid_request", "The only expectation that can be met is 100-continue")
            exchange.expects_continue = True
        if b"upgrade" in fields and exchange.content_length != 0 and llhttp.should_upgrade():
            self._prepare_tail(exchange)
        return None

    def _read_target(self, exchange: HttpExchange) -> bool:
        """Path and query from the request line; False for CONNECT, which has neither."""
        target = self._url
        if not target.startswith(b"/"):
            if exchange.method == "CONNECT":
                return False
            if target != b"*":  # the absolute form, as sent to a proxy: http://host/path
                target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
        exchange.path, _, exchange.query = target.partition(b"?")
        return True

    def _prepare_tail(self, exchange: HttpExchange) -> None:
        exchange.keep_alive = False
        length = exchange.content_length
        framing = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
        self._tail_head = b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing

    def _ignore_upgrade(self, data: bytes, offset: int) -> None:
        """Go on after a request that asks for another protocol: we speak no other, and may ignore it (RFC 9110 §7.8).

        Java's HttpClient asks for HTTP/2 with every first request. llhttp takes whatever follows such a head for the
        other protocol, so the body is left to a second parser, which is told its length.
        """
        if self._tail_head:
            self._llhttp = httptools.HttpRequestParser(BodyTail(self))
            self._llhttp.feed_data(self._tail_head)
            self._tail_head = b""
        rest = data[offset:]
        if rest:
            self.feed(rest)

    def _broken(self, error: httptools.HttpParserError) -> None:
        """The parser has stopped."""
        if self.deaf:
            return  # because it was told to, or at what follows the last request
        if isinstance(error, httptools.HttpParserCallbackError):
            log.error("a callback of the HTTP parser failed", exc_info=error)
            self._wire.cut(reset=True)
            return
        reason = GatewayError("invalid_request", f"The request is not valid HTTP: {error}")
        if self.incoming is not None and self._head_complete:
            self._fail(self.incoming, reason)
        else:
            self.refuse(reason)

    # Bounds

    def _account(self, exchange: HttpExchange) -> None:
        """Bound what has arrived of a request that is not complete, when a read has been parsed."""
        if not self._head_complete:
            self._head_bytes += self._fed_bytes
            if self._head_bytes > self._limits.max_header_bytes or len(self._headers) > MAX_HEADERS:
                self.refuse(self._head_too_large())
        elif exchange.content_length is None:
            self._body_wire_bytes += self._fed_bytes
            if self._body_wire_bytes > CHUNK_OVERHEAD_BYTES + CHUNK_OVERHEAD_RATIO * exchange.received_bytes:
                self._fail(exchange, GatewayError("invalid_request", "The chunks of the request body are too small"))

    def _fail(self, exchange: HttpExchange, error: GatewayError) -> None:
        """The rest of a body will never come."""
        self.deaf = True
        exchange.receive_failure(error)

    def _head_too_large(self) -> GatewayError:
        return GatewayError(
            "headers_too_large",
            f"The request's head is larger than {self._limits.max_header_bytes} bytes or {MAX_HEADERS} headers",
        )
