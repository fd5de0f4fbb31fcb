"""The hostile side of the row "neighbour's p99": clients that are slow, small or huge, and an upstream of that kind.

    python -m bench.hostile GATEWAY_PORT UPSTREAM_PORT

One process. It makes ready what it will send, says so in a line, and reads names of `ATTACKS` from its standard input,
one a line: each begins that attack, an empty line ends it, and then the number of exchanges that went well is printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import cache

import uvloop

from bench.bodies import REQUEST_HEADERS, plain_answer, request_body, stream_answer
from bench.clients import Streams, read_head, request_bytes
from bench.processes import raise_file_limit

MODEL = "hostile/claude-sonnet-4-5"
"""Its provider is the upstream below; see asbru.yaml."""
MB = 1_000_000
READ_BYTES = 262_144
READY: list[Callable[[], bytes]] = []
"""Makes what an attack sends; kept."""


class Hostile:
    """The attack that is under way, and the upstream that answers in its way."""

    def __init__(self, gateway_port: int) -> None:
        self.port = gateway_port
        self.attack = ATTACKS["1-byte writes"]
        self.done = 0
        self.tasks: list[asyncio.Task[None]] = []
        self.writers: set[asyncio.StreamWriter] = set()

    def begin(self, attack: Attack) -> None:
        self.attack, self.done = attack, 0
        self.tasks = [asyncio.create_task(self._client(attack)) for _ in range(attack.clients)]

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for writer in list(self.writers):
            writer.transport.abort()

    async def _client(self, attack: Attack) -> None:
        """Attack, again and again: whoever is refused and cut off comes back."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with self._connection() as connection:
                    await attack.client(self, connection)
            await asyncio.sleep(0.01)

    @contextlib.asynccontextmanager
    async def _connection(self):  # type: ignore[no-untyped-def]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        _send_at_once(writer)
        self.writers.add(writer)
        try:
            yield reader, writer
        finally:
            self.writers.discard(writer)
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the gateway to the hostile upstream."""
        _send_at_once(writer)
        self.writers.add(writer)
        try:
            # uvloop raises RuntimeError for a write to a connection that `end` has closed.
            with contextlib.suppress(OSError, RuntimeError, asyncio.IncompleteReadError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).lower()
                    await _skip(reader, int(head.partition(b"\r\ncontent-length:")[2].split(b"\r\n", 1)[0]))
                    await self.attack.answer(writer)
        finally:
            self.writers.discard(writer)
            writer.transport.abort()


def _send_at_once(writer: asyncio.StreamWriter) -> None:
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def _skip(reader: asyncio.StreamReader, size_bytes: int) -> None:
    while size_bytes:
        data = await reader.read(min(size_bytes, READ_BYTES))
        if not data:
            raise asyncio.IncompleteReadError(b"", size_bytes)
        size_bytes -= len(data)


async def _skip_answer(reader: asyncio.StreamReader) -> bool:
    """Read an answer to its end; whether it was a good one."""
    status, length = await read_head(reader)
    if length is not None:
        await _skip(reader, length)
        return status == 200
    while size := int(await reader.readuntil(b"\r\n"), 16):
        await _skip(reader, size + 2)
    await reader.readexactly(2)
    return status == 200


# Requests


@cache
def _request(size_bytes: int = 1000, stream: bool = False, **headers: str) -> bytes:
    """With one text of so many bytes."""
    if size_bytes <= 1000:
        body = request_body(1000, stream=stream, model=MODEL)
    else:
        text = "x" * (size_bytes - 100)
        body = json.dumps(
            {"model": MODEL, "max_tokens": 9, "stream": stream, "messages": [{"role": "user", "content": text}]}
        ).encode()
    return request_bytes("/v1/messages", {**REQUEST_HEADERS, **headers}, body)


@cache
def _bomb_request() -> bytes:
    body = gzip.compress(_request(30 * MB).partition(b"\r\n\r\n")[2])
    return request_bytes("/v1/messages", {**REQUEST_HEADERS, "content-encoding": "gzip"}, body)


@cache
def _large_head_request() -> bytes:
    return _request(**{f"x-field-{n}": "v" * 240 for n in range(200)})


@cache
def _tiny_chunks_request() -> bytes:
    """A body that comes in chunks of one byte, as many as a read holds."""
    head, _, body = _request(200_000).partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
    return b"\r\n".join([*lines, b"transfer-encoding: chunked", b"", b""]) + _chunks(body, 1)


def _chunks(body: bytes, size: int) -> bytes:
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _kept(make: Callable[[], bytes]) -> Callable[[], bytes]:
    READY.append(make := cache(make))
    return make


Client = Callable[[Hostile, Streams], Awaitable[None]]


def _ask(request: Callable[[], bytes]) -> Client:
    """One request after another, each as fast as it goes."""
    request = _kept(request)

    async def client(hostile: Hostile, connection: Streams) -> None:
        reader, writer = connection
        while True:
            writer.write(request())
            hostile.done += await _skip_answer(reader)

    return client


def _piecewise(size: int, pause_s: float, request: Callable[[], bytes]) -> Client:
    async def client(hostile: Hostile, connection: Streams) -> None:
        reader, writer = connection
        data = request()
        while True:
            for start in range(0, len(data), size):
                writer.write(data[start : start + size])
                await asyncio.sleep(pause_s)
            hostile.done += await _skip_answer(reader)

    return client


async def _slow_reader(hostile: Hostile, connection: Streams) -> None:
    reader, writer = connection
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    writer.write(_request(stream=True))
    while await reader.read(2000):
        hostile.done += 1
        await asyncio.sleep(0.02)


async def _idle(hostile: Hostile, connection: Streams) -> None:
    hostile.done += 1
    await connection[0].read(1)


async def _leave(hostile: Hostile, connection: Streams) -> None:
    hostile.done += 1


async def _pipeline(hostile: Hostile, connection: Streams) -> None:
    reader, writer = connection
    while True:
        writer.write(_request() * 16)
        for _ in range(16):
            hostile.done += await _skip_answer(reader)


# Answers of the hostile upstream

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def _head(content_type: str, *more: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"content-type: {content_type}", *more, "", ""]).encode()


def _whole(size_bytes: int, *, coding: str = "identity", fields: int = 0) -> bytes:
    message = json.loads(plain_answer())
    if size_bytes:
        message["content"] = [{"type": "text", "text": "word " * (size_bytes // 5)}]
    body = json.dumps(message).encode()
    if coding == "gzip":
        body = gzip.compress(body)
    more = [f"x-field-{n}: {'v' * 240}" for n in range(fields)]
    head = _head("application/json", f"content-length: {len(body)}", f"content-encoding: {coding}", *more)
    return head + body


def _streamed(size_bytes: int, chunk_bytes: int, *, events: int = 100) -> bytes:
    """A stream of ``events`` events, whose texts are that long together."""
    first, begin, *_, stop, delta, end = stream_answer(100)
    text = b"w" * (size_bytes // events)
    data = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%b"}}' % text
    one = b"event: content_block_delta\ndata: %b\n\n" % data
    body = b"".join([first, begin, one * events, stop, delta, end])
    return _head("text/event-stream", "transfer-encoding: chunked") + _chunks(body, chunk_bytes)


def _bytes(make: Callable[[], bytes]) -> Answer:
    make = _kept(make)

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(make())
        await writer.drain()

    return answer


async def _endless(writer: asyncio.StreamWriter) -> None:
    """More events than the client takes."""
    head, _, chunks = _streamed(100_000, 1000).partition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n")
    begin, middle = chunks[:2000], chunks  # events that follow the first are of no interest to who hardly reads
    writer.write(begin)
    while True:
        writer.write(middle)
        await writer.drain()


def _one_by_one(data: Callable[[], bytes], size: int) -> Answer:
    data = _kept(data)

    async def answer(writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(data()), size):
            writer.write(data()[start : start + size])
            await asyncio.sleep(0)

    return answer


_small = _bytes(lambda: _whole(0))


@dataclass(frozen=True)
class Attack:
    clients: int
    client: Client
    answer: Answer = _small


ATTACKS = {
    "slow readers of 100 streams": Attack(100, _slow_reader, _endless),
    "200 slow uploads": Attack(200, _piecewise(100, 0.1, lambda: _request(100_000))),
    "1-byte writes": Attack(8, _piecewise(1, 0, _request)),
    "2,000 idle connections": Attack(2000, _idle),
    "uploads in 1-byte chunks": Attack(2, _ask(_tiny_chunks_request)),
    "upstream's 1-byte chunks, one by one": Attack(
        4, _ask(lambda: _request(stream=True)), _one_by_one(lambda: _streamed(10_000, 1), 6)
    ),
    "upstream's 1-byte chunks, at once": Attack(
        4, _ask(lambda: _request(stream=True)), _bytes(lambda: _streamed(200_000, 1))
    ),
    "upstream's tiny events": Attack(
        4, _ask(lambda: _request(stream=True)), _bytes(lambda: _streamed(20_000, 65_536, events=20_000))
    ),
    "gzip bombs of clients": Attack(2, _ask(_bomb_request)),
    "gzip bombs of the upstream": Attack(2, _ask(_request), _bytes(lambda: _whole(60 * MB, coding="gzip"))),
    "large headers": Attack(4, _ask(_large_head_request), _bytes(lambda: _whole(0, fields=200))),
    "pipelined requests": Attack(1, _pipeline),
    "connections that come and go": Attack(8, _leave),
    "20 MB up": Attack(4, _ask(lambda: _request(20 * MB))),
    "20 MB down, whole": Attack(4, _ask(_request), _bytes(lambda: _whole(20 * MB))),
    "20 MB down, streamed": Attack(
        4, _ask(lambda: _request(stream=True)), _bytes(lambda: _streamed(20 * MB, 65_536, events=2000))
    ),
    "50 bodies of 5 MB": Attack(50, _ask(lambda: _request(5 * MB))),
}


def _orders() -> Iterator[str]:
    for line in sys.stdin:
        yield line.strip()


async def main(gateway_port: int, upstream_port: int) -> None:
    raise_file_limit()
    for make in READY:
        make()
    hostile = Hostile(gateway_port)
    server = await asyncio.start_server(hostile.serve, "127.0.0.1", upstream_port, backlog=4096)
    async with server:
        loop = asyncio.get_running_loop()
        orders = _orders()
        print("ready", flush=True)
        while (order := await loop.run_in_executor(None, next, orders, None)) is not None:
            if order:
                hostile.begin(ATTACKS[order])
            else:
                await hostile.end()
                print(hostile.done, flush=True)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
