"""What the tests of the whole gateway stand on, all on one uvloop: a test decides the order of events and never sleeps.

    run(main)          runs a test; leaves no task, and nothing the loop had to complain about
    serving(config)    the gateway in this process, on a port of its own; when it is left, nothing may be held any more
    Client / ask       a client on a raw socket, which can be cut at any point

The providers behind the gateway are ``provider.py``.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from asbru.app import App
from asbru.config import Config
from asbru.load import load
from asbru.telemetry.records import RecordLog
from tests.gateway.provider import MODEL, Headers, Json, Nowhere, Upstream
from tests.upstream.rawserver import on_uvloop, until


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a test on uvloop, bounded; afterwards no task of anybody's may be left."""

    async def bounded() -> None:
        await main
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})

    on_uvloop(bounded())


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

    async def records_written(self) -> None:
        """Returns when every Record so far has been written."""
        records = self.app._records
        assert isinstance(records, RecordLog)
        await until(lambda: records._done == records._taken)

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


def asked(model: str = MODEL, **fields: object) -> Json:
    """The body of a request for a message."""
    return {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}], **fields}


class Torn(Exception):
    """The connection ended in the middle of a response."""


class Reply:
    """A response: its head, and its body as it comes."""

    def __init__(self, reader: asyncio.StreamReader, raw_head: bytes, *, bodiless: bool) -> None:
        self._reader = reader
        status, *lines = raw_head[:-4].split(b"\r\n")
        self.status = int(status.split(b" ")[1])
        self.headers: Headers = [(line.partition(b": ")[0].lower(), line.partition(b": ")[2]) for line in lines]
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
