"""The whole way of a translated request: the official SDK -> the gateway -> the sandbox, which speaks the dialect.

`translated(provider)` runs both in a thread, on one loop. The provider under test is `there`; `claude` is the same
sandbox spoken to in Anthropic's own dialect, for what the answer should be and for fallbacks. Every translated stream
that a test reads through `Via` goes through the grammar.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anthropic
import httpx2 as httpx
from anthropic.types import Message

from asbru.app import App
from asbru.config import Server
from asbru.sandbox.app import handler
from asbru.server.serve import Service
from tests import grammar
from tests.gateway.support import decoded

Json = dict[str, Any]


UNKNOWN = ("temperature", "top_p", "top_k", "fallbacks")
"""Fields that the SDK no longer has, or that are the gateway's own."""


class Via:
    """A client of the gateway."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.anew: tuple[str, ...] = ()
        """Fields of blocks that every answer has anew; thinking that has nothing else is not compared either."""
        self.client = anthropic.Anthropic(base_url=url, api_key="any", max_retries=0)
        self._raw = httpx.Client(base_url=url, headers={"anthropic-version": "2023-06-01"}, timeout=30)

    def close(self) -> None:
        self.client.close()
        self._raw.close()

    def ask(self, path: str = "/v1/messages", headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        """One request as it stands, and the whole response."""
        return self._raw.post(path, json=request(**body), headers=headers)

    def stream(
        self, *, error: bool | None = False, headers: dict[str, str] | None = None, **body: Any
    ) -> grammar.Stream:
        """A streamed answer, held against the grammar; ``error``: whether it must end with one."""
        response = self.ask(headers=headers, **body, stream=True)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        return grammar.check(response.content, error=error)

    def both_ways(self, **body: Any) -> Message:
        """The answer, asked for whole and as a stream; they must be the same."""
        unknown = {name: body[name] for name in UNKNOWN if name in body}
        known = {name: value for name, value in request(**body).items() if name not in UNKNOWN}
        whole: Message = self.client.messages.create(**known, extra_body=unknown)
        streamed = Message.model_validate(self.stream(**body).message)
        assert self.blocks_of(streamed) == self.blocks_of(whole)
        assert (streamed.stop_reason, streamed.stop_sequence) == (whole.stop_reason, whole.stop_sequence)
        assert streamed.usage.to_dict() == whole.usage.to_dict()
        return whole

    def blocks_of(self, message: Message) -> list[Json]:
        """What must be the same both ways."""
        blocks = [block.to_dict() for block in message.content]
        said = [block for block in blocks if not self.anew or block.get("thinking") != ""]
        return [{name: value for name, value in block.items() if name not in self.anew} for block in said]


def request(**fields: Any) -> Json:
    return {"max_tokens": 400, "messages": [{"role": "user", "content": "hi"}], **fields}


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


@asynccontextmanager
async def _running(there: Json, base_path: str, more: Json) -> AsyncGenerator[int, None]:
    sandbox = Service(handler(), Server(port=0, drain_s=0.0))
    await sandbox.start()
    url = f"http://127.0.0.1:{sandbox.port}"
    usual = {"keys": [{"value": "sk-there"}], "max_retries": 0, "breaker": {"failures": 1_000}}
    providers = {
        "there": {**usual, "base_url": url + base_path, **there},
        "errors": {**usual, "base_url": url + base_path, **there},  # its key may go on cooldown without harm to others
        "claude": {**usual, "dialect": "anthropic", "base_url": url, "list_models": "none"},
        **{name: {**usual, "base_url": url + base_path, **there, **settings} for name, settings in more.items()},
    }
    app = App(decoded({"providers": providers, "routing": {"default_provider": "there"}}))
    await app.start()
    try:
        yield app.service.port
    finally:
        await app.service.stop()
        await app.stop()
        await sandbox.stop()


@contextmanager
def translated(there: Json, base_path: str = "", **more: Json) -> Iterator[Via]:
    """A client of a running gateway; ``more`` are further providers like `there`, with what they differ in."""
    ready, loop, ended = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    ports: list[int] = []
    failures: list[BaseException] = []

    async def serve() -> None:
        async with _running(there, base_path, more) as port:
            ports.append(port)
            ready.set()
            await ended.wait()

    def work() -> None:
        try:
            loop.run_until_complete(serve())
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    try:
        if not failures:
            via = Via(f"http://127.0.0.1:{ports[0]}")
            try:
                yield via
            finally:
                via.close()
    finally:
        if not failures:
            loop.call_soon_threadsafe(ended.set)
        thread.join()
    if failures:
        raise failures[0]
