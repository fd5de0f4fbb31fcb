"""Clients that do what wrk cannot: hold thousands of idle streams open, and leave in the middle of an answer.

They run in the bench's own process, on the load generator's core. HTTP is read just well enough for this.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.processes import BenchError

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def request_bytes(path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


async def read_head(reader: asyncio.StreamReader) -> tuple[int, int | None]:
    """Status and content-length (None: chunked) of a response."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, found, rest = head.partition(b"\r\ncontent-length:")
    return int(head[9:12]), int(rest.split(b"\r\n", 1)[0]) if found else None


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    """One chunk of a chunked body; empty at its end."""
    size = int(await reader.readuntil(b"\r\n"), 16)
    return (await reader.readexactly(size + 2))[:-2]


class IdleStreams:
    """Many streams that have begun and say nothing more, until `close`."""

    def __init__(self, port: int, request: bytes) -> None:
        self.port = port
        self.request = request
        self.open: list[asyncio.StreamWriter] = []

    async def start(self, count: int) -> None:
        """Open ``count`` streams, 50 at a time; returns when each has had its first event."""
        for begin in range(0, count, 50):
            await asyncio.gather(*(self.start_one() for _ in range(begin, min(begin + 50, count))))

    async def start_one(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.open.append(writer)
        writer.write(self.request)
        status, _ = await read_head(reader)
        if status != 200 or b"message_start" not in await read_chunk(reader):
            raise BenchError(f"an idle stream was answered with {status}, or not with a stream")

    async def close(self) -> None:
        for writer in self.open:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self.open), return_exceptions=True)
        self.open.clear()


@dataclass
class Soak:
    """Clients of every temper against one gateway, until stopped."""

    port: int
    plain: bytes
    plain_large: bytes
    stream: bytes
    seed: int = 1
    done: Counter[str] = field(default_factory=Counter)
    """How the exchanges ended, by kind."""

    async def run(self, clients: int, seconds: float, every_s: float, sample: Callable[[Counter[str]], None]) -> None:
        """Keep ``clients`` busy for ``seconds``, calling ``sample`` every ``every_s``; then all clients leave."""
        tasks = [asyncio.create_task(self.client(random.Random(self.seed + n))) for n in range(clients)]
        try:
            for _ in range(max(1, round(seconds / every_s))):
                finished, _ = await asyncio.wait(tasks, timeout=every_s, return_when=asyncio.FIRST_COMPLETED)
                for task in finished:
                    task.result()
                sample(self.done)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def client(self, chance: random.Random) -> None:
        """One client for ever: it keeps its connection where it can and opens a new one where it left the last."""
        kinds = [self.whole_plain, self.whole_large, self.whole_stream, self.leave_stream, self.leave_before_answer]
        connection: Streams | None = None
        try:
            while True:
                connection = connection or await asyncio.open_connection("127.0.0.1", self.port)
                kind = chance.choices(kinds, (40, 10, 30, 15, 5))[0]
                stays = await kind(connection, chance)
                self.done[kind.__name__] += 1
                if not stays:
                    connection[1].close()
                    connection = None
        finally:
            if connection:
                connection[1].close()

    async def whole_plain(self, connection: Streams, chance: random.Random) -> bool:
        return await self.whole(connection, self.plain)

    async def whole_large(self, connection: Streams, chance: random.Random) -> bool:
        return await self.whole(connection, self.plain_large)

    async def whole_stream(self, connection: Streams, chance: random.Random) -> bool:
        return await self.whole(connection, self.stream)

    async def whole(self, connection: Streams, request: bytes) -> bool:
        """Read the answer to its end; the connection stays."""
        reader, writer = connection
        writer.write(request)
        status, length = await read_head(reader)
        if length is not None:
            await reader.readexactly(length)
        else:
            while await read_chunk(reader):
                pass
        if status != 200:
            self.done[f"status {status}"] += 1
        return True

    async def leave_stream(self, connection: Streams, chance: random.Random) -> bool:
        """Go away after some of a stream's events."""
        reader, writer = connection
        writer.write(self.stream)
        await read_head(reader)
        for _ in range(chance.randrange(60)):
            if not await read_chunk(reader):
                break
        return False

    async def leave_before_answer(self, connection: Streams, chance: random.Random) -> bool:
        """Go away after sending all of a request, or half of it."""
        request = chance.choice([self.plain, self.plain[: len(self.plain) // 2], self.stream])
        connection[1].write(request)
        return False
