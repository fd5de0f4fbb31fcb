"""A fake upstream that says exactly the bytes a test tells it to, on a real socket.

A test writes the upstream's side of each connection as a coroutine (a *script*) that is given a `Line`. Scripts run
on the test's own loop, so that a test decides the order of events without sleeping. A script that raises fails the
test when the server is left; a line whose script returns is closed.

`run_on_each_loop` runs a test on asyncio and on uvloop: the client must behave the same on both.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self

import pytest
import uvloop

from asbru.upstream.http1 import Limits, Origin, Pool

TEST_TIMEOUT_S = 20.0
"""Only so that a defect is a failure instead of a hang."""

Runner = Callable[[Coroutine[Any, Any, None]], None]


async def _bounded(main: Coroutine[Any, Any, None]) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with asyncio.timeout(TEST_TIMEOUT_S):
        await main
    await asyncio.sleep(0)
    assert not reported, f"the loop reported: {reported}"


def on_asyncio(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(_bounded(main))


def on_uvloop(main: Coroutine[Any, Any, None]) -> None:
    uvloop.run(_bounded(main))


run_on_each_loop = pytest.mark.parametrize("run", [on_asyncio, on_uvloop], ids=["asyncio", "uvloop"])


class Line:
    """The upstream's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number
        """0 for the first connection that was accepted."""

    async def request_head(self) -> bytes:
        """A request's head, with its empty line; raises EOFError when the client is gone."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> bytes:
        """A whole request: head and body, framing included."""
        head = await self.request_head()
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if length:
            return head + await self.reader.readexactly(int(length[1]))
        if not re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
            return head
        request = bytearray(head)
        while True:
            size = await self.reader.readuntil(b"\r\n")
            request += size
            request += await self.reader.readexactly(int(size, 16) + 2)
            if int(size, 16) == 0:
                return bytes(request)

    async def say(self, *pieces: bytes) -> None:
        """Send bytes; each piece goes out by itself, and the client gets a turn of the loop after it."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def gone(self) -> None:
        """Returns when the client has closed the connection, in whatever manner; what it still says is dropped."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while await self.reader.read(65_536):
                pass

    def deaf(self) -> None:
        """Stop reading: the client's bytes stay in the kernel's buffers, and closing becomes a reset."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]  # typeshed: WriteTransport only

    def hear(self) -> None:
        """Read again."""
        self.writer.transport.resume_reading()  # type: ignore[attr-defined]

    def end(self) -> None:
        """Say that no more will be said (FIN), and keep listening."""
        with contextlib.suppress(OSError):  # the client is gone
            self.writer.write_eof()

    def close(self) -> None:
        """Close politely. With request bytes unread, the kernel makes it a reset."""
        self.writer.close()

    def reset(self) -> None:
        """RST, at once."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Line], Awaitable[None]]


class RawServer:
    """Listens on a loopback port and runs ``script`` on each connection, or ``scripts[n]`` on the n-th."""

    def __init__(self, *scripts: Script, context: ssl.SSLContext | None = None) -> None:
        self._scripts: Sequence[Script] = scripts
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server
        self.accepted = 0
        self.failures: list[BaseException] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._context, limit=2**24)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await self.scripts_done()
        for writer in self._writers:
            with contextlib.suppress(AttributeError):  # asyncio before 3.11.4: a TLS transport that has closed
                writer.transport.abort()
        await asyncio.sleep(0)
        if error is None and self.failures:
            raise self.failures[0]

    @property
    def origin(self) -> Origin:
        return Origin("https" if self._context else "http", "127.0.0.1", self.port)

    def pool(self, **limits: float) -> Pool:
        """A pool to here, with these `Limits`."""
        return Pool(self.origin, Limits(**limits))  # type: ignore[arg-type]  # msgspec takes an int for a float

    async def scripts_done(self) -> None:
        """Returns when every script has returned: the upstream has seen all it waited for."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.accepted
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            script = self._scripts[number] if len(self._scripts) > 1 else self._scripts[0]
            await script(Line(reader, writer, number))
        except (asyncio.CancelledError, EOFError, ConnectionError):
            pass  # the client went away, or the test is over
        except BaseException as error:
            self.failures.append(error)
        finally:
            self._tasks.discard(task)
            writer.close()


def post(body: bytes = b"", *fields: bytes) -> bytes:
    """A request head."""
    lines = [b"POST /v1/messages HTTP/1.1", b"host: upstream", b"content-length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


GET = b"GET /v1/models HTTP/1.1\r\nhost: upstream\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


async def closes(line: Line) -> None:
    line.close()


async def ends(line: Line) -> None:
    line.end()
    await line.gone()


async def resets(line: Line) -> None:
    line.reset()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something has come about; what never does is caught by the test's time-out."""
    while not condition():  # noqa: ASYNC110  # conditions of the client's own state, which tells nobody
        await asyncio.sleep(0)


def answering(*pieces: bytes) -> Script:
    """A script that answers every request on the line with these bytes."""

    async def script(line: Line) -> None:
        while True:
            await line.request()
            await line.say(*pieces)

    return script
