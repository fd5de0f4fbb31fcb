"""A bounded log of the requests that the sandbox got and what it answered, for tests to assert on.

`RequestLog.observe` gives an `Exchange` that records what passes through it; what is sent is in the log before the
client has it. Bodies are kept as bytes and decoded when they are read. The oldest requests are dropped first.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from asbru.errors import Headers
from asbru.headers import RequestHead
from asbru.server.exchange import Exchange

MAX_REQUESTS = 1_000
MAX_TOTAL_BYTES = 67_108_864
MAX_RESPONSE_BYTES = 1_048_576
"""Of one response; the rest is not kept."""
MAX_LINE_CHARS = 300
MASK = "***"
_SECRET = re.compile(r"auth|cookie|credential|jwt|key|password|secret|signature|token|x-bf-vk|assertion")
_NO_SECRET = frozenset({"idempotency-key"})
_SCHEME = re.compile(r"(?:Bearer|Basic) ", re.IGNORECASE)


class SandboxRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request that the sandbox got."""

    method: str
    path: str
    query: str
    """Without the question mark; the values of credentials are ``***``."""
    headers: dict[str, str]
    """By name in lower case; several of one name are joined by a comma. The values of credentials are ``***``."""
    body: Any
    """The decoded JSON; text when it is not JSON; None without a body, and for uploads."""
    model: str
    """The model that the request named; empty when it named none."""
    stream: bool
    status: int | None
    """None: no response was sent."""
    reply: Any
    """The decoded JSON of the response; the text of a stream or of anything else."""
    outcome: str
    """What was answered, in a few words."""


class Entry:
    """A request while it is handled, and afterwards as it is kept."""

    __slots__ = (
        "body",
        "counted_bytes",
        "headers",
        "method",
        "model",
        "outcome",
        "path",
        "query",
        "response",
        "status",
        "stream",
    )

    def __init__(self, exchange: Exchange) -> None:
        self.method = exchange.method
        self.path = exchange.path.decode("latin-1")
        self.query = exchange.query.decode("latin-1")
        self.headers = exchange.head.headers
        self.body = b""
        self.model = ""
        self.stream = False
        self.status: int | None = None
        self.response = bytearray()
        self.outcome = ""
        self.counted_bytes = 0
        """What it counts for in the log's bound; 0 until it has been handled."""

    def size_bytes(self) -> int:
        headers = sum(len(name) + len(value) for name, value in self.headers)
        return len(self.path) + len(self.query) + headers + len(self.body) + len(self.response)

    def keep(self, data: bytes) -> None:
        """Record some of the response."""
        self.response += data[: MAX_RESPONSE_BYTES - len(self.response)]

    def line(self) -> str:
        """The request on one line: method, path, model, whether it is a stream, status and answer."""
        status = "no response" if self.status is None else str(self.status)
        parts = (self.method, self.path, self.model, "stream" if self.stream else "", status, self.outcome)
        text = " ".join(part for part in parts if part)
        shown = "".join(character if character.isprintable() else "?" for character in text[:MAX_LINE_CHARS])
        return f"{shown}…" if len(text) > MAX_LINE_CHARS else shown

    def show(self) -> SandboxRequest:
        headers: dict[str, str] = {}
        for raw_name, raw_value in self.headers:
            name, value = raw_name.decode("latin-1"), _masked(raw_name.decode("latin-1"), raw_value.decode("latin-1"))
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return SandboxRequest(
            method=self.method,
            path=self.path,
            query=_masked_query(self.query),
            headers=headers,
            body=_decoded(self.body),
            model=self.model,
            stream=self.stream,
            status=self.status,
            reply=_decoded(bytes(self.response)),
            outcome=self.outcome,
        )


def _masked(name: str, value: str) -> str:
    scheme = _SCHEME.match(value)
    is_secret = scheme is not None or value.startswith("sk-") or (_SECRET.search(name) and name not in _NO_SECRET)
    return f"{scheme[0] if scheme else ''}{MASK}" if is_secret else value


def _masked_query(query: str) -> str:
    return "&".join(
        f"{name}{equals}{_masked(name.lower(), value) if equals else value}"
        for name, equals, value in (part.partition("=") for part in query.split("&"))
    )


def _decoded(data: bytes) -> object:
    if not data:
        return None
    try:
        value: object = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data.decode("utf-8", "replace")
    return value


class RequestLog:
    """The newest requests. May be read by one thread while another handles requests."""

    def __init__(self, on_end: Callable[[Entry], None] | None = None) -> None:
        self._on_end = on_end
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque()
        self._bytes = 0

    def observe(self, exchange: Exchange) -> ObservedExchange:
        """The exchange, recorded from now on; `end` must follow."""
        observed = ObservedExchange(exchange)
        with self._lock:
            self._entries.append(observed.entry)
            self._trim()
        return observed

    def end(self, entry: Entry) -> None:
        """The request has been handled, one way or another."""
        if self._on_end is not None:
            self._on_end(entry)
        size = entry.size_bytes()
        with self._lock:
            if entry in self._entries:  # not dropped meanwhile
                entry.counted_bytes = size
                self._bytes += size
                self._trim()

    def _trim(self) -> None:
        while self._entries and (len(self._entries) > MAX_REQUESTS or self._bytes > MAX_TOTAL_BYTES):
            self._bytes -= self._entries.popleft().counted_bytes

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def show(self) -> list[SandboxRequest]:
        """The requests in the order in which they came."""
        with self._lock:
            entries = list(self._entries)
        return [entry.show() for entry in entries]


class ObservedExchange:
    """An `Exchange` that records the request's body and the response before it passes them on."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.entry = Entry(exchange)
        self.method = exchange.method
        self.path = exchange.path
        self.query = exchange.query
        self.head: RequestHead = exchange.head
        self.client = exchange.client
        self.is_drained = False
        self.tail_open = False

    @property
    def started(self) -> bool:
        return self._exchange.started

    @started.setter
    def started(self, value: bool) -> None:
        self._exchange.started = value

    @property
    def request_id(self) -> str:
        return self._exchange.request_id

    @request_id.setter
    def request_id(self, value: str) -> None:
        self._exchange.request_id = value

    async def body(self, limit_bytes: int) -> bytes:
        self.entry.body = await self._exchange.body(limit_bytes)
        return self.entry.body

    def pieces(self, limit_bytes: int) -> AsyncIterator[bytes]:
        return self._exchange.pieces(limit_bytes)

    async def respond(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        self.entry.status = status
        self.entry.keep(body)
        await self._exchange.respond(status, headers, body)

    async def start(self, status: int, headers: Headers | bytes) -> None:
        self.entry.status = status
        await self._exchange.start(status, headers)

    async def write(self, data: bytes) -> None:
        self.entry.keep(data)
        await self._exchange.write(data)

    def put(self, data: bytes) -> bool:
        self.entry.keep(data)
        return self._exchange.put(data)

    async def room(self) -> None:
        await self._exchange.room()

    async def finish(self) -> None:
        await self._exchange.finish()

    def abort(self) -> None:
        self.entry.outcome = self.entry.outcome or "connection cut"
        self._exchange.abort()
