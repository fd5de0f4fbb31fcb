"""A provider that says what it is told to, on a raw socket, and keeps every request it got byte for byte.

`Upstream(*plays)` gives each request the next play. Without plays a request waits in `turn()`, so that the test itself
says when what is said. The gateway's own requests for lists of models are answered at once and count for nothing. When
it is left, every play must have been asked for.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self

from asbru.dialects import sse
from tests.upstream.rawserver import Line

Json = dict[str, Any]
Headers = list[tuple[bytes, bytes]]

EVENT_STREAM = b"text/event-stream; charset=utf-8"
MODEL = "claude-test-1"


def event(kind: str, **fields: object) -> bytes:
    """One event of the Messages API."""
    return sse.encode(kind.encode(), json.dumps({"type": kind, **fields}).encode())


MESSAGE = json.dumps(
    {
        "id": "msg_test1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": "Hello, wörld"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
        "unknown field": 1.00,
    },
    indent=1,
).encode()
START = event(
    "message_start",
    message={
        **json.loads(MESSAGE),
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 10, "output_tokens": 1},
    },
)
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
HELLO = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello, "})
WORLD = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "wörld"})
BLOCK_STOP = event("content_block_stop", index=0)
DELTA = event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 5})
STOP = event("message_stop")
PING = event("ping")
EVENTS = (START, PING, BLOCK, HELLO, WORLD, BLOCK_STOP, DELTA, STOP)


def error_body(type: str = "overloaded_error", message: str = "as the upstream said it") -> bytes:
    """An error as the Messages API words it."""
    return b'{"type":"error", "error":{"type":"%b","message":"%b"}}' % (type.encode(), message.encode())


def error_event(type: str = "overloaded_error") -> bytes:
    return sse.encode(b"error", error_body(type))


# The upstream


class Turn:
    """One request at an upstream, and what it is told."""

    def __init__(self, line: Line, head: bytes) -> None:
        self.line = line
        self.head = head
        first, *lines = head[:-4].split(b"\r\n")
        self.method, self.target, _ = first.split(b" ")
        self.headers: Headers = [(line.partition(b": ")[0], line.partition(b": ")[2]) for line in lines]
        self.body = b""
        """After `read`; without the framing."""
        self.over = asyncio.Event()

    def values(self, name: bytes) -> list[bytes]:
        return [value for found, value in self.headers if found.lower() == name]

    @property
    def model(self) -> str:
        return str(json.loads(self.body)["model"])

    @property
    def key(self) -> str:
        """The credential it came with."""
        (value,) = self.values(b"x-api-key") + self.values(b"authorization")
        return value.decode().removeprefix("Bearer ")

    async def read(self) -> Self:
        """Take in the body."""
        if length := self.values(b"content-length"):
            self.body = await self.line.reader.readexactly(int(length[0]))
        elif self.values(b"transfer-encoding"):
            while size := int(await self.line.reader.readuntil(b"\r\n"), 16):
                self.body += await self.line.reader.readexactly(size)
                assert await self.line.reader.readexactly(2) == b"\r\n"
            assert await self.line.reader.readexactly(2) == b"\r\n"
        return self

    async def say(self, *pieces: bytes) -> None:
        await self.line.say(*pieces)

    async def begin(self, content_type: bytes = EVENT_STREAM, *headers: tuple[bytes, bytes]) -> None:
        """The head of a chunked 200."""
        fields = [(b"content-type", content_type), (b"transfer-encoding", b"chunked"), *headers]
        await self.say(head(200, fields))

    async def chunk(self, *pieces: bytes) -> None:
        """Some of a chunked body; each piece is a chunk, and goes out by itself."""
        await self.say(*(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces))

    async def end(self) -> None:
        """The end of a chunked body, and of the turn."""
        await self.say(b"0\r\n\r\n")
        self.over.set()

    async def answer(self, status: int = 200, body: bytes = MESSAGE, *headers: tuple[bytes, bytes]) -> None:
        """A whole answer, and the end of the turn."""
        await self.say(whole(status, body, headers))
        self.over.set()

    def reset(self) -> None:
        self.line.reset()
        self.over.set()

    async def gone(self) -> None:
        """Returns when the gateway has closed the connection."""
        await self.line.gone()
        self.over.set()


Play = Callable[[Turn], Awaitable[None]]


def head(status: int, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"HTTP/1.1 %d X\r\n%b\r\n" % (status, b"".join(b"%b: %b\r\n" % field for field in headers))


def whole(status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    fields = [(b"content-length", b"%d" % len(body)), *headers]
    if not any(name.lower() == b"content-type" for name, _ in headers):
        fields.insert(0, (b"content-type", b"application/json"))
    return head(status, fields) + body


def answers(status: int = 200, body: bytes = MESSAGE, *headers: tuple[bytes, bytes]) -> Play:
    """A whole answer."""

    async def play(turn: Turn) -> None:
        await (await turn.read()).answer(status, body, *headers)

    return play


def streams(*events: bytes, headers: Headers | None = None) -> Play:
    """An event stream, one chunk an event, that ends as HTTP says it should."""

    async def play(turn: Turn) -> None:
        await turn.read()
        await turn.begin(EVENT_STREAM, *(headers or []))
        await turn.chunk(*(events or EVENTS))
        await turn.end()

    return play


def resets(*pieces: bytes) -> Play:
    """Some bytes, then a reset."""

    async def play(turn: Turn) -> None:
        await turn.read()
        await turn.say(*pieces)
        turn.reset()

    return play


async def silent(turn: Turn) -> None:
    """Nothing, until the gateway gives up."""
    await turn.read()
    await turn.gone()


class Upstream:
    """A provider that says what it is told to; see the module."""

    def __init__(self, *plays: Play, models: Sequence[str] = ()) -> None:
        self.plays = list(plays)
        self.by_hand = not plays
        self.models = json.dumps(
            {"data": [model_info(model) for model in models], "has_more": False, "first_id": None, "last_id": None}
        ).encode()
        self.seen: list[Turn] = []
        """Every request, in the order of their heads."""
        self.listed = 0
        """How often the gateway has asked for the models."""
        self.connections = 0
        """Open ones."""
        self.accepted = 0
        self._turns: asyncio.Queue[Turn] = asyncio.Queue()
        self._failures: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=2**24, backlog=2048)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        if error is None:
            assert not self._failures, self._failures
            assert not self.plays or self.by_hand, f"{len(self.plays)} plays were not asked for"

    async def turn(self) -> Turn:
        """The next request, its body read, to be played by hand."""
        return await (await self.raw_turn()).read()

    async def raw_turn(self) -> Turn:
        """The same, with its body not yet read."""
        return await self._turns.get()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        line = Line(reader, writer, self.accepted)
        try:
            while not writer.transport.is_closing():
                await self._one(Turn(line, await line.request_head()))
        except (asyncio.CancelledError, EOFError, ConnectionError):
            pass  # the gateway closed the connection, or the test is over
        except BaseException as error:
            self._failures.append(error)
        finally:
            self.connections -= 1
            self._tasks.discard(task)
            writer.transport.abort()

    async def _one(self, turn: Turn) -> None:
        if any(value.startswith(b"asbru/") for value in turn.values(b"user-agent")):
            self.listed += 1
            # Closed, so that no request of a test comes on a connection that has served before.
            await turn.answer(200, self.models, (b"connection", b"close"))
            return
        self.seen.append(turn)
        if self.plays:
            await self.plays.pop(0)(turn)
        else:
            assert self.by_hand, f"asked once more than there are plays: {turn.head!r}"
            self._turns.put_nowait(turn)
            await turn.over.wait()


def model_info(model: str, **fields: object) -> Json:
    return {
        "type": "model",
        "id": model,
        "display_name": model.title(),
        "created_at": "2026-01-02T00:00:00Z",
        "lifecycle": "active",
        **fields,
    }


class Nowhere:
    """A port that nobody listens on, and nobody else can have meanwhile."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
