"""A client that says exactly the bytes a test tells it to, to a real `Service` on a real socket.

`serving` runs a handler for the length of a test and checks afterwards that nothing was left behind. A `Peer` is the
client's end of one connection. `run_on_each_loop` runs a test on asyncio and on uvloop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import NamedTuple, Self

import msgspec

from asbru import config
from asbru.server.connection import Connection
from asbru.server.exchange import Exchange, Handler
from asbru.server.serve import Service
from tests.upstream.rawserver import Runner, run_on_each_loop, until

__all__ = ["Answer", "Live", "Peer", "Runner", "echo", "post", "run_on_each_loop", "serving", "small_buffered", "until"]

LIMIT = 1_000_000


class Answer(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes
    whole: bool = True
    """Whether its framing says that this is all of it."""

    @property
    def error(self) -> str:
        """``error.type`` of an error in Anthropic's shape, of which everything else is checked."""
        assert self.headers[b"content-type"] == b"application/json"
        document = msgspec.json.decode(self.body)
        assert document["type"] == "error" and set(document) == {"type", "error", "request_id"}
        assert document["request_id"].encode() == self.headers[b"request-id"] != b""
        assert (
            self.headers[b"request-id"] == self.headers[b"x-asbru-request-id"] == self.headers[b"x-bifrost-request-id"]
        )
        assert document["error"]["message"]
        kind: str = document["error"]["type"]
        return kind


class Peer:
    """The client's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[bytes, bytes]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
        version, status, _ = lines[0].split(b" ", 2)
        assert version == b"HTTP/1.1"
        headers = dict(line.split(b": ", 1) for line in lines[1:])
        assert len(headers) == len(lines) - 1, "a header twice"
        return int(status), headers

    async def answer(self, *, head_only: bool = False) -> Answer:
        """The next response; one that is cut short is returned as far as it came."""
        status, headers = await self.head()
        if head_only or status in (100, 204, 304):
            return Answer(status, headers, b"")
        if b"content-length" in headers:
            assert b"transfer-encoding" not in headers
            length = int(headers[b"content-length"])
            body = b""
            while len(body) < length and (data := await self.reader.read(length - len(body))):
                body += data
            return Answer(status, headers, body, len(body) == length)
        if headers.get(b"transfer-encoding") == b"chunked":
            return Answer(status, headers, *await self.chunks())
        return Answer(status, headers, await self.reader.read())

    async def chunks(self) -> tuple[bytes, bool]:
        body = b""
        while True:
            try:
                size = int(await self.reader.readuntil(b"\r\n"), 16)
                chunk = await self.reader.readexactly(size + 2)
            except asyncio.IncompleteReadError:
                return body, False
            assert chunk.endswith(b"\r\n")
            if not size:
                return body, True
            body += chunk[:-2]

    async def chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def is_closed(self) -> bool:
        """Wait for the server to close without another byte; a reset is a close too."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def reset(self) -> None:
        """Vanish."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class Live(NamedTuple):
    """A running service."""

    service: Service
    port: int
    stack: contextlib.AsyncExitStack

    async def peer(self) -> Peer:
        """A new connection to it, closed at the end of the test."""
        peer = await Peer.connect(self.port)
        self.stack.push_async_callback(peer.close)
        return peer

    @property
    def connections(self) -> set[Connection]:
        """The server's ends."""
        return self.service._shared.connections

    async def ask(self, request: bytes, *, head_only: bool = False) -> Answer:
        """One request on a connection of its own."""
        peer = await self.peer()
        await peer.send(request)
        return await peer.answer(head_only=head_only)


@contextlib.asynccontextmanager
async def serving(handler: Handler, settings: config.Server | None = None) -> AsyncIterator[Live]:
    """Serve; afterwards no exchange and no connection may be left."""
    base = settings or config.Server()
    service = Service(handler, msgspec.structs.replace(base, port=0))
    await service.start()
    try:
        async with contextlib.AsyncExitStack() as stack:
            yield Live(service, service.port, stack)
    finally:
        await service.stop()
    assert service.idle


def post(body: bytes, *headers: bytes, path: bytes = b"/") -> bytes:
    """A POST request with a length."""
    lines = (b"POST %b HTTP/1.1" % path, b"Host: x", *headers, b"Content-Length: %d" % len(body), b"", b"")
    return b"\r\n".join(lines) + body


async def echo(exchange: Exchange) -> None:
    """Answers with what was asked."""
    body = await exchange.body(LIMIT)
    head = f"{exchange.method} {exchange.path.decode()}?{exchange.query.decode()} ".encode()
    await exchange.respond(200, [(b"content-type", b"text/plain")], head + body)


async def small_buffered(live: Live) -> Peer:
    """A client that takes little at a time."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", live.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=4096)
    peer = Peer(reader, writer)
    live.stack.push_async_callback(peer.close)
    return peer
