"""What the tests of the whole gateway stand on: the gateway, upstreams that are told what to say, a client to cut.

All of it runs on one uvloop, so that a test decides the order of events and never sleeps:

    run(main)                  runs a test; leaves no task, and nothing the loop had to complain about
    serving(config)            the gateway in this process, on a port of its own; when it is left, it must be quiet
    Upstream(*plays)           a provider on a raw socket; each request gets the next play, or, when none was given,
                               waits in `turn()` for the test to play it by hand; records every request byte for byte
    Client / ask               a client on a raw socket

The gateway's own requests for lists of models are answered by the upstream itself and count for nothing.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from asbru.app import App
from asbru.config import Config
from asbru.dialects import sse
from asbru.load import load
from asbru.telemetry.records import RecordLog
from tests.upstream.rawserver import Line, on_uvloop, until

Json = dict[str, Any]
Headers = list[tuple[bytes, bytes]]

EVENT_STREAM = b"text/event-stream; charset=utf-8"
MODEL = "claude-test-1"


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a test on uvloop, bounded; afterwards no task of anybody's may be left."""

    async def bounded() -> None:
        await main
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})

    on_uvloop(bounded())


# What is said


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


def asked(model: str = MODEL, **fields: object) -> Json:
    """The body of a request for a message."""
    return {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}], **fields}


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


# The gateway


def provider(upstream: Upstream | Nowhere | str, *keys: str, **settings: object) -> Json:
    """A provider's configuration; each key's name is its value without ``sk-``."""
    return {
        "dialect": "anthropic",
        "base_url": upstream if isinstance(upstream, str) else upstream.url,
        "keys": [{"name": key.removeprefix("sk-"), "value": key} for key in keys or ("sk-stored",)],
        **settings,
    }


def providers(*upstreams: Upstream | Nowhere, **settings: object) -> Json:
    """A configuration of providers `a`, `b`, … of one key each, ``sk-a``, ``sk-b``, …; `a` is the default one."""
    made = {name: provider(up, f"sk-{name}", **settings) for name, up in zip("abcdef", upstreams, strict=False)}
    return {"providers": made, "routing": {"default_provider": "a"}}


def decoded(config: Mapping[str, object], environ: Mapping[str, str] | None = None) -> Config:
    """The configuration as `serve` would understand it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "asbru.json"
        file.write_text(json.dumps(config), "utf-8")
        return load(file, environ or {}, port=0)


class Running:
    """The gateway under test."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.port = app.service.port
        self.records: list[Json] = []
        """Every Record, once the gateway has ended."""

    @property
    def busy(self) -> str:
        """What the gateway still holds for exchanges; empty when that is nothing."""
        gateway = self.app.gateway
        held = [repr(up.pool) for up in gateway.upstreams.values() if up.pool.busy or up.pool.waiting]
        if gateway.budget.in_flight or gateway.budget.retrying:
            held.append(f"budget: {gateway.budget.in_flight} in flight, {gateway.budget.retrying} retrying")
        return "; ".join(held)

    async def quiet(self) -> None:
        """Returns when no exchange holds anything any more."""
        await until(lambda: not self.busy)

    def write_records(self) -> None:
        """Have what is waiting to be written written now."""
        assert isinstance(self.app._records, RecordLog)
        self.app._records._flush()

    async def listed(self, *models: str) -> None:
        """Returns when the gateway has heard of these models from a provider."""
        await until(lambda: self.app.gateway.catalog.providers_of.keys() >= set(models))


@asynccontextmanager
async def serving(
    config: Mapping[str, object], reload: Callable[[], Config] | None = None
) -> AsyncGenerator[Running, None]:
    """The gateway, with its Records kept; when the test is done with it, nothing may still be held."""
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "records.jsonl"
        app = App(decoded({**config, "log": {"records": str(records)}}), reload)
        await app.start()
        app.gateway.rand = random.Random(7).random
        running = Running(app)
        try:
            yield running
            await running.quiet()
        finally:
            await app.service.stop()
            await app.stop()
        running.records = [json.loads(line) for line in records.read_text("utf-8").splitlines()]


# The client


class Torn(Exception):
    """The connection ended in the middle of a response."""


class Reply:
    """A response: its head, and its body as it comes."""

    def __init__(self, reader: asyncio.StreamReader, raw_head: bytes, *, bodiless: bool) -> None:
        self._reader = reader
        status, *lines = raw_head[:-4].split(b"\r\n")
        self.status = int(status.split(b" ")[1])
        self.headers: Headers = [(line.partition(b": ")[0], line.partition(b": ")[2]) for line in lines]
        self.read = bytearray()
        """What has been read of the body."""
        length = self.values(b"content-length")
        self._left = 0 if bodiless else int(length[0]) if length else None
        self._chunked = self.values(b"transfer-encoding") == [b"chunked"]
        assert self._chunked or length or bodiless or self.status == 204, raw_head

    def values(self, name: bytes) -> list[bytes]:
        return [value for found, value in self.headers if found == name]

    def value(self, name: bytes) -> str | None:
        found = self.values(name)
        assert len(found) < 2, f"{name!r} twice: {found}"
        return found[0].decode("latin-1") if found else None

    @property
    def body(self) -> bytes:
        return bytes(self.read)

    @property
    def json(self) -> Json:
        decoded: Json = json.loads(self.body)
        return decoded

    @property
    def error(self) -> tuple[int, str, str | None]:
        """Status, ``error.type`` and ``x-asbru-reason``."""
        assert self.json["type"] == "error"
        return self.status, self.json["error"]["type"], self.value(b"x-asbru-reason")

    @property
    def attempts(self) -> list[str]:
        """``x-asbru-attempts`` without the times: one entry per attempt, in its one line or its several."""
        entries = b"; ".join(self.values(b"x-asbru-attempts")).decode()
        times = re.compile(r" \d+ms\Z")
        assert all(times.search(entry) for entry in entries.split("; "))
        return [times.sub("", entry) for entry in entries.split("; ")]

    async def piece(self) -> bytes:
        """The next chunk of a chunked body; empty at its end."""
        try:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            data = await self._reader.readexactly(size + 2)
        except (EOFError, ConnectionError) as error:
            raise Torn(self.read[-200:]) from error
        self.read += data[:-2]
        return data[:-2]

    async def until(self, ending: bytes) -> bytes:
        """Read on until the body so far ends so; all of it so far."""
        while not self.read.endswith(ending):
            assert await self.piece(), self.body
        return self.body

    async def rest(self) -> Self:
        """Read the body to its end; raises `Torn` when there is none."""
        if self._chunked and self._left is None:
            while await self.piece():
                pass
        elif self._left:
            try:
                self.read += await self._reader.readexactly(self._left)
            except (EOFError, ConnectionError) as error:
                raise Torn from error
        return self


class Client:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._method = "GET"

    @classmethod
    async def open(cls, running: Running | int) -> Self:
        port = running if isinstance(running, int) else running.port
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**16))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()

    async def send(
        self, body: Json | bytes | None = None, path: str = "/v1/messages", *, method: str = "", **headers: str
    ) -> None:
        """A whole request; `x_api_key="…"` is the header ``x-api-key``."""
        await self.write(request(body, path, method=method, **headers))
        self._method = method

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> Reply:
        """The head of the next response; its body is to be read."""
        raw = await self.reader.readuntil(b"\r\n\r\n")
        while raw.startswith(b"HTTP/1.1 100"):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        return Reply(self.reader, raw, bodiless=self._method == "HEAD")

    async def reply(self) -> Reply:
        """The next response, whole."""
        return await (await self.head()).rest()

    def cut(self) -> None:
        """Go away without a word."""
        self.writer.transport.abort()


def request(body: Json | bytes | None, path: str, *, method: str = "", **headers: str) -> bytes:
    """The bytes of a request."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    method = method or ("GET" if body is None else "POST")
    fields = {"host": "gateway.test", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if body is not None:
        fields = {"content-type": "application/json", "content-length": str(len(data))} | fields
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + data


async def ask(
    running: Running | int,
    body: Json | bytes | None = None,
    path: str = "/v1/messages",
    *,
    method: str = "",
    **headers: str,
) -> Reply:
    """One request on a connection of its own, and the whole response."""
    async with await Client.open(running) as client:
        await client.send(body, path, method=method, **headers)
        return await client.reply()
