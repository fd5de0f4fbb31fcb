"""Asking the sandbox without a socket: the smallest thing that is an `Exchange`, and short ways to use it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from asbru.errors import GatewayError, Headers
from asbru.headers import RequestHead, lines, pairs
from asbru.sandbox.app import Settings, handler
from asbru.server.exchange import Handler
from tests.grammar import Stream, check

Json = dict[str, object]

USER: list[Json] = [{"role": "user", "content": "hi"}]
CITY: Json = {
    "name": "get_weather",
    "description": "Weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@dataclass
class Asked:
    """An exchange that has its whole request, and remembers its response."""

    method: str
    path: bytes
    query: bytes = b""
    headers: Headers = field(default_factory=list)
    head: RequestHead = field(init=False)
    content: bytes = b""
    client: str = ""
    piece_bytes: int = 0
    """Size of the pieces the body comes in; 0: all at once."""
    request_id: str = ""
    tail_open: bool = False
    is_drained: bool = False
    started: bool = False
    finished: bool = False
    aborted: bool = False
    status: int = 0
    response_headers: dict[str, str] = field(default_factory=dict)
    writes: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.head = RequestHead(b"\r\n%b\r\n" % lines(self.headers))

    async def body(self, limit_bytes: int) -> bytes:
        if len(self.content) > limit_bytes:
            raise GatewayError("too_large", f"The request body is larger than {limit_bytes} bytes")
        return self.content

    async def pieces(self, limit_bytes: int) -> AsyncIterator[bytes]:
        step = self.piece_bytes or len(self.content) or 1
        for at in range(0, len(self.content), step):
            yield self.content[at : at + step]

    async def respond(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        await self.start(status, headers)
        await self.write(body)
        await self.finish()

    async def start(self, status: int, headers: Headers | bytes) -> None:
        assert not self.started, "two responses"
        self.started = True
        self.status = status
        fields = pairs(b"\r\n" + headers) if isinstance(headers, bytes) else headers
        self.response_headers = {name.decode(): value.decode() for name, value in fields}

    async def write(self, data: bytes) -> None:
        self.put(data)

    def put(self, data: bytes) -> bool:
        assert self.started and not self.finished and not self.aborted
        self.writes.append(data)
        return True

    async def room(self) -> None:
        return

    async def finish(self) -> None:
        assert self.started and not self.finished and not self.aborted
        self.finished = True

    def abort(self) -> None:
        self.aborted = True

    @property
    def response(self) -> bytes:
        return b"".join(self.writes)

    def json(self) -> Json:
        value = json.loads(self.response)
        assert isinstance(value, dict)
        return value

    def error(self) -> Json:
        """The error of an answer that must be one, in the one shape errors have."""
        body = self.json()
        assert body["type"] == "error"
        assert body["request_id"] == self.response_headers["request-id"] == self.request_id
        error = body["error"]
        assert isinstance(error, dict)
        return error

    def stream(self, *, error: bool | None = False) -> Stream:
        """The checked events of an answer that must be a finished stream."""
        assert self.finished
        return check(self.response, error=error)


class Sandbox:
    """A sandbox and a caller with a good key; ``version`` and ``betas`` are the caller's."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.handler: Handler = handler(settings)

    def ask(
        self,
        method: str,
        path: str,
        body: object = b"",
        *,
        betas: str = "",
        version: str = "2023-06-01",
        headers: dict[str, str] | None = None,
        piece_bytes: int = 0,
    ) -> Asked:
        given = {"host": "sandbox.test", "x-api-key": "sk-test", "anthropic-version": version, "anthropic-beta": betas}
        all_headers = {**given, **(headers or {})}
        plain, _, query = path.partition("?")
        asked = Asked(
            method,
            plain.encode(),
            query.encode(),
            [(name.encode(), value.encode()) for name, value in all_headers.items() if value],
            body if isinstance(body, bytes) else json.dumps(body).encode(),
            piece_bytes=piece_bytes,
        )
        asyncio.run(self._run(asked))
        return asked

    async def _run(self, asked: Asked) -> None:
        await self.handler(asked)

    def message(self, *, betas: str = "", version: str = "2023-06-01", **fields: object) -> Asked:
        """POST /v1/messages with a small valid request and these fields."""
        body = {"model": "claude-sandbox", "max_tokens": 1024, "messages": USER, **fields}
        return self.ask("POST", "/v1/messages", body, betas=betas, version=version)

    def answer(self, *, betas: str = "", version: str = "2023-06-01", **fields: object) -> Json:
        """The Message of a request that must succeed; asked for whole and as a stream, which must say the same."""
        asked = self.message(betas=betas, version=version, **fields)
        assert asked.status == 200, asked.response
        whole = asked.json()
        streamed = self.message(betas=betas, version=version, **{**fields, "stream": True}).stream().message
        assert streamed == whole
        return whole

    def refusal(self, *, betas: str = "", version: str = "2023-06-01", **fields: object) -> str:
        """The text of the 400 a request must get."""
        asked = self.message(betas=betas, version=version, **fields)
        assert asked.status == 400, asked.response
        error = asked.error()
        assert error["type"] == "invalid_request_error"
        return str(error["message"])


def content(message: Json) -> list[Json]:
    blocks = message["content"]
    assert isinstance(blocks, list)
    return blocks


def kinds(message: Json) -> list[object]:
    return [block["type"] for block in content(message)]


def text(message: Json) -> str:
    return "".join(str(block["text"]) for block in content(message) if block["type"] == "text")


def usage(message: Json) -> Json:
    found = message["usage"]
    assert isinstance(found, dict)
    return found


def count(counts: Json, name: str) -> int:
    found = counts[name]
    assert isinstance(found, int)
    return found
